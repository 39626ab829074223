"""What a blob's points see of the image: its links to other blobs, followed back to the input."""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from tools.arithmetic import geometry, shapes

Link = namedtuple("Link", "windows up offsets", defaults=((), False, ()))
Link.__doc__ = """How a top's points follow from a bottom's, per spatial axis: a convolution or
pooling (`up`: a deconvolution) by `windows`, a crop by `offsets`, else point by point."""

Blob = namedtuple("Blob", "shape links grids ups")
Blob.__doc__ = """A blob of a net.

shape  tuple of ints
links  (bottom's name, Link, or None where every point sees all of the bottom) of all bottoms
grids  geometry.Grid per spatial axis, or None if the blob's points have no place in the image
ups    per spatial axis, after how many points what they see repeats
"""

_BY_POINT = (*shapes.POINTWISE, "BatchNorm", "Bias", "Concat", "PReLU", "Scale", "Slice", "ArgMax")


def links(layer, bottoms, top):
    """(bottom's name, Link or None) for top number `top` of a layer with bottoms of these shapes.

    A Crop's second bottom gives no more than a size, and has no link.
    """
    names, first = list(layer.bottom), bottoms[0] if bottoms else ()
    if layer.type in ("Convolution", "Deconvolution"):
        up = layer.type == "Deconvolution"
        return [(names[top], Link(shapes.windows(layer, bottoms[top]), up))]
    if layer.type == "Pooling":
        whole = layer.pooling_param.global_pooling
        return [(names[0], None if whole else Link(shapes.windows(layer, first)))]
    if layer.type == "Crop":
        return [(names[0], Link(offsets=shapes.crop_offsets(layer, first)[2:]))]
    if layer.type == "LRN" and layer.lrn_param.norm_region == layer.lrn_param.WITHIN_CHANNEL:
        side = layer.lrn_param.local_size
        return [(names[0], Link([shapes.Window(side, 1, side // 2, 1)] * len(first[2:])))]
    local = layer.type in _BY_POINT and shapes.mixed_axis(layer, first) < 2
    same = [local and shape[2:] == first[2:] for shape in bottoms]
    return [(name, Link() if point else None) for name, point in zip(names, same)]


def add(blobs, name, shape, found):
    """Put the blob `name` of `shape` with the links `found` into the dict of Blobs `blobs`.

    Where several bottoms are joined, its places are the first one's.
    """
    axes = max(len(shape) - 2, 0)
    grids, ups = (None if found else [geometry.INPUT] * axes), [1] * axes
    for number, (bottom, link) in enumerate(found):
        below = blobs[bottom]
        if link is None or below.grids is None or not axes:
            continue
        if number == 0:
            grids = [_grid(grid, link, axis) for axis, grid in enumerate(below.grids)]
        for axis in range(axes):
            up = link.windows[axis].stride if link.up else 1
            ups[axis] = math.lcm(ups[axis], below.ups[axis] * up)
    blobs[name] = Blob(shape, found, grids or None, ups)


def _grid(grid, link, axis):
    if link.windows:
        move = geometry.deconv_grid if link.up else geometry.conv_grid
        return move(grid, *link.windows[axis])
    return geometry.crop_grid(grid, link.offsets[axis]) if link.offsets else grid


def field(blobs, name):
    """The receptive field of the blob `name` per spatial axis, in input pixels; None if a point
    sees all of the image.

    Neighbouring points may see more or less after a deconvolution: the widest span counts.
    """
    found = []
    for axis, up in enumerate(blobs[name].ups):
        spans = span(blobs, name, axis, geometry.phases(up) if up > 1 else 0.0)
        if spans is None:
            return None
        found.append(geometry.widest(*spans))
    return found or None


def span(blobs, name, axis, points):
    """The first and last input pixel along `axis` that `points` of the blob `name` see; None if
    they see all.

    `points` is a number or a float64 array, and so are the two results. They are followed back to
    the inputs along every path, and the hull is taken; images and maps have no borders here.
    `blobs` has bottoms before tops.
    """
    seen, inputs, order = {name: (points, points)}, [], list(blobs)
    for blob in reversed(order[: order.index(name) + 1]):
        if blob not in seen:
            continue
        if not blobs[blob].links:
            inputs.append(seen[blob])
        for bottom, link in blobs[blob].links:
            if link is None:
                return None
            reached = _reach(seen[blob], link, axis)
            seen[bottom] = _hull([seen[bottom], reached]) if bottom in seen else reached
    return _hull(inputs)


def _reach(span, link, axis):
    if link.windows:
        move = geometry.deconv_reach if link.up else geometry.conv_reach
        return move(*span, *link.windows[axis])
    offset = link.offsets[axis] if link.offsets else 0
    return span[0] + offset, span[1] + offset


def _hull(spans):
    lows, highs = zip(*spans)
    return np.minimum.reduce(lows), np.maximum.reduce(highs)


def misaligned(blobs, layer):
    """What an Eltwise, Concat or Crop lays together that does not lie together, in words, or None.

    A wrong crop offset shows here: the maps' points then have other places in the image.
    """
    if layer.type not in ("Eltwise", "Concat", "Crop"):
        return None
    # A Crop's top must lie on its second bottom.
    names = [layer.top[0], layer.bottom[1]] if layer.type == "Crop" else list(layer.bottom)
    grids = {name: blobs[name].grids for name in names if blobs[name].grids}
    first = next(iter(grids.values()), None)
    if all(grid == first for grid in grids.values()):
        return None
    places = ", ".join(
        f"{name!r} stride {per_axis(g.stride for g in grid)} start "
        f"{per_axis((g.start for g in grid), decimal)}"
        for name, grid in grids.items()
    )
    return f"layer {layer.name!r} ({layer.type}) joins maps that lie beside each other: {places}"


def per_axis(values, form=str):
    """One text for values that agree, else `3 x 5`."""
    made = [form(value) for value in values]
    return made[0] if len(set(made)) == 1 else " x ".join(made)


def decimal(number):
    """A Fraction as 16 or -1.5."""
    return f"{float(number):g}"
