"""What the bench measures: nets without their data, solvers, one image, weights, FLOPs.

The nets are those of prototxt/nets/voc, with Input layers of one image in place of data layers.
"""

from __future__ import annotations

import ast
import os
from collections import namedtuple

import numpy as np

from prototxt import text
from prototxt.tasks import TASKS, VOID
from tools import summary
from tools.arithmetic import shapes

NETS = ("dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19", "fcn8s-vgg16")
CLASSES = len(TASKS["voc"].classes)
SEED = 1

Case = namedtuple("Case", "net size classes shrink", defaults=(CLASSES, 1))
Case.__doc__ = """What is measured once.

net      a name in NETS
size     (height, width) of the image
classes  number of classes
shrink   the channels of all layers but the scores are divided by it: 1, but for trials
"""


def title(case):
    """The case in words."""
    classes = "" if case.classes == CLASSES else f", {case.classes} classes"
    shrunk = "" if case.shrink == 1 else f", channels / {case.shrink}"
    return f"{case.net} {case.size[0]}x{case.size[1]}{classes}{shrunk}"


def path_of(net, file):
    return os.path.join(summary.NETS, "voc", net, f"{file}.prototxt")


def net_of(case, file, dropout=True):
    """The NetParameter of a case; `file` is train, val or deploy."""
    phase = "TRAIN" if file == "train" else "TEST"
    net = _resized(summary.read(path_of(case.net, file), case.size, phase), case)
    if not dropout:
        kept = [layer for layer in net.layer if layer.type != "Dropout"]
        del net.layer[:]
        net.layer.extend(kept)
    return net


def _resized(net, case):
    return narrow(net, case.shrink, CLASSES, case.classes)


def narrow(net, shrink, classes, made=None):
    """The NetParameter `net`, which scores `classes`, with the channels of all convolutions but the
    scores' divided by `shrink`, and of these for `made` classes (default: as many)."""
    for layer in net.layer:
        param = layer.convolution_param
        if param.num_output == classes:
            param.num_output = made or classes
        elif param.num_output:
            param.num_output = max(1, param.num_output // shrink)
    return net


def val_net(case, **changes):
    """The NetParameter of a case's val net, its data layer's parameters changed."""
    from prototxt import skeleton

    net = _resized(skeleton.read_prototxt(path_of(case.net, "val")), case)
    (layer,) = (layer for layer in net.layer if layer.type == "Python")
    params = ast.literal_eval(layer.python_param.param_str)
    layer.python_param.param_str = repr({**params, **changes})
    return net


def solver_of(case, train, val=None, base_lr=None):
    """The net's SolverParameter on the files `train` and, to test now and then, `val`.

    It writes and logs nothing, and tests only when told to.
    """
    from caffe.proto import caffe_pb2

    solver = text.read(path_of(case.net, "solver"), caffe_pb2.SolverParameter())
    for field in ("snapshot", "snapshot_prefix", "test_net", "test_iter", "test_interval"):
        solver.ClearField(field)
    solver.train_net, solver.display, solver.random_seed = train, 0, SEED
    solver.snapshot_after_train = False
    if val is not None:
        solver.test_net.append(val)
        solver.test_iter.append(1)
        solver.test_interval = 999999999
    if base_lr is not None:
        solver.base_lr = base_lr
    return solver


def write(path, message):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.text(message))
    return path


def image(case):
    """{data: 1 x 3 x H x W, label: 1 x 1 x H x W}, float32: noise; one label in 20 is void.

    The pixels have variance 1, not a photograph's: so do the features then, as He et al.'s weights
    keep it, and the softmax does not saturate.
    """
    random = np.random.RandomState(SEED)
    label = random.randint(0, case.classes, (1, 1, *case.size)).astype(np.float32)
    label[random.rand(*label.shape) < 0.05] = VOID
    data = random.standard_normal((1, 3, *case.size)).astype(np.float32)
    return {"data": data, "label": label}


def weights_of(case, draw=None):
    """Layer -> its arrays: He et al.'s weights, biases 0, bilinear upsampling, the net's scales.

    draw    function (shape, seed, layer name) → weights; by default surgery.fillers.msra, which
            draws the same numbers everywhere
    """
    from surgery.bilinear import upsample_filt
    from surgery.fillers import msra

    draw = draw or msra
    net = net_of(case, "train")
    layers = {layer.name: layer for layer in net.layer}
    made = {}
    for row in summary.summarize(net, title(case)).rows:
        for param in row.params:
            layer = layers[param.layer]
            if layer.type == "Deconvolution":
                value = np.zeros(param.shape, np.float32)
                channels = np.arange(param.shape[0])
                value[channels, channels] = upsample_filt(param.shape[2])
            elif layer.type == "Scale":
                value = np.full(param.shape, layer.scale_param.filler.value, np.float32)
            elif param.what == "bias":
                value = np.zeros(param.shape, np.float32)
            else:
                value = draw(param.shape, SEED, param.layer)
            made.setdefault(param.layer, []).append(value)
    return made


def flop(case):
    """Floating-point operations of the convolutions of a forward pass: two for each multiplication
    and addition. The fixed deconvolutions, which need not be done densely, are not counted."""
    return 2 * sum(row.macs for row in _convolutions(case))


def flop_of_step(case):
    """As `flop`, of a forward and a backward pass: the gradients of a convolution's weights and of
    its bottom take as many operations each as its forward pass. The first one's bottom, the image,
    gets none."""
    first, *others = (row.macs for row in _convolutions(case))
    return 2 * (2 * first + 3 * sum(others))


def _convolutions(case):
    rows = summary.summarize(net_of(case, "deploy"), title(case)).rows
    return [row for row in rows if row.type == "Convolution"]


def fc6(net):
    """(shape, dilation, number) of the weights of fc6 in words, for the paper's table 1."""
    rows = summary.summarize(net_of(Case(net, (500, 500)), "deploy"), net).rows
    (row,) = (row for row in rows if row.layer == "fc6")
    shape = row.params[0].shape
    return shapes.text(shape), str(row.dilation[0]), f"{int(np.prod(shape)):,}"


def small_layers():
    """The text of a net of 20 layers on 1 x 4 x 8 x 8 blobs: what a layer costs beside its work."""
    lines = [
        'name: "small"',
        'layer { name: "data" type: "Input" top: "data" top: "label" input_param {'
        " shape { dim: 1 dim: 4 dim: 8 dim: 8 } shape { dim: 1 dim: 1 dim: 8 dim: 8 } } }",
    ]
    below = "data"
    for k in range(1, 7):
        lines += [
            f'layer {{ name: "conv{k}" type: "Convolution" bottom: "{below}" top: "conv{k}"'
            " convolution_param { num_output: 4 kernel_size: 3 pad: 1"
            ' weight_filler { type: "msra" } } }',
            f'layer {{ name: "relu{k}" type: "ReLU" bottom: "conv{k}" top: "conv{k}" }}',
            f'layer {{ name: "sum{k}" type: "Eltwise" bottom: "conv{k}" bottom: "{below}"'
            f' top: "sum{k}" }}',
        ]
        below = f"sum{k}"
    lines.append(
        f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{below}" bottom: "label"'
        ' top: "loss" }'
    )
    return "\n".join(lines) + "\n"
