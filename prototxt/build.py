"""A task and a net name → the train, val and deploy nets and the solver, as prototxt text."""

from __future__ import annotations

import posixpath

import caffe
from caffe import layers as L
from caffe.proto import caffe_pb2
from prototxt import dilated_fcn2s, vgg
from prototxt.tasks import SEED, VOID
from prototxt.text import comment, text

NETS = {
    # name: (depth of the VGG trunk, head)
    "dilated-fcn2s-vgg16": (16, dilated_fcn2s),
    "dilated-fcn2s-vgg19": (19, dilated_fcn2s),
}

PHASES = ("train", "val", "deploy")

DEPLOY_SHAPE = (500, 500)
"""Height and width of a deploy net's input until it is reshaped."""

MADE_BY = "Made by `make generate-nets`: change prototxt/*.py, not this file."


def param_str(task, source, data):
    """The data layer's parameters: a dict literal. `data` is the folder that holds all data."""
    folder = posixpath.join(data, source.folder)
    parameters = {source.folder_key: folder, "split": source.split, "mean": task.mean, "seed": SEED}
    parameters.update(source.extra)
    return repr(parameters)


def net_proto(task, net, phase, data="data"):
    """NetParameter of `net` (a key of NETS) for a Task; `phase` is train, val or deploy.

    Tops: `data` 1×C×H×W and, but for deploy, `label` 1×1×H×W, `loss`; `score` 1×classes×H×W.
    """
    depth, head = NETS[net]
    n = caffe.NetSpec()
    if phase == "deploy":
        shape = [1, len(task.mean), *DEPLOY_SHAPE]
        n.data = L.Input(input_param=dict(shape=dict(dim=shape)))
    else:
        source = getattr(task, phase)
        n.data, n.label = L.Python(
            ntop=2,
            python_param=dict(
                module=source.module, layer=source.layer, param_str=param_str(task, source, data)
            ),
        )
    vgg.trunk(n, n.data, depth, task.freeze)
    head.head(n, n.data, task)
    if phase != "deploy":
        n.loss = L.SoftmaxWithLoss(
            n.score, n.label, loss_param=dict(ignore_label=VOID, normalize=task.loss_normalize)
        )
    return n.to_proto()


def net_text(task, net, phase, data="data", made_by=MADE_BY):
    """The net as the text of its file, one comment per part of the net."""
    _, head = NETS[net]
    sections = {**vgg.SECTIONS, **head.SECTIONS}
    if task.loss_normalize:
        sections["loss"] = "mean over the pixels that are not void"
    lines = [comment(f"{net} for {task.name}, {len(task.classes)} classes: {phase} net."),
             comment(made_by)]  # fmt: skip
    for layer in net_proto(task, net, phase, data).layer:
        if layer.name in sections:
            lines += ["\n", comment(sections[layer.name])]
        lines.append("layer {\n" + text(layer, "  ") + "}\n")
    return "".join(lines)


def solver_rows(task, folder, snapshot_prefix):
    """(SolverParameter field, value, comment or None), in the order of the file."""
    s = task.schedule
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
    for field, value, why in solver_rows(task, folder, snapshot_prefix):
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
