"""A task and a net name → the train, val and deploy nets and the solver, as prototxt text."""

from __future__ import annotations

import posixpath

from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
from prototxt.dilated_fcn2s import dilated_fcn2s
from prototxt.fcn import fcn8s, fcn8s_at_once, fcn16s, fcn32s
from prototxt.parts import Net
from prototxt.tasks import SEED, VOID, Folder
from prototxt.text import comment, text

NETS = {
    # name: (what builds it, depth of its VGG trunk)
    "dilated-fcn2s-vgg16": (dilated_fcn2s, 16),
    "dilated-fcn2s-vgg19": (dilated_fcn2s, 19),
    "fcn32s-vgg16": (fcn32s, 16),
    "fcn16s-vgg16": (fcn16s, 16),
    "fcn8s-vgg16": (fcn8s, 16),
    "fcn8s-atonce-vgg16": (fcn8s_at_once, 16),
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


def add_data(net, phase, data):
    """The tops that images and, but for deploy, labels come in by."""
    task, tops = net.task, net.tops
    if phase == "deploy":
        for blob, channels in task.inputs:
            tops[blob] = L.Input(input_param=dict(shape=dict(dim=[1, channels, *DEPLOY_SHAPE])))
    else:
        source = getattr(task, phase)
        read = L.Python(
            ntop=len(task.inputs) + 1,
            python_param=dict(
                module=source.module, layer=source.layer, param_str=param_str(source, data)
            ),
        )
        for (blob, _), top in zip((*task.inputs, ("label", 1)), read):
            tops[blob] = top
    if task.fusion == "early":
        net.comment("data", "early fusion: colour and depth as channels of one image")
        tops.data = L.Concat(*(tops[blob] for blob, _ in task.inputs))


def add_loss(net, phase):
    """The loss over the pixels that are not void: their mean or, as published, their sum. In
    training a pixel may count as much as its class is to."""
    task = net.task
    mean = task.loss_normalize
    over = "mean over the" if mean else "summed over all"
    net.comment("loss", f"{over} pixels that are not void")
    if task.balance and phase == "train":
        weights = ", ".join(f"{c} {w:.4g}" for c, w in zip(task.classes, task.balance))
        net.comment("loss", f"{over} pixels that are not void, each times: {weights}")
        normalization = P.Loss.VALID if mean else P.Loss.BATCH_SIZE
        net.tops.loss = L.InfogainLoss(
            net.tops.score,
            net.tops.label,
            infogain_loss_param=dict(source=task.balance_file),
            loss_param=dict(ignore_label=VOID, normalization=normalization),
        )
        return
    net.tops.loss = L.SoftmaxWithLoss(
        net.tops.score, net.tops.label, loss_param=dict(ignore_label=VOID, normalize=mean)
    )


def build(task, name, phase, data="data"):
    """The `parts.Net` `name` (a key of NETS) for a Task; `phase` is train, val or deploy.

    Tops: `data` (or the task's other inputs) 1×C×H×W and, but for deploy, `label` 1×1×H×W, `loss`;
    `score` 1×classes×H×W.
    """
    net = Net(task)
    add_data(net, phase, data)
    make, depth = NETS[name]
    make(net, depth)
    if phase != "deploy":
        add_loss(net, phase)
    return net


def net_proto(task, name, phase, data="data"):
    """NetParameter of the net that `build` makes."""
    return build(task, name, phase, data).tops.to_proto()


def net_text(task, name, phase, data="data", made_by=MADE_BY, named=False):
    """The net as the text of its file, one comment for each of its parts.

    named: whether the net has its `name`, <task>-<net>; those of the built-in tasks have none.
    """
    net = build(task, name, phase, data)
    lines = [comment(f"{name} for {task.name}, {len(task.classes)} classes: {phase} net."),
             comment(made_by)]  # fmt: skip
    if named:
        lines.append(text(caffe_pb2.NetParameter(name=f"{task.name}-{name}")))
    for layer in net.tops.to_proto().layer:
        if layer.name in net.comments:
            lines += ["\n", comment(net.comments[layer.name])]
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
        ("type", None if s.type == "SGD" else s.type, None),
        ("momentum", s.momentum, None),
        ("momentum2", s.momentum2, None),
        ("delta", s.delta, None),
        ("rms_decay", s.rms_decay, None),
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


def files(task, net, folder, snapshot_prefix, data="data", made_by=MADE_BY, named=False):
    """File name → text of a net's four files, which will lie in `folder`. named: as `net_text`."""
    made = {
        f"{phase}.prototxt": net_text(task, net, phase, data, made_by, named) for phase in PHASES
    }
    made["solver.prototxt"] = solver_text(task, net, folder, snapshot_prefix, made_by)
    return made
