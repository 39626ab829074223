"""labelme's JSON, a file for each photograph: `shapes`, each with `label`, `shape_type`, `points`.

Polygons, rectangles, circles (middle, point on the edge) and masks (a PNG in base64, placed by its
corners) have an area and are drawn in the file's order. Points, lines and line strips have none
and are left out.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from segmentation.annotations.drawing import Picture, Shape, corners
from segmentation.annotations.reading import LARGEST_OF_ONE, read_json, text, whole
from segmentation.params import DataError

WITHOUT_AREA = ("line", "linestrip", "point", "points")


def read(path) -> Picture:
    """The Picture of a labelme file. Raises DataError."""
    found = read_json(path, LARGEST_OF_ONE)
    shapes = found.get("shapes")
    if not isinstance(shapes, list):
        raise DataError(f"{path}: no labelme file: it has no list `shapes`")
    size = None
    try:
        if found.get("imageHeight") is not None and found.get("imageWidth") is not None:
            size = whole(found["imageHeight"], 1), whole(found["imageWidth"], 1)
    except ValueError as error:
        raise DataError(f"{path}: imageHeight, imageWidth: {error}") from None
    made = []
    for index, shape in enumerate(shapes, 1):
        try:
            one = _shape(shape)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            told = f"lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{path}: shape {index}: {told}") from None
        if one is not None:
            made.append(one)
    return Picture(size, made)


def _shape(shape):
    if not isinstance(shape, dict):
        raise ValueError(f"expected an object, not {str(shape)[:40]}")
    label, kind = text(shape["label"]), shape.get("shape_type") or "polygon"
    if kind in WITHOUT_AREA:
        return None
    points = corners(shape["points"])
    if kind == "polygon":
        return Shape(label, "polygon", points)
    if kind == "rectangle":
        return Shape(label, "box", (points, 0.0))
    if kind == "circle":
        return Shape(label, "circle", points)
    if kind == "mask":
        return Shape(label, "mask", _mask(shape["mask"], points))
    raise ValueError(f"unknown shape_type {str(kind)[:40]!r}")


def _mask(given, points):
    """(array, (top, left)): the PNG lies from the first corner to the second, both within."""
    if len(points) != 2:
        raise ValueError(f"a mask needs 2 corners, and has {len(points)}")
    (left, top), (right, bottom) = (np.rint(points)).astype(int).tolist()
    wanted = right - left + 1, bottom - top + 1
    made = _Png(text(given))
    height, width = made.shape
    if (width, height) != wanted:
        raise ValueError(
            f"its mask has {width}x{height} pixels, and its corners {wanted[0]}x{wanted[1]}"
        )
    return made, (top, left)


class _Png:
    """A mask as its PNG in base64, made an array when it is drawn: a file may have many."""

    def __init__(self, given):
        self.given = given
        width, height = self._opened(lambda image: image.size)
        self.shape = height, width

    def __array__(self, dtype=None, copy=None):
        return self._opened(lambda image: np.asarray(image.convert("L")) > 0)

    def _opened(self, use):
        try:
            data = base64.b64decode(self.given, validate=True)
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                return use(image)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly every kind
            raise ValueError(f"its mask is no PNG in base64 ({error})") from None
