"""A task and a net name → the train, val and deploy nets and the solver, as prototxt text."""

from __future__ import annotations

import posixpath

import caffe
from caffe import layers as L
from caffe.proto import caffe_pb2
from prototxt import head, vgg
from prototxt.dilated_fcn2s import DILATED_FCN2S
from prototxt.fcn import FCN8S, FCN8S_AT_ONCE, FCN16S, FCN32S
from prototxt.tasks import SEED, VOID, Folder
from prototxt.text import comment, text

NETS = {
    # name: (depth of the VGG trunk, head)
    "dilated-fcn2s-vgg16": (16, DILATED_FCN2S),
    "dilated-fcn2s-vgg19": (19, DILATED_FCN2S),
    "fcn32s-vgg16": (16, FCN32S),
    "fcn16s-vgg16": (16, FCN16S),
    "fcn8s-vgg16": (16, FCN8S),
    "fcn8s-atonce-vgg16": (16, FCN8S_AT_ONCE),
}

PHASES = ("train", "val", "deploy")

DEPLOY_SHAPE = (500, 500)
"""Height and width of a deploy net's input until it is reshaped."""

MADE_BY = "Made by `make generate-nets`: change prototxt/*.py, not this file."


def param_str(source, data):
    """The data layer's parameters: a dict literal. `data` is the folder that holds all data."""
    parameters = {source.folder_key: posixpath.join(data, source.folder)}
    for key, value in source.extra:
        parameters[key] = posixpath.join(data, value) if isinstance(value, Folder) else value
    parameters["split"] = source.split
    if source.mean:
        parameters["mean"] = source.mean
    parameters["seed"] = SEED
    return repr(parameters)


def streams(task):
    """(top, suffix, first layer) of each trunk that a task's nets have."""
    if task.fusion == "late":
        return [(blob, blob, "conv1_1") for blob, _ in task.inputs]
    return [("data", "", "conv1_1_bgrd" if task.fusion == "early" else "conv1_1")]


def add_data(n, task, phase, data):
    """The tops that images and, but for deploy, labels come in by."""
    if phase == "deploy":
        for blob, channels in task.inputs:
            n[blob] = L.Input(input_param=dict(shape=dict(dim=[1, channels, *DEPLOY_SHAPE])))
    else:
        source = getattr(task, phase)
        tops = L.Python(
            ntop=len(task.inputs) + 1,
            python_param=dict(
                module=source.module, layer=source.layer, param_str=param_str(source, data)
            ),
        )
        for (blob, _), top in zip((*task.inputs, ("label", 1)), tops):
            n[blob] = top
    if task.fusion == "early":
        n.data = L.Concat(*(n[blob] for blob, _ in task.inputs))


def net_proto(task, net, phase, data="data"):
    """NetParameter of `net` (a key of NETS) for a Task; `phase` is train, val or deploy.

    Tops: `data` (or the task's other inputs) 1×C×H×W and, but for deploy, `label` 1×1×H×W, `loss`;
    `score` 1×classes×H×W.
    """
    depth, kind = NETS[net]
    n = caffe.NetSpec()
    add_data(n, task, phase, data)
    trunks = streams(task)
    for top, suffix, first in trunks:
        vgg.trunk(n, n[top], depth, task.freeze, suffix, first)
    head.add(n, kind, n[trunks[0][0]], task, [suffix for _, suffix, _ in trunks])
    if phase != "deploy":
        n.loss = L.SoftmaxWithLoss(
            n.score, n.label, loss_param=dict(ignore_label=VOID, normalize=task.loss_normalize)
        )
    return n.to_proto()


def sections(task, net):
    """Layer → the comment above it in the net's file."""
    made = {"data": "early fusion: colour and depth as channels of one image"}
    for _, suffix, first in streams(task):
        made.update(vgg.sections(suffix, first))
    made.update(head.sections(NETS[net][1], [suffix for _, suffix, _ in streams(task)]))
    over = "mean" if task.loss_normalize else "summed"
    made["loss"] = f"{over} over {'the' if task.loss_normalize else 'all'} pixels that are not void"
    return made


def net_text(task, net, phase, data="data", made_by=MADE_BY):
    """The net as the text of its file, one comment per part of the net."""
    titles = sections(task, net)
    if task.fusion != "early":
        del titles["data"]  # there it is the images
    lines = [comment(f"{net} for {task.name}, {len(task.classes)} classes: {phase} net."),
             comment(made_by)]  # fmt: skip
    for layer in net_proto(task, net, phase, data).layer:
        if layer.name in titles:
            lines += ["\n", comment(titles[layer.name])]
        lines.append("layer {\n" + text(layer, "  ") + "}\n")
    return "".join(lines)


def schedule(task, net):
    """The Schedule that `net` is trained on."""
    return task.schedules.get(net, task.schedule)


def solver_rows(task, net, folder, snapshot_prefix):
    """(SolverParameter field, value, comment or None), in the order of the file."""
    s = schedule(task, net)
    rows = [
        ("train_net", posixpath.join(folder, "train.prototxt"), None),
        ("test_net", posixpath.join(folder, "val.prototxt"), None),
        ("test_iter", task.val.images, "images of the val split"),
        ("test_interval", 999999999, "the val net is made, but only the scorer runs it"),
        ("test_initialization", False, None),
        ("display", s.display, None),
        ("average_loss", s.average_loss, None),
        ("base_lr", s.base_lr, None if task.loss_normalize else "for a loss summed over pixels"),
        ("lr_policy", s.lr_policy, None),
        *((field, value, None) for field, value in s.policy),
        ("momentum", s.momentum, None),
        ("weight_decay", s.weight_decay, None),
        ("clip_gradients", s.clip_gradients, None),
        ("iter_size", s.iter_size, None),
        ("max_iter", s.iterations, None),
        ("snapshot", s.snapshot, None),
        ("snapshot_prefix", snapshot_prefix, None),
        ("random_seed", s.random_seed, None),
    ]
    return [row for row in rows if row[1] is not None]


def solver_text(task, net, folder, snapshot_prefix, made_by=MADE_BY):
    """The solver's file. `folder` holds the nets; both paths are relative to the working folder."""
    lines = [comment(f"{net} for {task.name}: solver."), comment(made_by)]
    for field, value, why in solver_rows(task, net, folder, snapshot_prefix):
        solver = caffe_pb2.SolverParameter()
        if field in ("test_net", "test_iter", "stepvalue"):
            getattr(solver, field).extend(value if isinstance(value, tuple) else (value,))
        else:
            setattr(solver, field, value)
        lines += [comment(why)] if why else []
        lines.append(text(solver))
    return "".join(lines)


def files(task, net, folder, snapshot_prefix, data="data", made_by=MADE_BY):
    """File name → text of a net's four files, which will lie in `folder`."""
    made = {f"{phase}.prototxt": net_text(task, net, phase, data, made_by) for phase in PHASES}
    made["solver.prototxt"] = solver_text(task, net, folder, snapshot_prefix, made_by)
    return made
