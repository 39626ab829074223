"""COCO's JSON: `images`, `categories`, and `annotations` with a `segmentation` each.

That is a list of outlines [x, y, x, y, …], or run lengths {"size", "counts"}, compressed (a text)
or not (a list).

The masks are those of COCO's own tools: outlines are drawn by the package pycocotools. Runs go down
the columns.
"""

from __future__ import annotations

import math

import numpy as np

from segmentation.annotations.drawing import (
    FAR,
    KINDS,
    MOST_POINTS,
    NOTHING,
    Picture,
    Shape,
    mask,
    runs,
)
from segmentation.annotations.reading import id_of, read_json, text, whole
from segmentation.params import DataError

MOST_DIGITS = 7
"""Characters of one run length in a compressed text: 5 bits each."""
FINE = 5
"""pycocotools draws outlines so many times finer; its memory grows with their length."""
MOST_LENGTH = 4_000_000


def read(path) -> dict[str, Picture]:
    """{id: Picture} of a file, in its order of images; ids are file names without endings. Raises
    DataError."""
    found = read_json(path)
    parts = []
    for key in ("images", "categories", "annotations"):
        if not isinstance(found.get(key), list):
            raise DataError(f"{path}: no COCO file: it has no list `{key}`")
        parts.append(found[key])
    images, categories, annotations = parts
    names: dict[object, str] = {}
    for number, name in _each(path, "categories", categories, _category):
        if names.setdefault(number, name) != name:
            raise DataError(f"{path}: categories: id {number} is there twice")
    pictures: dict[str, Picture] = {}
    by_number: dict[int, Picture] = {}
    for number, name, size in _each(path, "images", images, _image):
        if name in pictures:
            raise DataError(f"{path}: images: {name[:80]!r} is there twice")
        if number in by_number:
            raise DataError(f"{path}: images: id {number} is there twice")
        by_number[number] = pictures[name] = Picture(size, [])
    for number, category, segmentation, crowd in _each(
        path, "annotations", annotations, _annotation
    ):
        if category not in names:
            raise DataError(f"{path}: annotations: category_id {category!r} is no category")
        if number not in by_number:
            raise DataError(f"{path}: annotations: image_id {number!r} is no image")
        by_number[number].shapes.append(Shape(names[category], "coco", segmentation, crowd))
    return pictures


def _each(path, key, entries, take):
    for index, entry in enumerate(entries):
        try:
            yield take(entry)
        except KeyError as error:
            raise DataError(f"{path}: {key}[{index}] lacks {error}") from None
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(f"{path}: {key}[{index}]: {error}") from None


def _image(entry):
    size = whole(entry["height"], 1), whole(entry["width"], 1)
    return _key(entry["id"]), id_of(text(entry["file_name"])), size


def _category(entry):
    return _key(entry["id"]), text(entry["name"])


def _annotation(entry):
    segmentation = entry.get("segmentation")
    if not isinstance(segmentation, (list, dict)):
        raise ValueError("has no segmentation, so nothing to draw; boxes alone are no labels")
    crowd = entry.get("iscrowd", 0)
    return _key(entry["image_id"]), _key(entry["category_id"]), segmentation, bool(crowd)


def _key(value):
    if type(value) not in (int, str):
        raise ValueError(f"expected an id, not {str(value)[:40]}")
    return value


def drawn(segmentation, size):
    """(mask, (top, left)) of a segmentation. Raises ValueError, DataError."""
    if isinstance(segmentation, list):
        outlines = [_outline(outline) for outline in segmentation]
        return (_polygons(outlines, size), (0, 0)) if outlines else NOTHING
    whole_size = segmentation.get("size")
    if not isinstance(whole_size, list) or whole_size != list(size):
        raise ValueError(f"its runs are of a picture of {str(whole_size)[:40]}, not {list(size)}")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = lengths(counts, size[0] * size[1])
    elif not isinstance(counts, list) or not all(type(c) is int for c in counts):
        raise ValueError("its counts are neither a text nor whole numbers")
    elif len(counts) > size[0] * size[1] + 1 or any(abs(c) > size[0] * size[1] for c in counts):
        raise ValueError(f"its runs go beyond the picture's {size[0] * size[1]} pixels")
    pixels = runs(counts, size[0] * size[1])
    return mask((pixels.reshape(size[1], size[0]).T, (0, 0)), size)


KINDS["coco"] = drawn


def lengths(counts, area):
    """The run lengths in COCO's compressed text.

    Each is a number in groups of 5 bits, the lowest first, a character (from 48 on) for each; bit
    5 of it says that another follows, and bit 4 of the last one is the sign. From the fourth on,
    it is the difference to the length two before. Raises ValueError.
    """
    found: list[int] = []
    value = digits = 0
    for letter in counts:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or digits >= MOST_DIGITS:
            raise ValueError("its counts are no compressed run lengths")
        value |= (bits & 31) << 5 * digits
        digits += 1
        if bits & 32:
            continue
        value -= (bits & 16) << 5 * (digits - 1) + 1
        found.append(value + found[-2] if len(found) > 2 else value)
        if not 0 <= found[-1] <= area or len(found) > area + 1:
            raise ValueError(f"its runs go beyond the picture's {area} pixels")
        value = digits = 0
    if digits:
        raise ValueError("its counts are cut off")
    return found


def _outline(outline):
    """float64 x, y, x, y, …"""
    if not isinstance(outline, list) or len(outline) < 6 or len(outline) % 2:
        raise ValueError("an outline needs 3 points, each of x and y")
    if len(outline) > 2 * MOST_POINTS:
        raise ValueError(f"an outline of more than {MOST_POINTS} points")
    if not all(type(v) in (int, float) and math.isfinite(v) for v in outline):
        raise ValueError("a coordinate is not a finite number")
    if max(map(abs, outline)) > FAR:
        raise ValueError(f"a coordinate is beyond {FAR:.0f}")
    return np.array(outline, np.float64)


def _polygons(outlines, size):
    try:
        from pycocotools import mask as tool
    except ImportError:
        raise DataError(
            "COCO's outlines are drawn by the package pycocotools, which is not installed; "
            "`pip install pycocotools` (the extra `formats`) installs it"
        ) from None
    length = sum(np.abs(np.diff(o.reshape(-1, 2), axis=0)).sum() for o in outlines)
    if length > MOST_LENGTH:
        raise ValueError(f"its outlines are longer than {MOST_LENGTH} pixels")
    height, width = size
    made = tool.frPyObjects([outline.tolist() for outline in outlines], height, width)
    return tool.decode(tool.merge(made)).astype(bool)
