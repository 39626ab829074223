"""Shapes → a label map.

A pixel belongs to a shape if its middle lies inside: pixel (row r, column c) has its middle at
x = c + 0.5, y = r + 0.5, as 0, 0 is the picture's upper left corner. Where outlines cross, what
they go around twice is outside (the even-odd rule). Parts beyond the picture are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from segmentation.labels import VOID
from segmentation.params import DataError
from segmentation.pictures import MAX_PIXELS

MOST_SHAPES = 100_000
MOST_POINTS = 2_000_000
"""Of one picture."""
MOST_WORK = 4_000_000_000
"""Pixels of all shapes' boxes, in one picture."""
MOST_CROSSINGS = 50_000_000
"""Rows that an outline's edges cross."""
FAR = 1e6
"""Coordinates beyond it are no pixels."""


class Shape(NamedTuple):
    """One thing that is drawn.

    name   its label, as in the file
    kind   polygon, box, circle, ellipse, mask, coco
    data   what `drawn` of the kind takes
    crowd  whether it stands for many things (COCO's iscrowd)
    """

    name: str
    kind: str
    data: object
    crowd: bool = False


class Picture(NamedTuple):
    """What a file of annotations says of one photograph.

    size    (height, width), or None where the file does not say
    shapes  [Shape], the first one lowest
    """

    size: tuple[int, int] | None
    shapes: list[Shape]


class Manner(NamedTuple):
    """How shapes become class numbers.

    names       {label in the file: class number, or VOID}
    other       number of labels that `names` lacks; None: they are an error
    unlabelled  number of pixels in no shape
    crowd       number of crowds; None: their own class's
    overlap     which shape has a pixel of several: "later" in the file, "smaller" in area, or
                none: "void"
    """

    names: dict[str, int]
    other: int | None
    unlabelled: int
    crowd: int | None
    overlap: str


OVERLAPS = ("later", "smaller", "void")


def label_map(where, picture, size, manner):
    """H x W uint8 class numbers of a Picture, of its size, or of size() where it has none.

    where: begins messages, the file and the entry. Raises DataError.
    """
    size = size() if picture.size is None else picture.size
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"{where}: {size[1]}x{size[0]} pixels are more than {MAX_PIXELS}")
    if len(picture.shapes) > MOST_SHAPES:
        raise DataError(f"{where}: {len(picture.shapes)} shapes are more than {MOST_SHAPES}")
    numbers = [_number(where, shape, manner) for shape in picture.shapes]
    label = np.full(size, manner.unlabelled, np.uint8)
    taken = np.zeros(size, bool) if manner.overlap == "void" else None
    for index, part in _ordered(where, picture.shapes, size, manner):
        mask, (top, left) = part
        there = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
        number = numbers[index]
        if taken is None:
            label[there][mask] = number
        else:
            twice = mask & taken[there] & (label[there] != number)
            label[there][mask] = number
            label[there][twice] = VOID
            taken[there] |= mask
    return label


def _number(where, shape, manner):
    found = manner.names.get(shape.name, manner.other)
    if found is None:
        few = ", ".join(sorted(manner.names)[:8])
        raise DataError(
            f"{where}: the label {shape.name[:60]!r} is none of the classes ({few}"
            f"{', …' * (len(manner.names) > 8)}); add it to `classes` or to `names`, or give "
            'other = "void"'
        )
    return manner.crowd if shape.crowd and manner.crowd is not None else found


def _ordered(where, shapes, size, manner):
    """(index, (mask, (top, left))) of the shapes, the lowest first: crowds below all others."""
    order = sorted(range(len(shapes)), key=lambda i: not shapes[i].crowd)
    if manner.overlap == "smaller":
        areas = [0] * len(shapes)
        for index, (mask, _) in _drawn(where, shapes, order, size):
            areas[index] = int(mask.sum())
        order.sort(key=lambda i: (not shapes[i].crowd, -areas[i]))
    return _drawn(where, shapes, order, size)


def _drawn(where, shapes, order, size):
    work = points = 0
    for index in order:
        shape = shapes[index]
        try:
            points += _points(shape)
            if points > MOST_POINTS:
                raise ValueError(f"outlines of more than {MOST_POINTS} points")
            part = KINDS[shape.kind](shape.data, size)
        except (ValueError, TypeError, OverflowError) as error:
            exit_code = getattr(error, "exit_code", None)
            if exit_code is not None:
                raise
            number = f"{where}: shape {index + 1} ({shape.name[:60]!r}, {shape.kind})"
            raise DataError(f"{number}: {error}") from None
        work += part[0].size
        if work > MOST_WORK:
            raise DataError(f"{where}: its shapes cover too many pixels, more than {MOST_WORK}")
        yield index, part


def _points(shape):
    return len(shape.data) if shape.kind == "polygon" and hasattr(shape.data, "__len__") else 1


NOTHING = np.zeros((0, 0), bool), (0, 0)


def corners(points):
    """n x 2 float64 of pairs x, y. Raises ValueError where they are not finite, or far away."""
    array = points if isinstance(points, np.ndarray) else _array(points)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError("expected points, each of x and y")
    if not np.isfinite(array).all():
        raise ValueError("a coordinate is not a finite number")
    if array.size and np.abs(array).max() > FAR:
        raise ValueError(f"a coordinate is beyond {FAR:.0f}")
    return array


def _array(points):
    if not isinstance(points, (list, tuple)) or len(points) > MOST_POINTS:
        raise ValueError(f"expected a list of at most {MOST_POINTS} points")
    for point in points:
        good = isinstance(point, (list, tuple)) and len(point) == 2
        if not good or not all(type(v) in (int, float) for v in point):
            raise ValueError(f"expected points, each of x and y, not {str(point)[:40]}")
    return np.array(points, np.float64).reshape(-1, 2)


def polygon(points, size):
    """(mask, (top, left)) of a closed outline through `points`, at least three."""
    points = corners(points)
    if len(points) < 3:
        raise ValueError(f"an outline needs 3 points, and has {len(points)}")
    height, width = size
    low, high = points.min(axis=0), points.max(axis=0)
    left, top = (int(min(max(math.floor(v), 0), side)) for v, side in zip(low, (width, height)))
    right, bottom = (int(min(max(math.ceil(v), 0), side)) for v, side in zip(high, (width, height)))
    if right <= left or bottom <= top:
        return NOTHING
    ends = np.roll(points, -1, axis=0)
    upper = np.minimum(points[:, 1], ends[:, 1])
    lower = np.maximum(points[:, 1], ends[:, 1])
    # An edge crosses the middles of the rows from `first` to before `last`.
    first = np.clip(np.ceil(upper - 0.5), top, bottom).astype(np.int64)
    last = np.clip(np.ceil(lower - 0.5), top, bottom).astype(np.int64)
    counts = last - first
    if int(counts.sum()) > MOST_CROSSINGS:
        raise ValueError("the outline is too long")
    edge = np.repeat(np.arange(len(points)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    a, b = points[edge], ends[edge]
    x = a[:, 0] + (row + 0.5 - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)
    turns = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.bitwise_xor.at(turns, (row - top, column - left), 1)
    inside = np.bitwise_xor.accumulate(turns, axis=1)[:, :-1].astype(bool)
    return inside, (top, left)


def box(data, size):
    """Of ((x, y), (x, y)), two opposite corners, and an angle: turned by so many degrees, clockwise
    about its middle."""
    points, angle = data
    points = corners(points)
    if len(points) != 2:
        raise ValueError(f"a box needs 2 corners, and has {len(points)}")
    (x1, y1), (x2, y2) = points
    return polygon(_turned(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]), angle), size)


def _turned(points, angle):
    if not math.isfinite(angle):
        raise ValueError("the angle is not a finite number")
    if not angle:
        return points
    middle, turn = points.mean(axis=0), math.radians(angle)
    x, y = (points - middle).T
    cosine, sine = math.cos(turn), math.sin(turn)
    return np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1) + middle


def circle(points, size):
    """Of its middle and a point on its edge."""
    points = corners(points)
    if len(points) != 2:
        raise ValueError(f"a circle needs its middle and a point on it, and has {len(points)}")
    radius = math.hypot(*(points[1] - points[0]))
    return ellipse((points[0], (radius, radius), 0.0), size)


def ellipse(data, size):
    """Of its middle, its half axes across and down, and the degrees that it is turned clockwise."""
    middle, axes, angle = data
    (x, y), (across, down) = corners(np.array([middle, axes], np.float64))
    if across < 0 or down < 0 or not math.isfinite(angle):
        raise ValueError("an ellipse needs half axes of 0 or more, and a finite angle")
    reach = max(across, down)
    height, width = size
    left, right = (int(min(max(v, 0), width)) for v in (math.floor(x - reach), x + reach + 1))
    top, bottom = (int(min(max(v, 0), height)) for v in (math.floor(y - reach), y + reach + 1))
    if right <= left or bottom <= top or not across or not down:
        return NOTHING
    turn = math.radians(angle)
    h = np.arange(left, right) + 0.5 - x
    v = (np.arange(top, bottom) + 0.5 - y)[:, None]
    u = (h * math.cos(turn) + v * math.sin(turn)) / across
    w = (v * math.cos(turn) - h * math.sin(turn)) / down
    return u * u + w * w <= 1, (top, left)


def mask(data, size):
    """Of what NumPy makes an array of H x W truths, whose `shape` is known before, and the place
    (top, left) of its first pixel."""
    array, (top, left) = data
    height, width = size
    if array.shape[0] > height or array.shape[1] > width:
        raise ValueError(f"a mask of {array.shape[1]}x{array.shape[0]} pixels in a smaller picture")
    array = np.asarray(array)
    up, before = max(0, -top), max(0, -left)
    top, left = max(0, top), max(0, left)
    part = array[up : up + max(0, height - top), before : before + max(0, width - left)]
    return np.asarray(part, bool), (top, left)


def runs(counts, area):
    """`area` truths of the lengths of runs, false and true in turn, the first of false.

    Raises ValueError where they are not of that many pixels.
    """
    lengths = np.asarray(counts)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
        raise ValueError("run lengths must be whole numbers")
    if lengths.size and (lengths.min() < 0 or lengths.max() > area):
        raise ValueError(f"a run of {lengths.min() if lengths.min() < 0 else lengths.max()} pixels")
    if int(lengths.sum()) != area:
        raise ValueError(f"its runs are of {int(lengths.sum())} pixels, and it has {area}")
    truths = np.arange(lengths.size) % 2 == 1
    return np.repeat(truths, lengths)


KINDS = {"polygon": polygon, "box": box, "circle": circle, "ellipse": ellipse, "mask": mask}
