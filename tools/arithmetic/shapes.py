"""What is not seen in a built net: a layer's windows, and how many multiplications it needs.

The layers are LayerParameters that Caffe has built a net of; shapes are those of the net's blobs,
tuples of ints in Caffe's order of axes (N, C, H, W).
"""

from __future__ import annotations

import math
from collections import namedtuple

from tools.common.cli import UserError

Window = namedtuple("Window", "kernel stride pad dilation")
Window.__doc__ = "A layer's window along one spatial axis, as the functions of geometry.py take it."

POINTWISE = (
    *("AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "Log", "LRN", "Power"),
    *("ReLU", "Sigmoid", "Softmax", "Split", "Swish", "TanH", "Threshold"),
)
"""Types whose tops have their bottoms' one shape, and no parameters."""

UNCOUNTED = ("LSTM", "Python", "RNN")
"""Types that multiply, how often does not show in their shapes."""

_PARAMS = {
    "BatchNorm": ("mean", "variance", "count"),
    "Bias": ("bias",),
    "PReLU": ("slopes",),
}


def param_names(layer, count):
    """What each of the `count` parameter blobs of a layer is, in a word."""
    names = _PARAMS.get(layer.type, ("weights", "bias"))
    if layer.type == "Scale" and len(layer.bottom) > 1:
        names = ("bias",)
    return [names[i] if i < len(names) else f"blob {i}" for i in range(count)]


def text(shape):
    """1x3x500x500; a single number has no axes."""
    return "x".join(map(str, shape)) or "1"


def windows(layer, bottom):
    """The Window of a convolution, deconvolution or pooling for every spatial axis of `bottom`.

    Raises UserError for a convolution over other axes than those behind 1, the channels.
    """
    pooling = layer.type == "Pooling"
    param = layer.pooling_param if pooling else layer.convolution_param
    count = len(bottom) - 2
    if pooling and param.global_pooling:
        return [Window(size, 1, 0, 1) for size in bottom[2:]]
    if not pooling and param.axis % len(bottom) != 1:
        raise UserError(
            f"layer {layer.name!r} ({layer.type}): axis {param.axis} is not the axis of channels, 1"
        )
    values = {}
    for field, default in (("kernel_size", None), ("stride", 1), ("pad", 0), ("dilation", 1)):
        sides = [f"{field.replace('_size', '')}_{side}" for side in "hw"]
        if field != "dilation" and any(param.HasField(side) for side in sides):
            found = [getattr(param, side) for side in sides]
        elif not pooling:
            found = list(getattr(param, field))
        else:
            found = [getattr(param, field)] if field != "dilation" else []
        found = found or [default]
        values[field] = found * count if len(found) == 1 else found
    return [Window(*of_axis) for of_axis in zip(*values.values())]


def multiplications(layer, bottoms, tops, weights):
    """Multiply-accumulates of a forward pass with the weights of shape `weights`.

    Biases, pooling, layers that work element by element and those of UNCOUNTED are not counted.
    """
    if layer.type == "InnerProduct":
        return math.prod(bottoms[0][: layer.inner_product_param.axis]) * math.prod(weights)
    if layer.type in ("Convolution", "Deconvolution"):
        # Every weight is used once for each point of the coarser map: a convolution's top, a
        # deconvolution's bottom.
        first, *spatial = (tops if layer.type == "Convolution" else bottoms)[0]
        return len(bottoms) * first * math.prod(spatial[1:]) * math.prod(weights)
    return 0


def mixed_axis(layer, shape):
    """The first axis along which a layer's output depends on other points than its own, or is
    put together from several bottoms: 1 for layers that work channel by channel or on channels."""
    if layer.type in ("Concat", "Slice"):
        concat = layer.type == "Concat"
        param = layer.concat_param if concat else layer.slice_param
        legacy = "concat_dim" if concat else "slice_dim"
        axis = getattr(param, legacy) if param.HasField(legacy) else param.axis
    elif layer.type == "Softmax":
        axis = layer.softmax_param.axis
    elif layer.type == "ArgMax":
        axis = layer.argmax_param.axis if layer.argmax_param.HasField("axis") else 2
    else:
        axis = 1
    return axis % len(shape) if shape else axis


def crop_offsets(layer, bottom):
    """Crop's offset for every axis of its bottom: 0 for those before its own."""
    axis, offsets = layer.crop_param.axis % len(bottom), list(layer.crop_param.offset)
    cropped = len(bottom) - axis
    return [0] * axis + (offsets if len(offsets) == cropped else (offsets or [0]) * cropped)
