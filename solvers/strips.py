"""A strip for each watched image: photograph, truth, and what the net predicted at each score."""

from __future__ import annotations

import os
import re
import zlib

import numpy as np
from PIL import Image

from prototxt.opening import open_regular
from tools.common.cli import UserError, warn
from tools.common.files import check_target
from tools.common.pictures import indexed, panel, save_indexed, save_png, with_legend
from tools.common.written import MASK, PICTURE

FOLDER = "watch"
IMAGES = 3
"""Images that are watched where none is named."""
LONGEST = 12
"""Predictions in a strip: of more, evenly many."""
SIDE = 200
"""Pixels of the longer side of a picture in a strip."""


def chosen(split, ids):
    """The ids to watch of a tools.show.Split: `ids`, or some that are spread over it. UserError for
    one that is not in it."""
    there = split.source.ids
    for name in ids or []:
        if name not in there:
            raise UserError(f"--watch {name}: is not in {split.source.where}")
    if ids is not None:
        return list(dict.fromkeys(ids))
    places = np.linspace(0, len(there) - 1, min(IMAGES, len(there))).round().astype(int)
    return [there[place] for place in places]


class Strips:
    """The strips of the images `ids` of a tools.show.Split, in `folder`/watch, as a training has
    them that goes on at iteration `begin`.

    <id>.png is a strip; its predictions are beside it, <id>/iter_N.png.

    names, colours: of the classes. UserError where other files are in the way.
    """

    def __init__(self, folder, split, ids, names, colours, begin):
        self._split, self._names, self._colours = split, names, colours
        self._folder, self._seen = os.path.join(folder, FOLDER), {}
        self.ids = ids
        for name in ids:
            check_target(self._path(name), PICTURE)
            _clear(self._path(name))
            _clear(self._mask(name, 0))
            beyond = [at for at in self._iterations(name) if at > begin or not begin]
            for at in beyond:
                check_target(self._mask(name, at), MASK)
                os.unlink(self._mask(name, at))
            if beyond and self._iterations(name):
                self._draw(name)

    def see(self, name, prediction):
        """Hold what the net predicts of an image: H x W class numbers."""
        if name in self.ids:
            self._seen[name] = prediction

    def draw(self, iteration):
        """Add what was seen to the strips, as that of `iteration`. What cannot be written is told,
        and ends nothing."""
        for name, prediction in self._seen.items():
            try:
                mask = np.asarray(_resized(Image.fromarray(prediction.astype(np.uint8))))
                os.makedirs(os.path.dirname(self._mask(name, iteration)), exist_ok=True)
                save_indexed(self._mask(name, iteration), mask, self._colours)
            except (OSError, UserError) as error:
                warn(f"{self._path(name)}: {error}")
                continue
            self._draw(name)
        self._seen = {}

    def _draw(self, name):
        try:
            save_png(self._path(name), self._strip(name))
        except (OSError, UserError) as error:
            warn(f"{self._path(name)}: {error}")

    def _strip(self, name):
        arrays = self._split.layer.read_item(self._split.params, self._split.source, name)
        truth = Image.fromarray(np.asarray(arrays["label"]).astype(np.uint8))
        photograph = Image.fromarray(np.ascontiguousarray(self._split.photograph(arrays)))
        masks = [np.asarray(_resized(truth))]
        iterations = spread(self._iterations(name), LONGEST)
        for at in iterations:
            with open_regular(self._mask(name, at)) as file:
                masks.append(np.asarray(Image.open(file)))
        pictures = [_resized(photograph, Image.BILINEAR)]
        pictures += [indexed(mask, self._colours) for mask in masks]
        texts = ["photograph", "truth", *(f"iteration {at}" for at in iterations)]
        labels = np.unique(np.concatenate([np.unique(mask) for mask in masks]))
        return with_legend(panel(pictures, texts), self._names, labels, self._colours)

    def _iterations(self, name):
        """The iterations of the predictions that are kept, sorted."""
        folder = os.path.dirname(self._mask(name, 0))
        names = os.listdir(folder) if os.path.isdir(folder) else []
        found = [re.fullmatch(r"iter_(\d+)\.png", one) for one in names]
        return sorted(int(match.group(1)) for match in found if match)

    def _path(self, name):
        return os.path.join(self._folder, f"{as_file(name)}.png")

    def _mask(self, name, iteration):
        return os.path.join(self._folder, as_file(name), f"iter_{iteration}.png")


def _clear(path):
    """Delete what a killed process has left half written of pictures that are named as `path` is,
    but for the numbers."""
    folder, name = os.path.split(path)
    pattern = r"\.\d+\." + re.sub("iter_0", r"iter_\\d+", re.escape(name))
    for entry in os.listdir(folder) if os.path.isdir(folder) else []:
        if re.fullmatch(pattern, entry):
            os.unlink(os.path.join(folder, entry))


def as_file(name):
    """An id as the name of a file: two ids never have one."""
    safe = re.sub(r"[^\w.-]|^\.", "_", name)
    return safe if safe == name else f"{safe}-{zlib.crc32(name.encode()):08x}"


def spread(values, most):
    """At most `most` of a list, evenly spread: its first and last are among them."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[place] for place in places]


def _resized(image, how=Image.NEAREST):
    """A Pillow image, its longer side SIDE."""
    factor = SIDE / max(image.size)
    return image.resize([max(1, round(side * factor)) for side in image.size], how)
