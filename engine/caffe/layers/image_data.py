"""ImageData: pictures and labels that a text file lists."""

from __future__ import annotations

import os
import re

import numpy as np

from ..compute import rng
from ..errors import InputError
from ..proto import not_utf8
from ..proto.kinds import check_text
from ..proto.opening import LARGEST_LIST, read_regular
from ..reading import images
from ..reading.data_transformer import Transformer
from . import register
from ._data import (
    ITEM,
    Order,
    Prefetching,
    draw_skip,
    failing,
    randomness,
    require_positive_batch,
    same_sizes,
    stack,
    turn,
    warn_of,
    warn_of_old_transform,
)

_NUMBER = re.compile(rb"[ \t-\r]*([+-]?[0-9]+)")


def _label(text: bytes) -> int:
    """The int that `text` begins with, 0 where it begins with none; beyond 32 bits as C's atoi and
    a conversion to int make it."""
    found = _NUMBER.match(text)
    digits = found[1].lstrip(b"+-").lstrip(b"0")[:20] if found else b""  # enough to be too large
    value = min(int(digits or b"0"), 2**63 - 1)
    value = max(-(2**63), -int(digits or b"0")) if found and found[1][:1] == b"-" else value
    return (value + 2**31) % 2**32 - 2**31


def read_list(path, fail, warn) -> list[tuple[str, int]]:
    """(name, label) of each line `name label`, parted at the last blank: a name may have blanks.
    A line without a blank is a name, and its label the number that it begins with, else 0; so is
    that of a label that is no number.

    `fail` makes the InputError of a message, which names the file and the line; `warn` is given
    what is said of labels that are no whole numbers."""
    try:
        check_text(path, "a list of pictures")
        lines = read_regular(path, LARGEST_LIST).split(b"\n")
    except InputError as error:
        raise fail(f"source: {error}") from None
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise fail(f"source: {path}: the file is empty")
    found, odd = [], []
    for number, line in enumerate(lines, 1):
        name, blank, label = line.rstrip(b"\r").rpartition(b" ")
        if not blank:
            name = label
        if not name:
            what = f"{os.fsdecode(line[:60])!r} names no picture" if line else "the line is empty"
            raise fail(f"{path}:{number}: {what}; a line is 'name label', the label an int")
        found.append((os.fsdecode(name), _label(label)))
        if found[-1][1] != _whole(label):
            odd.append((number, found[-1]))
    if odd:
        number, (named, read) = odd[0]
        warn(
            f"{path}: {len(odd)} of {len(lines)} lines end in no label that is an int; as in Caffe "
            f"it is the number it begins with, else 0: {named!r} in line {number} has label {read}"
        )
    return found


def _whole(text: bytes) -> int | None:
    """The int that `text` is, or None."""
    try:
        return int(text)
    except ValueError:
        return None


class _Pictures:
    """The source of ImageData; see `_data`."""

    def __init__(self, layer):
        param = layer.layer_param.image_data_param
        self.fail = failing(layer)
        self.size = (param.new_height, param.new_width)
        if (self.size[0] > 0) != (self.size[1] > 0):
            raise self.fail("new_height and new_width have to be given together")
        if not param.source:
            raise self.fail("image_data_param.source is not given: the file with the list")
        self.batch = require_positive_batch(layer, param.batch_size)
        self.source = not_utf8.path(param.source)
        self.root, self.channels = not_utf8.path(param.root_folder), images.COLOR
        if not param.is_color:
            self.channels = images.GRAY
        self.lines = read_list(self.source, self.fail, layer.warn)
        self.contents = self.lines
        skip = draw_skip(param.rand_skip)
        if skip >= len(self.lines):
            raise self.fail(f"rand_skip {param.rand_skip} for a list of {len(self.lines)} pictures")
        self.shuffle = param.shuffle
        self.solvers, self.rank = turn(layer)
        self.transform = Transformer(layer.layer_param.transform_param, layer.phase, self.fail)
        self.start = {"items": 0, "skip": skip}
        if self.transform.is_random or self.shuffle:
            self.start["seed"] = rng.draw_seed()
        order = Order(len(self.lines), skip, self.shuffle)
        place = order(0, self.start.get("seed", 0))
        shape = self.transform.shape(self.picture(place).shape, self.name(place))
        self.shapes = [(self.batch, *shape), (self.batch,)]

    def name(self, place: int) -> str:
        return self.root + self.lines[place][0]

    def picture(self, place: int) -> np.ndarray:
        """The picture of a line, (channels, height, width), at its new size."""
        try:
            picture = images.read(self.name(place), self.channels)
        except InputError as error:
            where = f"{self.source}:{place + 1}"
            parted = re.search(r"\s", self.lines[place][0])
            hint = "; a line is 'name label', one blank between them, none after" if parted else ""
            raise self.fail(f"{where}: {error}{hint}") from None
        if self.size[0]:
            picture = images.resize(picture, *self.size)
        return picture.transpose(2, 0, 1)

    def batches(self, state: dict):
        number, seed = state["items"] + self.rank, state.get("seed", 0)
        fixed = {name: value for name, value in state.items() if name != "items"}
        order = Order(len(self.lines), state["skip"], self.shuffle)
        while True:
            data, labels = None, stack((), self.batch)
            for i in range(self.batch):
                place = order(number, seed)
                picture = self.picture(place)
                made = self.transform.shape(picture.shape, self.name(place))
                if data is None:
                    data, first = stack(made, self.batch), made
                labels[i] = self.lines[place][1]
                same_sizes(self.fail, first, made, self.name(place))
                random = randomness(seed, ITEM, number) if self.transform.is_random else None
                self.transform(picture, data[i], random)
                number += self.solvers
            yield (data, labels), {"items": number - self.rank, **fixed}


@register("ImageData")
class ImageData(Prefetching):
    def open_source(self, top):
        param = self.layer_param.image_data_param
        warn_of_old_transform(self, param)
        remedy = ": it is for encoded Datums; write is_color in image_data_param"
        warn_of(self, self.layer_param.transform_param, ("force_color", "force_gray"), remedy)
        pixels = param.new_height * param.new_width
        self.check_memory(param.batch_size * pixels * (3 if param.is_color else 1) * 4)
        return _Pictures(self)
