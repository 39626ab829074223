"""WindowData: windows of pictures, foreground and background, warped to one size (R-CNN's)."""

from __future__ import annotations

import math
import os
import zlib

import numpy as np

from ..compute import rng
from ..errors import InputError
from ..proto import not_utf8
from ..proto.kinds import check_text
from ..proto.opening import LARGEST_LIST, LARGEST_PICTURE, check_regular, open_regular, read_regular
from ..reading import images
from ..reading.data_transformer import Mean
from . import register
from ._data import (
    ITEM,
    Prefetching,
    failing,
    machine_memory,
    randomness,
    require_positive_batch,
    stack,
    turn,
    warn_of,
    warn_of_old_transform,
)

_MOST = 2**31


class _List:
    """A window file: for each picture

        # number / path / channels / height / width / how many windows
        label overlap x1 y1 x2 y2        (one line a window)

    `pictures` are paths; `windows` rows of (picture, x1, y1, x2, y2), int, `labels` and
    `overlaps` beside them."""

    def __init__(self, path: str, root: str, fail):
        self.path, self.fail = path, fail
        try:
            check_text(path, "a list of windows")
            with open_regular(path, LARGEST_LIST) as file:
                self.words = self._words(file)
                self._read(root)
        except InputError as error:
            message = str(error)
            raise (
                error if message.startswith(str(fail(""))) else fail(f"source: {error}")
            ) from None
        except OSError as error:
            raise fail(f"source: cannot read {path}: {error.strerror}") from None

    def _words(self, file):
        self.line = 0
        for line in file:
            self.line += 1
            yield from line.split()

    def broken(self, what: str) -> InputError:
        return self.fail(f"{self.path}:{self.line}: {what}")

    def word(self, what: str) -> str:
        found = next(self.words, None)
        if found is None:
            raise self.broken(f"the file ends where {what} should be: is it truncated?")
        return os.fsdecode(found)

    def number(self, what: str, least: int = -_MOST) -> int:
        found = self.word(what)
        try:
            value = int(found)
        except ValueError:
            value = _MOST
        if not least <= value < _MOST:
            raise self.broken(f"{found[:40]!r} is no {what}")
        return value

    def _read(self, root: str) -> None:
        self.pictures: list[str] = []
        windows, labels, overlaps = [], [], []
        for mark in self.words:
            if mark != b"#":
                raise self.broken(
                    f"{os.fsdecode(mark)[:40]!r} where '#' and a picture should begin"
                )
            if self.number("number of a picture") != len(self.pictures):
                raise self.broken(
                    f"the pictures' numbers must count up: {len(self.pictures)} is next"
                )
            picture = len(self.pictures)
            self.pictures.append(root + self.word("a picture's path"))
            channels = self.number("number of channels")
            if channels != 3:
                raise self.broken(f"{channels} channels: the pictures are read in colour, with 3")
            self.number("height", 1)
            self.number("width", 1)
            for _ in range(self.number("number of windows", 0)):
                labels.append(self.number("label"))
                found = self.word("overlap")
                try:
                    overlaps.append(float(found))
                except ValueError:
                    raise self.broken(f"{found[:40]!r} is no overlap") from None
                windows.append((picture, *[self.number(name) for name in ("x1", "y1", "x2", "y2")]))
        if not self.pictures:
            raise self.fail(f"source: {self.path}: the file is empty")
        self.windows = np.array(windows, np.int64).reshape(-1, 5)
        self.labels = np.array(labels, np.int64)
        self.overlaps = np.array(overlaps, np.float32)


def _round(value) -> int:
    """As C's round: halves away from zero."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def context_window(window, size: tuple[int, int], crop: int, pad: int, square: bool):
    """The part of a picture of `size` (height, width) that is warped, and where it goes.

    `window` is (x1, y1, x2, y2), corners included. It grows so that a margin of `pad` pixels
    is round it once it is `crop` × `crop`. Returns (x1, y1, x2, y2) clipped to the picture; the
    (height, width) that it is warped to; the margins (top, left, right) that stay empty.
    In float32, as Caffe reckons.
    """
    x1, y1, x2, y2 = (int(v) for v in window)
    f = np.float32
    grow = f(crop) / f(crop - 2 * pad)
    half_height, half_width = f(y2 - y1 + 1) / f(2), f(x2 - x1 + 1) / f(2)
    center_x, center_y = f(x1) + half_width, f(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(center_x - half_width * grow), _round(center_x + half_width * grow)
    y1, y2 = _round(center_y - half_height * grow), _round(center_y + half_height * grow)
    # At least 1: a window whose corners are the wrong way round stays so, and is refused.
    scale_x, scale_y = f(crop) / f(max(1, x2 - x1 + 1)), f(crop) / f(max(1, y2 - y1 + 1))
    left, top = max(0, -x1), max(0, -y1)
    right, bottom = max(0, x2 - size[1] + 1), max(0, y2 - size[0] + 1)
    x1, x2, y1, y2 = x1 + left, x2 - right, y1 + top, y2 - bottom
    width, height = _round(f(x2 - x1 + 1) * scale_x), _round(f(y2 - y1 + 1) * scale_y)
    top, left, right = (
        _round(f(top) * scale_y),
        _round(f(left) * scale_x),
        _round(f(right) * scale_x),
    )
    return (x1, y1, x2, y2), (height, width), (top, left, right)


class _Windows:
    """The source of WindowData; see `_data`."""

    def __init__(self, layer):
        param, transform = layer.layer_param.window_data_param, layer.layer_param.transform_param
        self.fail = failing(layer)
        self.batch = require_positive_batch(layer, param.batch_size)
        self.solvers, self.rank = turn(layer)
        self.crop, self.pad = transform.crop_size, param.context_pad
        self.square, self.mirror = param.crop_mode == "square", transform.mirror
        self.scale, self.mean = np.float32(param.scale), Mean(transform, self.fail)
        if self.crop < 1:
            raise self.fail("transform_param.crop_size is not given")
        if 2 * self.pad >= self.crop:
            raise self.fail(f"context_pad {self.pad} leaves nothing of crop_size {self.crop}")
        if param.crop_mode not in ("warp", "square"):
            raise self.fail(f"crop_mode '{param.crop_mode}' is neither 'warp' nor 'square'")
        if not 0 <= param.fg_fraction <= 1:
            raise self.fail(f"fg_fraction {param.fg_fraction:g} is not within 0 to 1")
        if not param.source:
            raise self.fail("window_data_param.source is not given: the file of windows")
        self._check_mean()
        self.list = _List(not_utf8.path(param.source), not_utf8.path(param.root_folder), self.fail)
        known = self.list.windows, self.list.labels
        self.contents = [zlib.crc32(part.tobytes()) for part in known]
        self.foreground = np.flatnonzero(self.list.overlaps >= np.float32(param.fg_threshold))
        background = self.list.overlaps < np.float32(param.bg_threshold)
        background[self.foreground] = False
        self.background = np.flatnonzero(background)
        for name, found in (("fg", self.foreground), ("bg", self.background)):
            if not len(found):
                raise self.fail(f"{param.source}: {name}_threshold leaves no {name} windows")
        if (self.list.labels[self.foreground] < 1).any():
            raise self.fail(f"{param.source}: a foreground window's label must be above 0")
        foreground = int(np.float32(self.batch) * np.float32(param.fg_fraction))
        self.backgrounds = self.batch - foreground  # they come first
        self.cache: dict | None = {} if param.cache_images else None
        if param.cache_images:
            self._check_cache()
        self.start = {"items": 0, "seed": rng.draw_seed()}
        self.shapes = [(self.batch, 3, self.crop, self.crop), (self.batch,)]

    def _check_mean(self) -> None:
        self.mean.of_channels(3)
        if self.mean.file is None:
            return
        channels, height, width = self.mean.file.shape
        self.offset = (width - self.crop) // 2  # down too, as in Caffe
        if channels != 3 or self.offset < 0 or self.offset + self.crop > height:
            raise self.fail(
                f"the mean in mean_file is of shape {self.mean.file.shape}; it needs 3 channels, "
                f"and at least {self.crop} × {self.crop}"
            )

    def _check_cache(self) -> None:
        try:
            total = sum(check_regular(name) for name in self.list.pictures)
        except InputError as error:
            raise self.fail(str(error)) from None
        has = machine_memory()
        if total > has:
            raise self.fail(
                f"cache_images: {total / 2**30:.1f} GiB of pictures do not fit into this machine's "
                f"{has / 2**30:.1f} GiB"
            )

    def picture(self, index: int) -> np.ndarray:
        name = self.list.pictures[index]
        try:
            if self.cache is None:
                return images.read(name, images.COLOR)
            if index not in self.cache:
                self.cache[index] = read_regular(name, LARGEST_PICTURE)
            return images.decode(self.cache[index], images.COLOR)
        except InputError as error:
            message = str(error)
            raise self.fail(message if name in message else f"{name}: {message}") from None

    def warp(self, index: int, mirrored: bool, out: np.ndarray) -> None:
        """Window `index`, cut out, warped, mirrored, less its mean, into `out`, zero elsewhere."""
        picture = self.picture(self.list.windows[index, 0])
        place = self.list.windows[index, 1:].tolist()
        x1, y1, x2, y2 = place
        size, top, left = (self.crop, self.crop), 0, 0
        if self.pad > 0 or self.square:
            part, size, (top, left, right) = context_window(
                place, picture.shape[:2], self.crop, self.pad, self.square
            )
            x1, y1, x2, y2 = part
            left = right if mirrored else left
            # Rounding may make it one pixel too large.
            size = (min(size[0], self.crop - top), min(size[1], self.crop - left))
        inside = 0 <= x1 <= x2 < picture.shape[1] and 0 <= y1 <= y2 < picture.shape[0]
        if not inside or min(size) < 1:
            raise self.fail(
                f"{self.list.path}: window {tuple(place)} does not lie in "
                f"{self.list.pictures[self.list.windows[index, 0]]}, which is "
                f"{picture.shape[0]} × {picture.shape[1]}"
            )
        warped = images.resize(picture[y1 : y2 + 1, x1 : x2 + 1], *size)
        warped = (warped[:, ::-1] if mirrored else warped).transpose(2, 0, 1)
        out[...] = 0
        into = out[:, top : top + size[0], left : left + size[1]]
        mean = self.mean.of_channels(3)
        if self.mean.file is not None:
            rows, columns = self.offset + top, self.offset + left
            mean = self.mean.file[:, rows : rows + size[0], columns : columns + size[1]]
        np.subtract(warped, np.float32(0) if mean is None else mean, out=into, dtype=np.float32)
        into *= self.scale

    def batches(self, state: dict):
        number, seed = state["items"] + self.rank, state["seed"]
        while True:
            data, labels = stack(self.shapes[0][1:], self.batch), stack((), self.batch)
            for i in range(self.batch):
                kind = self.background if i < self.backgrounds else self.foreground
                random = randomness(seed, ITEM, number)
                index = kind[random.integers(len(kind))]
                mirrored = bool(self.mirror and random.integers(2))
                self.warp(index, mirrored, data[i])
                labels[i] = 0 if i < self.backgrounds else self.list.labels[index]
                number += self.solvers
            yield (data, labels), {"items": number - self.rank, "seed": seed}


@register("WindowData")
class WindowData(Prefetching):
    """`fg_fraction` of each batch are windows that overlap an object, the rest background (label
    0), drawn at random with repetition; the background comes first."""

    def open_source(self, top):
        param = self.layer_param.window_data_param
        warn_of_old_transform(self, param, ("mean_file", "crop_size", "mirror"))
        transform = self.layer_param.transform_param
        warn_of(self, transform, ("scale",), "; write it in window_data_param")
        warn_of(self, transform, ("force_color", "force_gray"), ": it reads colour")
        return _Windows(self)
