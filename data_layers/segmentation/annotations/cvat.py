"""CVAT's XML ("CVAT for images 1.1"): <image name width height> with <polygon>, <box>, <ellipse>
and <mask> elements, drawn in the order of their z_order.

Polylines, points, skeletons and tags have no area and are left out.
"""

from __future__ import annotations

import operator
from xml.parsers import expat

import numpy as np

from segmentation.annotations.drawing import MOST_POINTS, Picture, Shape, corners, runs
from segmentation.annotations.reading import id_of, number, read_whole, text, whole
from segmentation.params import DataError
from segmentation.pictures import MAX_PIXELS

DEEPEST = 32
SHAPES = ("polygon", "box", "ellipse", "mask")
MOST_ELEMENTS = 8_000_000
LONGEST = 32 << 20
"""Bytes of an element with its attributes."""


def read(path) -> dict[str, Picture]:
    """{id: Picture} of a file, in its order of images; ids are file names without endings. Raises
    DataError."""
    parser = expat.ParserCreate()
    reader = _Reader(path, parser)
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        data = read_whole(path)
        _check_elements(path, data)
        parser.Parse(data, True)  # at once: in parts, expat begins a long element again and again
    except expat.ExpatError as error:
        raise DataError(f"{path}: not XML: {error}") from None
    if not reader.pictures and not reader.is_cvat:
        raise DataError(f"{path}: no CVAT file: its root is no <annotations>")
    return {
        name: Picture(size, [shape for _, shape in sorted(shapes, key=operator.itemgetter(0))])
        for name, (size, shapes) in reader.pictures.items()
    }


def _check_elements(path, data):
    """Raise DataError for more elements, or longer ones, than annotations have."""
    if data.count(b"<") > 2 * MOST_ELEMENTS:
        raise DataError(f"{path}: more than {MOST_ELEMENTS} elements")
    places = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("<"))
    if np.diff(places, append=len(data)).max(initial=0) > LONGEST:
        raise DataError(f"{path}: an element of more than {LONGEST} bytes")


class _Reader:
    def __init__(self, path, parser):
        self.path, self.parser = path, parser
        self.pictures = {}  # id: (size, [(z_order, Shape)])
        self.image, self.is_cvat = None, False
        self.inside, self.elements = [], 0

    def fail(self, problem):
        raise DataError(f"{self.path}: line {self.parser.CurrentLineNumber}: {problem}")

    def doctype(self, *_):
        self.fail("a document type, which CVAT does not write; XML with entities is not read")

    def start(self, tag, attributes):
        self.inside.append(tag)
        self.elements += 1
        if len(self.inside) > DEEPEST:
            self.fail(f"elements nested more than {DEEPEST} deep")
        if self.elements > MOST_ELEMENTS:
            self.fail(f"more than {MOST_ELEMENTS} elements")
        self.is_cvat = self.is_cvat or self.inside == ["annotations"]
        if self.inside == ["annotations", "track"]:
            self.fail('a CVAT video (<track>); export the task as "CVAT for images 1.1"')
        try:
            if self.inside == ["annotations", "image"]:
                self._image(attributes)
            elif self.image and len(self.inside) == 3 and tag in SHAPES:
                order = int(attributes.get("z_order", 0))
                self.image[1].append((order, shape(tag, attributes)))
        except KeyError as error:
            self.fail(f"<{tag}> lacks {error}")
        except (ValueError, TypeError, OverflowError) as error:
            self.fail(f"<{tag}>: {error}")

    def end(self, tag):
        self.inside.pop()
        if tag == "image":
            self.image = None

    def _image(self, attributes):
        name = id_of(text(attributes["name"]))
        if name in self.pictures:
            raise ValueError(f"{name[:80]!r} is there twice")
        size = tuple(whole(int(attributes[side]), 1) for side in ("height", "width"))
        self.image = self.pictures[name] = size, []


def shape(tag, attributes):
    """The Shape of an element. Raises KeyError, ValueError."""
    label = text(attributes["label"])
    if tag == "polygon":
        pairs = attributes["points"].split(";")
        if len(pairs) > MOST_POINTS:
            raise ValueError(f"an outline of more than {MOST_POINTS} points")
        points = [[number(v) for v in pair.split(",")] for pair in pairs]
        return Shape(label, "polygon", corners(points))
    angle = number(attributes.get("rotation", 0))
    if tag == "box":
        x1, y1, x2, y2 = (number(attributes[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Shape(label, "box", (corners([[x1, y1], [x2, y2]]), angle))
    if tag == "ellipse":
        x, y, across, down = (number(attributes[key]) for key in ("cx", "cy", "rx", "ry"))
        return Shape(label, "ellipse", ((x, y), (across, down), angle))
    return Shape(label, "mask", _mask(attributes))


def _mask(attributes):
    """(array, (top, left)) of run lengths that go along the rows of the mask's own box."""
    top, left = (int(attributes[key]) for key in ("top", "left"))
    height, width = (whole(int(attributes[key]), 1) for key in ("height", "width"))
    if height * width > MAX_PIXELS or max(abs(top), abs(left)) > MAX_PIXELS:
        raise ValueError(f"a mask of {width}x{height} pixels is larger than pictures are")
    lengths = np.array([int(v) for v in attributes["rle"].split(",") if v.strip()], np.int64)
    return _Runs(lengths, height, width), (top, left)


class _Runs:
    """A mask as its run lengths, made an array when it is drawn: a file has many."""

    def __init__(self, lengths, height, width):
        self.lengths, self.shape = lengths, (height, width)

    def __array__(self, dtype=None, copy=None):
        return runs(self.lengths, self.shape[0] * self.shape[1]).reshape(self.shape)
