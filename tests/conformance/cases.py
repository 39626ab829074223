"""Random small nets of one layer: a Hypothesis strategy for each layer type.

To add a layer type: write one function under @layer("Type"); `case_tools.case` says what it makes.
"""

from __future__ import annotations

import numpy as np
from hypothesis import assume, strategies as st

from tests.conformance.case_tools import case, ints, layer, maybe, message, shape


def per_axis(draw, name, axes, low, high, both_words):
    """The spellings of a spatial setting: one number, one per axis, or name_h and name_w."""
    stem = name.replace("_size", "")
    way = draw(st.sampled_from(["one", "each", *(["hw"] if both_words and axes == 2 else [])]))
    if way == "one":
        return {name: draw(ints(low, high))}
    each = [draw(ints(low, high)) for _ in range(axes)]
    if way == "each":
        return {name: each}
    return {f"{stem}_h": each[0], f"{stem}_w": each[1]}


def windows(draw, axes):
    """ConvolutionParameter's fields of the windows: kernel, and perhaps stride, pad, dilation."""
    fields = per_axis(draw, "kernel_size", axes, 1, 3, True)
    for name, low, high in (("stride", 1, 3), ("pad", 0, 3)):
        if draw(st.booleans()):
            fields.update(per_axis(draw, name, axes, low, high, True))
    if draw(st.booleans()):
        fields.update(per_axis(draw, "dilation", axes, 1, 3, False))
    return fields


def convolution(draw, type_name):
    axes = draw(st.sampled_from([2, 2, 2, 2, 1, 3]))
    group = draw(st.sampled_from([1, 1, 2, 3]))
    fields = windows(draw, axes)
    text = message(
        "convolution_param",
        num_output=group * draw(ints(1, 3)),
        group=group if group > 1 else None,
        bias_term=maybe(draw, st.booleans()),
        force_nd_im2col=maybe(draw, st.booleans()),
        axis=maybe(draw, st.sampled_from([1, -1 - axes])),
        **fields,
    )
    spatial = [draw(ints(3, 9 if axes < 3 else 5)) for _ in range(axes)]
    dims = [draw(ints(1, 2)), group * draw(ints(1, 3)), *spatial]
    number = draw(st.sampled_from([1, 1, 1, 2]))
    return case(draw, f'type: "{type_name}" {text}', [dims] * number, tops=number)


@layer("Convolution")
def _(draw):
    return convolution(draw, "Convolution")


@layer("Deconvolution")
def _(draw):
    return convolution(draw, "Deconvolution")


def windows_fit(dims, fields):
    """Per axis, whether the last window that the ceiling rule makes starts inside the bottom.

    Where a stride larger than its kernel leaves it outside, BVLC Caffe divides by zero (AVE) or
    writes outside the gradient (MAX); the engine refuses the net."""
    for size, axis in zip(dims[2:], "hw", strict=True):
        if "global_pooling" in fields:
            yield True
            continue
        kernel = fields.get("kernel_size", fields.get(f"kernel_{axis}"))
        stride = fields.get("stride", fields.get(f"stride_{axis}", 1))
        pad = fields.get("pad", fields.get(f"pad_{axis}", 0))
        last = -(-max(size + 2 * pad - kernel, 0) // stride) * stride
        yield pad or last < size


@layer("Pooling")
def _(draw):
    pool = draw(st.sampled_from(["MAX", "MAX", "AVE"]))
    dims = [draw(ints(1, 2)), draw(ints(1, 3)), draw(ints(2, 9)), draw(ints(2, 9))]
    if draw(ints(0, 5)) == 0:
        fields = {"global_pooling": True}
    else:
        kernel = [draw(ints(1, 3)), draw(ints(1, 3))]
        same = draw(st.booleans())
        fields = {"kernel_size": kernel[0]} if same else {}
        if not same:
            fields = {"kernel_h": kernel[0], "kernel_w": kernel[1]}
        if draw(st.booleans()):
            fields["stride"] = draw(ints(1, 4))
        elif draw(st.booleans()):
            fields.update(stride_h=draw(ints(1, 3)), stride_w=draw(ints(1, 3)))
        smallest = kernel[0] if same else min(kernel)
        if draw(st.booleans()):
            fields["pad"] = draw(ints(0, smallest - 1))
        elif draw(st.booleans()):
            fields.update(
                pad_h=draw(ints(0, kernel[0] - 1)),
                pad_w=draw(ints(0, kernel[0 if same else 1] - 1)),
            )
    assume(all(windows_fit(dims, fields)))
    tops = 2 if pool == "MAX" and draw(ints(0, 4)) == 0 else 1
    text = message("pooling_param", pool=pool, **fields)
    kind = draw(st.sampled_from(["normal", "ties"]))
    return case(draw, f'type: "Pooling" {text}', [dims], tops=tops, kinds=[kind])


@layer("ReLU")
def _(draw):
    slope = maybe(draw, st.sampled_from([0.0, 0.25, -0.5, 1.5]))
    text = message("relu_param", negative_slope=slope)
    kind = draw(st.sampled_from(["normal", "ties"]))
    in_place = draw(st.booleans())
    return case(draw, f'type: "ReLU" {text}', [shape(draw)], kinds=[kind], in_place=in_place)


@layer("Dropout")
def _(draw):
    # Random masks differ between engines; TEST is the identity, and so is TRAIN at ratio 0.
    phase = draw(st.sampled_from(["TRAIN", "TEST"]))
    ratio = 0 if phase == "TRAIN" else draw(st.sampled_from([0.1, 0.5, 0.9]))
    text = message("dropout_param", dropout_ratio=ratio)
    in_place = draw(st.booleans())
    return case(draw, f'type: "Dropout" {text}', [shape(draw)], phase=phase, in_place=in_place)


@layer("Crop")
def _(draw):
    big = draw(st.lists(ints(2, 7), min_size=2, max_size=4))
    axis = draw(ints(0, len(big) - 1))
    small, offsets = [], []
    for i, size in enumerate(big):
        if i < axis:
            small.append(draw(ints(1, 7)))
            continue
        small.append(draw(ints(1, size)))
        offsets.append(draw(ints(0, size - small[-1])))
    way = draw(st.sampled_from(["none", "one", "each", "each"]))
    if way == "one":
        offsets = [min(offsets)]
    fields = {"offset": None if way == "none" else offsets}
    axis = draw(st.sampled_from([axis, axis - len(big)]))
    if axis == 2 and draw(st.booleans()):
        axis = None
    text = message("crop_param", axis=axis, **fields)
    return case(draw, f'type: "Crop" {text}', [big, small])


@layer("Eltwise")
def _(draw):
    number = draw(ints(2, 4))
    operation = maybe(draw, st.sampled_from(["PROD", "SUM", "SUM", "MAX"]))
    fields = {}
    if operation == "SUM" and draw(st.booleans()):
        fields["coeff"] = [draw(st.sampled_from([1.0, -1.0, 0.5, 2.0])) for _ in range(number)]
    if operation == "PROD":
        fields["stable_prod_grad"] = maybe(draw, st.booleans())
    kind = "normal" if operation == "PROD" else draw(st.sampled_from(["normal", "ties"]))
    text = message("eltwise_param", operation=operation, **fields)
    return case(draw, f'type: "Eltwise" {text}', [shape(draw)] * number, kinds=[kind] * number)


def scale_or_bias(draw, type_name):
    param = type_name.lower() + "_param"
    dims = shape(draw)
    axis = draw(ints(0, len(dims) - 1))
    in_place = draw(st.booleans())
    spelt = draw(st.sampled_from([axis, axis - len(dims)]))
    fields = {"axis": spelt}
    if type_name == "Scale":
        fields["bias_term"] = maybe(draw, st.booleans())
    if draw(st.booleans()):
        covered = draw(ints(0, len(dims) - axis))
        text = message(param, **fields)
        shapes = [dims, dims[axis : axis + covered]]
        return case(draw, f'type: "{type_name}" {text}', shapes, in_place=in_place)
    fields["num_axes"] = maybe(draw, ints(-1, len(dims) - axis))
    if fields["num_axes"] is None and axis == len(dims):
        fields["num_axes"] = 0
    text = message(param, **fields)
    return case(draw, f'type: "{type_name}" {text}', [dims], in_place=in_place)


@layer("Scale")
def _(draw):
    return scale_or_bias(draw, "Scale")


@layer("Bias")
def _(draw):
    return scale_or_bias(draw, "Bias")


@layer("Concat")
def _(draw):
    dims = shape(draw, 2, 4)
    axis = draw(ints(0, len(dims) - 1))
    shapes = [list(dims) for _ in range(draw(ints(1, 4)))]
    for one in shapes:
        one[axis] = draw(ints(1, 4))
    if draw(ints(0, 3)) == 0:
        text = message("concat_param", concat_dim=axis)
    elif axis == 1 and draw(st.booleans()):
        text = ""
    else:
        text = message("concat_param", axis=draw(st.sampled_from([axis, axis - len(dims)])))
    return case(draw, f'type: "Concat" {text}', shapes)


@layer("Slice")
def _(draw):
    dims = shape(draw, 2, 4)
    axis = draw(ints(0, len(dims) - 1))
    tops = draw(ints(1, 4))
    word = draw(st.sampled_from(["axis", "slice_dim"]))
    spelt = axis if word == "slice_dim" else draw(st.sampled_from([axis, axis - len(dims)]))
    points = None
    if draw(st.booleans()) and tops > 1:
        sizes = [draw(ints(1, 3)) for _ in range(tops)]
        dims[axis] = sum(sizes)
        points = [int(p) for p in np.cumsum(sizes)[:-1]]
    else:
        dims[axis] = tops * draw(ints(1, 3))
    text = message("slice_param", **{word: spelt}, slice_point=points)
    return case(draw, f'type: "Slice" {text}', [dims], tops=tops)


@layer("Split")
def _(draw):
    return case(draw, 'type: "Split"', [shape(draw, 0, 4)], tops=draw(ints(1, 4)))


@layer("InnerProduct")
def _(draw):
    dims = shape(draw, 1, 4)
    axis = draw(ints(0, len(dims) - 1))
    text = message(
        "inner_product_param",
        num_output=draw(ints(1, 6)),
        axis=draw(st.sampled_from([axis, axis - len(dims)])),
        bias_term=maybe(draw, st.booleans()),
        transpose=maybe(draw, st.booleans()),
    )
    return case(draw, f'type: "InnerProduct" {text}', [dims])


@layer("Softmax")
def _(draw):
    dims = shape(draw)
    axis = draw(ints(0, len(dims) - 1))
    text = message("softmax_param", axis=draw(st.sampled_from([axis, axis - len(dims)])))
    in_place = draw(ints(0, 3)) == 0
    return case(draw, f'type: "Softmax" {text}', [dims], in_place=in_place)


def scores_and_labels(draw):
    """(scores' shape, labels' shape, axis as written or None, labels' kind, ignored label)."""
    dims = shape(draw, 2, 4)
    axis = draw(ints(1, len(dims) - 1))  # 0 is refused: the labels need the scores' first axis
    dims[axis] = draw(ints(2, 6))
    labels = dims[:axis] + dims[axis + 1 :]
    if draw(st.booleans()):
        labels.insert(axis, 1)  # the FCN nets' labels are N x 1 x H x W
    ignored = maybe(draw, st.sampled_from([255, 0, -1]))
    kind = f"labels {dims[axis]}" + ("" if ignored is None else f" {ignored}")
    spelt = None if axis == 1 and draw(st.booleans()) else axis
    return dims, labels, spelt, kind, ignored


@layer("SoftmaxWithLoss")
def _(draw):
    dims, labels, axis, kind, ignored = scores_and_labels(draw)
    fields = {"ignore_label": ignored}
    if draw(st.booleans()):
        fields["normalization"] = draw(st.sampled_from(["FULL", "VALID", "BATCH_SIZE", "NONE"]))
    elif draw(st.booleans()):
        fields["normalize"] = draw(st.booleans())
    text = message("loss_param", **fields)
    if axis is not None:
        text += " " + message("softmax_param", axis=axis)
    # Its second top cannot be compared: BVLC Caffe 1.0 refuses the net that names it, with any
    # number of loss weights.
    weight = draw(st.sampled_from([1.0, 0.5, 2.0]))
    text += "" if weight == 1.0 else f" loss_weight: {weight}"
    # The labels take no gradient: BVLC Caffe aborts where force_backward asks for one.
    text += " propagate_down: true propagate_down: false"
    kinds = ["normal", kind]
    return case(draw, f'type: "SoftmaxWithLoss" {text}', [dims, labels], kinds=kinds)


@layer("Accuracy")
def _(draw):
    dims, labels, axis, kind, ignored = scores_and_labels(draw)
    position = 1 if axis is None else axis
    text = message(
        "accuracy_param",
        top_k=maybe(draw, ints(1, dims[position])),
        axis=axis,
        ignore_label=ignored,
    )
    tops = draw(st.sampled_from([1, 1, 2]))
    text = f'type: "Accuracy" {text} propagate_down: false propagate_down: false'
    return case(draw, text, [dims, labels], tops=tops, kinds=["normal", kind], phase="TEST")


@layer("ArgMax")
def _(draw):
    dims = shape(draw, 2, 4)
    axis = maybe(draw, ints(0, len(dims) - 1))
    fields = {"axis": axis}
    room = dims[axis] if axis is not None else int(np.prod(dims[1:]))
    fields["top_k"] = maybe(draw, ints(1, room))
    fields["out_max_val"] = maybe(draw, st.booleans())
    return case(draw, f'type: "ArgMax" {message("argmax_param", **fields)}', [dims])


@layer("BatchNorm")
def _(draw):
    dims = [draw(ints(2, 4)), draw(ints(1, 3)), *shape(draw, 0, 2)]
    stats = maybe(draw, st.booleans())
    text = message(
        "batch_norm_param",
        use_global_stats=stats,
        eps=maybe(draw, st.sampled_from([1e-3, 1e-2])),
        moving_average_fraction=maybe(draw, st.sampled_from([0.5, 0.9])),
    )
    in_place = draw(st.booleans())
    kind = draw(st.sampled_from(["normal", "positive"]))
    # The stored variance is a parameter like any other here: it must not be negative.
    made = case(draw, f'type: "BatchNorm" {text}', [dims], kinds=[kind], in_place=in_place)
    return dict(made, positive_params=True)


@layer("EuclideanLoss")
def _(draw):
    weight = draw(st.sampled_from(["", "loss_weight: 0.5"]))
    return case(draw, f'type: "EuclideanLoss" {weight}', [shape(draw)] * 2)


@layer("Flatten")
def _(draw):
    dims = shape(draw, 2, 4)
    axis = draw(ints(0, len(dims) - 1))
    end = draw(ints(axis, len(dims) - 1))
    text = message(
        "flatten_param", axis=axis, end_axis=draw(st.sampled_from([end, end - len(dims)]))
    )
    return case(draw, f'type: "Flatten" {text}', [dims])


@layer("LRN")
def _(draw):
    region = draw(st.sampled_from(["ACROSS_CHANNELS", "ACROSS_CHANNELS", "WITHIN_CHANNEL"]))
    dims = [draw(ints(1, 2)), draw(ints(1, 6)), draw(ints(2, 5)), draw(ints(2, 5))]
    text = message(
        "lrn_param",
        norm_region=region,
        local_size=draw(st.sampled_from([1, 3, 5])),
        alpha=draw(st.sampled_from([0.5, 1.0, 2.0])),
        beta=draw(st.sampled_from([0.5, 0.75])),
        k=maybe(draw, st.sampled_from([1.0, 2.0])) if region == "ACROSS_CHANNELS" else None,
    )
    return case(draw, f'type: "LRN" {text}', [dims])


@layer("Power")
def _(draw):
    text = message(
        "power_param",
        power=maybe(draw, st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0])),
        scale=maybe(draw, st.sampled_from([0.0, 0.5, 2.0])),
        shift=maybe(draw, st.sampled_from([0.5, 1.0])),
    )
    # Never in place: BVLC Caffe's own gradient is wrong there (it overwrites its top's diff).
    return case(draw, f'type: "Power" {text}', [shape(draw)], kinds=["positive"])


@layer("Reshape")
def _(draw):
    dims = shape(draw, 1, 4)
    axis = draw(ints(0, len(dims)))
    covered = draw(ints(0, len(dims) - axis))
    inside = dims[axis : axis + covered]
    # The same axes in another order, one of them perhaps 0 (copied) or -1 (inferred).
    new = draw(st.permutations(inside))
    new = [
        0 if size == old and draw(st.booleans()) else size
        for size, old in zip(new, inside, strict=True)
    ]
    if new and draw(st.booleans()):
        new[draw(ints(0, len(new) - 1))] = -1
    sizes = " ".join(f"dim: {n}" for n in new)
    text = f"reshape_param {{ shape {{ {sizes} }} axis: {axis} num_axes: {covered} }}"
    return case(draw, f'type: "Reshape" {text}', [dims])


def elementwise(name):
    def draw_case(draw):
        return case(draw, f'type: "{name}"', [shape(draw)], in_place=draw(st.booleans()))

    layer(name)(draw_case)


for _name in ("Sigmoid", "TanH"):
    elementwise(_name)
