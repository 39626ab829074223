"""The spatial map between two blobs of a net, and the crop that lays one on the other.

Along its spatial axes a layer takes a point x of its bottom to a*x + b of its top: a convolution
or pooling of effective kernel K, stride s and pad p has a = 1/s, b = (p - (K-1)/2) / s, centre to
centre; a deconvolution is its inverse; a crop subtracts its offset. Maps compose along the net,
so two blobs that come from a common one are related, whatever the image's size.

A map is ``(axis, a, b)``: the first spatial axis (None: the layer has no axes of its own), and
the scale and shift, each a number or an array with one entry per spatial axis.
"""

from __future__ import annotations

import numpy as np

from caffe.net_spec import layers as L

# Layers whose top lies on their bottom, point by point.
PASS_THROUGH_LAYERS = [
    *["AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Exp", "Log", "LRN"],
    *["MVN", "Power", "PReLU", "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold"],
    *["Clip", "Swish"],
]


class UndefinedMapException(Exception):
    """The layer's type has no coordinate map."""


class AxisMismatchException(Exception):
    """Two maps in a row start at different axes."""


def _values(params: dict, name: str, default) -> np.ndarray:
    """A spatial setting for each axis, given once for all, per axis, or as ``_h`` and ``_w``."""
    value = params.get(name, default)
    stem = "kernel" if name == "kernel_size" else name
    if f"{stem}_h" in params or f"{stem}_w" in params:
        value = [params.get(f"{stem}_{side}", default) for side in "hw"]
    if value is None:
        raise ValueError("the layer has no kernel_size")
    return np.array(value, ndmin=1)


def conv_params(fn):
    """(axis, stride, effective kernel, pad) of a convolution, deconvolution or pooling."""
    params = fn.params.get("convolution_param", fn.params)
    params = params.get("pooling_param", params)
    kernel = _values(params, "kernel_size", None)
    dilation = _values(params, "dilation", 1)
    stride = _values(params, "stride", 1)
    pad = _values(params, "pad", 0)
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn):
    """(axis, offsets) of a Crop layer."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn):
    """The map from a layer's (first) bottom to its top."""
    kind = fn.type_name
    if kind in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if kind in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if kind == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if kind == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # Crop counts from its first spatial axis, the others before
    raise UndefinedMapException(f"layer type {kind} has no coordinate map")


def compose(base_map, next_map):
    """The map that applies ``next_map`` first and ``base_map`` to its result."""
    base_axis, base_a, base_b = base_map
    next_axis, next_a, next_b = next_map
    if base_axis is not None and next_axis is not None and base_axis != next_axis:
        raise AxisMismatchException(f"maps start at axes {base_axis} and {next_axis}")
    axis = next_axis if base_axis is None else base_axis
    return axis, base_a * next_a, base_a * next_b + base_b


def inverse(coord_map):
    """The map in the other direction."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def _mapped_bottoms(top):
    """Bottoms on which the top's coordinates depend; a Crop's second gives only a size."""
    return top.fn.inputs[:1] if top.fn.type_name == "Crop" else top.fn.inputs


def _walk(top):
    """(ancestor, map from the ancestor to ``top``), ``top`` itself first, the nearest before."""
    maps = {top: (None, 1, 0)}
    front = [top]
    while front:
        current = front.pop(0)
        yield current, maps[current]
        try:
            here = coord_map(current.fn)
        except UndefinedMapException:
            continue
        for bottom in _mapped_bottoms(current):
            if bottom not in maps:
                maps[bottom] = compose(maps[current], here)
                front.append(bottom)


def coord_map_from_to(top_from, top_to):
    """The map from coordinates of ``top_from`` to those of ``top_to``, by a common ancestor.

    Raises RuntimeError if layers with coordinate maps do not connect them.
    """
    from_maps = dict(_walk(top_from))
    for ancestor, to_map in _walk(top_to):
        if ancestor in from_maps:
            return compose(to_map, inverse(from_maps[ancestor]))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def crop(top_from, top_to):
    """Crop layer that cuts ``top_from`` to where ``top_to`` lies in it, offset included."""
    axis, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    assert (a == 1).all(), f"scale mismatch on crop (a = {a})"
    assert (b <= 0).all(), f"cannot crop negative offset (b = {b})"
    assert (np.round(b) == b).all(), f"cannot crop noninteger offset (b = {b})"
    offset = [int(value) for value in -np.round(b)]
    # Without a spatial layer between them the blobs have no axis of their own: take images'.
    first = 2 if axis is None else axis + 1
    return L.Crop(top_from, top_to, crop_param=dict(axis=first, offset=offset))
