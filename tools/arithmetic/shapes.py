"""A layer's output shapes, parameters and multiplications by arithmetic: no net is built.

`apply(layer, bottoms)` knows the layer types in RULES. Shapes are tuples of ints, in Caffe's
order of axes (N, C, H, W).
"""

from __future__ import annotations

import difflib
import math
from collections import namedtuple

from tools.arithmetic.geometry import conv_size, deconv_size, pool_size
from tools.common.cli import UserError

Made = namedtuple("Made", "tops params macs", defaults=((), 0))
Made.__doc__ = """What a layer makes.

tops    the shape of every top
params  (what it is, its shape) of every parameter blob
macs    multiply-accumulates of a forward pass with the weights; biases, pooling and layers that
        work element by element are not counted
"""

Window = namedtuple("Window", "kernel stride pad dilation")
Window.__doc__ = "A layer's window along one spatial axis, as the functions of geometry.py take it."


def fail(layer, text):
    """The UserError of a layer."""
    return UserError(f"layer {layer.name!r} ({layer.type}): {text}")


def axis_of(layer, axis, shape):
    """`axis`, which counts from behind if negative, as a place in `shape`."""
    if not -len(shape) <= axis < len(shape):
        raise fail(layer, f"axis {axis} is not one of its bottom's shape {text(shape)}")
    return axis % len(shape)


def text(shape):
    """1x3x500x500; a single number has no axes."""
    return "x".join(map(str, shape)) or "1"


def windows(layer, bottom):
    """The Window of a convolution, deconvolution or pooling for every spatial axis of `bottom`."""
    pooling = layer.type == "Pooling"
    param = layer.pooling_param if pooling else layer.convolution_param
    count = len(bottom) - 2
    if not 1 <= count <= 3 or (pooling and count != 2):
        wanted = "2 spatial axes" if pooling else "1 to 3 spatial axes"
        raise fail(layer, f"needs {wanted}; its bottom's shape is {text(bottom)}")
    if pooling and param.global_pooling:
        return [Window(size, 1, 0, 1) for size in bottom[2:]]
    values = {}
    for field, default in (("kernel_size", None), ("stride", 1), ("pad", 0), ("dilation", 1)):
        stem, given = field.replace("_size", ""), []
        if count == 2 and field != "dilation" and any(param.HasField(f"{stem}_{s}") for s in "hw"):
            given = [getattr(param, f"{stem}_{s}") for s in "hw"]
        elif not pooling:
            given = list(getattr(param, field))
        elif field != "dilation" and param.HasField(field):
            given = [getattr(param, field)]
        if not given and default is None:
            raise fail(layer, "has no kernel_size")
        given = given or [default]
        if len(given) not in (1, count):
            raise fail(layer, f"has {len(given)} values of {field} for {count} spatial axes")
        if field != "pad" and min(given) < 1:
            raise fail(layer, f"{field} must be at least 1")
        values[field] = given * count if len(given) == 1 else given
    return [Window(*of_axis) for of_axis in zip(*values.values())]


def _spatial(layer, bottom, rule, found):
    sizes = [rule(size, *window) for size, window in zip(bottom[2:], found)]
    if min(sizes) < 1:
        raise fail(
            layer,
            f"its bottom of {text(bottom)} is too small for a kernel of "
            f"{text(w.kernel for w in found)}; give a larger --size",
        )
    return sizes


def _convolution(layer, bottoms, transposed=False):
    param, bottom = layer.convolution_param, bottoms[0]
    if axis_of(layer, param.axis, bottom) != 1:
        raise fail(layer, f"axis {param.axis} is not the axis of channels, 1")
    found = windows(layer, bottom)
    sizes = _spatial(layer, bottom, deconv_size if transposed else conv_size, found)
    channels, outputs, group = bottom[1], param.num_output, param.group
    if outputs < 1 or group < 1 or channels % group or outputs % group:
        raise fail(
            layer, f"{channels} channels to num_output {outputs} do not go with group {group}"
        )
    first, second = (channels, outputs) if transposed else (outputs, channels)
    weights = (first, second // group, *(window.kernel for window in found))
    params = [("weights", weights)] + [("bias", (outputs,))] * param.bias_term
    # Every weight is used once for each point of the coarser map: the output, or if transposed
    # the bottom.
    points = math.prod(bottom[2:] if transposed else sizes) * bottom[0] * len(bottoms)
    tops = [(other[0], outputs, *sizes) for other in bottoms]
    return Made(tops, params, points * math.prod(weights))


def _deconvolution(layer, bottoms):
    return _convolution(layer, bottoms, transposed=True)


def _pooling(layer, bottoms):
    param, bottom = layer.pooling_param, bottoms[0]

    def size(size, kernel, stride, pad, dilation):
        return pool_size(size, kernel, stride, pad, param.round_mode == param.CEIL)

    sizes = _spatial(layer, bottom, size, windows(layer, bottom))
    return Made([(*bottom[:2], *sizes)] * len(layer.top))


def _inner_product(layer, bottoms):
    param, bottom = layer.inner_product_param, bottoms[0]
    axis = axis_of(layer, param.axis, bottom)
    inputs, outputs = math.prod(bottom[axis:]), param.num_output
    if outputs < 1:
        raise fail(layer, "num_output must be at least 1")
    weights = (inputs, outputs) if param.transpose else (outputs, inputs)
    params = [("weights", weights)] + [("bias", (outputs,))] * param.bias_term
    return Made([(*bottom[:axis], outputs)], params, math.prod(bottom[:axis]) * inputs * outputs)


def _same(layer, bottoms):
    if any(other != bottoms[0] for other in bottoms):
        shapes = ", ".join(f"{name} {text(s)}" for name, s in zip(layer.bottom, bottoms))
        raise fail(layer, f"its bottoms' shapes differ: {shapes}")
    return Made([bottoms[0]] * len(layer.top))


def _scale(layer, bottoms):
    scale = layer.type == "Scale"
    param, bottom = layer.scale_param if scale else layer.bias_param, bottoms[0]
    axis, count = axis_of(layer, param.axis, bottom), param.num_axes
    shape = bottom[axis:] if count == -1 else bottom[axis : axis + count]
    if len(bottoms) > 1:
        shape = bottoms[1]
    params = [("weights" if scale else "bias", shape)] if len(bottoms) == 1 else []
    if scale and param.bias_term:
        params.append(("bias", shape))
    return Made([bottom], params)


def _batch_norm(layer, bottoms):
    channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
    return Made([bottoms[0]], [("mean", (channels,)), ("variance", (channels,)), ("count", (1,))])


def _prelu(layer, bottoms):
    channels = 1 if layer.prelu_param.channel_shared else bottoms[0][1]
    return Made([bottoms[0]], [("slopes", (channels,))])


def joined_axis(layer, shape):
    """Concat's or Slice's axis."""
    concat = layer.type == "Concat"
    param = layer.concat_param if concat else layer.slice_param
    legacy = "concat_dim" if concat else "slice_dim"
    axis = getattr(param, legacy) if param.HasField(legacy) else param.axis
    return axis_of(layer, axis, shape)


def mixed_axis(layer, shape):
    """The first axis along which a layer's output depends on other points than its own, or is
    put together from several bottoms: 1 for layers that work channel by channel or on channels."""
    if layer.type in ("Concat", "Slice"):
        return joined_axis(layer, shape)
    if layer.type == "Softmax":
        return axis_of(layer, layer.softmax_param.axis, shape)
    if layer.type == "ArgMax":
        param = layer.argmax_param
        return axis_of(layer, param.axis, shape) if param.HasField("axis") else 2
    return 1


def _concat(layer, bottoms):
    axis = joined_axis(layer, bottoms[0])
    _same(layer, [shape[:axis] + shape[axis + 1 :] for shape in bottoms])
    size = sum(shape[axis] for shape in bottoms)
    return Made([(*bottoms[0][:axis], size, *bottoms[0][axis + 1 :])])


def _slice(layer, bottoms):
    shape, tops = bottoms[0], len(layer.top)
    axis = joined_axis(layer, shape)
    points, size = list(layer.slice_param.slice_point), shape[axis]
    if points and len(points) != tops - 1:
        raise fail(layer, f"has {len(points)} slice_points for {tops} tops")
    if not points and size % tops:
        raise fail(layer, f"{tops} tops do not divide {size} of {text(shape)}")
    cuts = [0, *points, size] if points else range(0, size + 1, size // tops)
    parts = [b - a for a, b in zip(cuts, cuts[1:])]
    if min(parts) < 1:
        raise fail(layer, f"slice_points {points} do not rise within {size}")
    return Made([(*shape[:axis], part, *shape[axis + 1 :]) for part in parts])


def crop_offsets(layer, bottom):
    """Crop's offset for every axis of its bottom: 0 for those before its own."""
    axis, given = axis_of(layer, layer.crop_param.axis, bottom), list(layer.crop_param.offset)
    cropped = len(bottom) - axis
    if len(given) not in (0, 1, cropped):
        raise fail(layer, f"has {len(given)} offsets for {cropped} axes")
    return [0] * axis + (given if len(given) == cropped else (given or [0]) * cropped)


def _crop(layer, bottoms):
    if len(bottoms) != 2 or len(bottoms[0]) != len(bottoms[1]):
        raise fail(layer, "needs two bottoms with the same number of axes")
    axis = axis_of(layer, layer.crop_param.axis, bottoms[0])
    offsets = crop_offsets(layer, bottoms[0])
    for size, wanted, offset in list(zip(*bottoms, offsets))[axis:]:
        if offset + wanted > size:
            raise fail(
                layer,
                f"offset {offset} + {wanted} of {layer.bottom[1]!r} exceed {size} of "
                f"{layer.bottom[0]!r}",
            )
    return Made([(*bottoms[0][:axis], *bottoms[1][axis:])])


def _flatten(layer, bottoms):
    shape, param = bottoms[0], layer.flatten_param
    first, last = axis_of(layer, param.axis, shape), axis_of(layer, param.end_axis, shape)
    return Made([(*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])])


def _reshape(layer, bottoms):
    old, param = bottoms[0], layer.reshape_param
    start = param.axis if param.axis >= 0 else len(old) + param.axis + 1
    stop = len(old) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= stop <= len(old):
        raise fail(layer, f"axis and num_axes do not fit the shape {text(old)}")
    wanted = list(param.shape.dim)
    if any(dim == 0 and start + i >= len(old) for i, dim in enumerate(wanted)):
        raise fail(layer, f"keeps an axis that {text(old)} does not have")
    wanted = [old[start + i] if dim == 0 else dim for i, dim in enumerate(wanted)]
    shape = [*old[:start], *wanted, *old[stop:]]
    if -1 in shape:
        rest = math.prod(dim for dim in shape if dim != -1)
        shape[shape.index(-1)] = math.prod(old) // rest if rest else 0
    if math.prod(shape) != math.prod(old) or min(shape, default=1) < 0:
        raise fail(layer, f"the shape {text(shape)} does not hold {text(old)}")
    return Made([tuple(shape)])


def _arg_max(layer, bottoms):
    param, shape = layer.argmax_param, list(bottoms[0])
    if param.HasField("axis"):
        shape[axis_of(layer, param.axis, shape)] = param.top_k
    else:
        shape = [shape[0], 2 if param.out_max_val else 1, param.top_k] + [1] * (len(shape) - 3)
    return Made([tuple(shape)])


def _loss(layer, bottoms):
    """One number; a second top of SoftmaxWithLoss or Accuracy has the scores or the classes."""
    second = bottoms[0][1:2] if layer.type == "Accuracy" else bottoms[0]
    return Made([(), second][: len(layer.top)])


def _input(layer, bottoms):
    shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
    return Made(_one_or_each(layer, shapes))


def _dummy_data(layer, bottoms):
    param = layer.dummy_data_param
    shapes = [tuple(shape.dim) for shape in param.shape]
    return Made(
        _one_or_each(
            layer, shapes or list(zip(param.num, param.channels, param.height, param.width))
        )
    )


def _one_or_each(layer, shapes):
    tops = len(layer.top)
    if len(shapes) not in (1, tops):
        raise fail(layer, f"has {len(shapes)} shapes for {tops} tops; give one, or one each")
    if any(dim < 1 for shape in shapes for dim in shape):
        raise fail(layer, "has a size below 1 in its shape")
    return shapes * tops if len(shapes) == 1 else shapes


POINTWISE = (
    *("AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "Log", "LRN", "Power"),
    *("ReLU", "Sigmoid", "Softmax", "Split", "Swish", "TanH", "Threshold"),
)
"""Types whose tops have their bottoms' one shape, and no parameters."""

LOSSES = (
    *("Accuracy", "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss"),
    *("MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss"),
)
"""Types whose first top is one number."""

RULES = {
    **{name: _same for name in POINTWISE},
    **{name: _loss for name in LOSSES},
    "ArgMax": _arg_max,
    "BatchNorm": _batch_norm,
    "Bias": _scale,
    "Concat": _concat,
    "Convolution": _convolution,
    "Crop": _crop,
    "Deconvolution": _deconvolution,
    "DummyData": _dummy_data,
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "Input": _input,
    "PReLU": _prelu,
    "Pooling": _pooling,
    "Reshape": _reshape,
    "Scale": _scale,
    "Silence": lambda layer, bottoms: Made([]),
    "Slice": _slice,
}


def apply(layer, bottoms):
    """What a LayerParameter makes of bottoms of these shapes, as a Made. Raises UserError."""
    rule = RULES.get(layer.type)
    if rule is None:
        known = {name.lower(): name for name in RULES}
        near = difflib.get_close_matches(layer.type.lower(), known, 1)
        hint = (
            f"did you mean {known[near[0]]}?"
            if near
            else "tools/arithmetic/shapes.py has no rule for it"
        )
        raise fail(layer, f"its output's shape is not known: {hint}")
    if not bottoms and layer.type not in ("Input", "DummyData"):
        raise fail(layer, "has no bottom")
    return rule(layer, bottoms)
