"""What training items undergo at random, and how several become a batch.

Keys that every layer takes; they hold for splits with 'train' in their name:
  mirror   default False: flip every item left-right with an even chance
  scale    (low, high): enlarge every item by a factor from `low` to `high`, even in its logarithm
  crop     a side, or (height, width): cut every item to this size, at a place drawn at random.
           Where an item is smaller it lies at a random place within; around it the image is its
           mean (0 in the blob) and the label is void
  jitter   default 0: multiply a photograph's brightness, contrast and saturation by factors from
           1 - jitter to 1 + jitter
  batch    default 1: items of one forward, which must be of one size (`crop` makes them so)

Each draw depends on the seed and the item's number alone, so a training that is resumed, and one in
several processes, see the same pixels.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
from PIL import Image

from segmentation.labels import VOID
from segmentation.params import boolean, integer

MOST_SCALE = 10.0
MOST_SIDE = 8192
RESAMPLING = getattr(Image, "Resampling", Image)  # Pillow before 9.1 has the names itself
LUMA = np.array([0.114, 0.587, 0.299], np.float32)  # of B, G, R (ITU-R BT.601)


def scale_range(value):
    """A kind: two factors, the first at most the second; or None."""
    if value is None:
        return None
    numbers = value if isinstance(value, (tuple, list)) and len(value) == 2 else ()
    good = [v for v in numbers if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(good) != 2 or not 1 / MOST_SCALE <= good[0] <= good[1] <= MOST_SCALE:
        raise ValueError(
            f"expected two factors, {1 / MOST_SCALE:g} to {MOST_SCALE:g}, the smaller one first"
        )
    return float(good[0]), float(good[1])


def crop_size(value):
    """A kind: a side, or (height, width); or None."""
    if value is None:
        return None
    side = integer(1, MOST_SIDE)
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError("expected a side, or height and width")
    return side(sides[0]), side(sides[1])


def fraction(value):
    """A kind: a number from 0 to below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError("expected a number, 0 or more and below 1")
    return float(value)


SCHEMA = {
    "mirror": (boolean, False),
    "scale": (scale_range, None),
    "crop": (crop_size, None),
    "jitter": (fraction, 0.0),
    "batch": (integer(1, 1024), 1),
}


class Drawn(NamedTuple):
    """What one item undergoes.

    flip    whether it is mirrored
    factor  by which it is enlarged
    crop    (height, width) that it is cut to, or None
    place   two numbers, 0 to below 1: where in the item the crop lies, down and across
    colour  factors of brightness, contrast and saturation, or None
    """

    flip: bool = False
    factor: float = 1.0
    crop: tuple[int, int] | None = None
    place: tuple[float, float] = (0.0, 0.0)
    colour: tuple[float, float, float] | None = None


AS_IT_IS = Drawn()


def draw(params, seed, k):
    """The Drawn of the `k`-th item."""

    def even(what):
        return random.Random(f"{what} {seed} {k}").random()

    low, high = params["scale"] or (1.0, 1.0)
    jitter = params["jitter"]
    return Drawn(
        flip=params["mirror"] and even("mirror") < 0.5,
        factor=low * (high / low) ** even("scale") if high > low else low,
        crop=params["crop"],
        place=(even("down"), even("across")) if params["crop"] else (0.0, 0.0),
        colour=tuple(1 + jitter * (2 * even(what) - 1)
                     for what in ("brightness", "contrast", "saturation"))
        if jitter
        else None,
    )  # fmt: skip


def scaled(array, factor, image):
    """H x W (x C) enlarged by `factor`: images between their pixels (bilinear, and averaged where
    it is smaller; float32), labels by the nearest pixel."""
    if factor == 1:
        return array
    height, width = (max(1, round(side * factor)) for side in array.shape[:2])
    if not image:
        label = Image.fromarray(np.ascontiguousarray(array, np.uint8))
        return np.asarray(label.resize((width, height), RESAMPLING.NEAREST))
    planes = array.astype(np.float32).reshape(*array.shape[:2], -1)
    made = [
        np.asarray(Image.fromarray(planes[..., c]).resize((width, height), RESAMPLING.BILINEAR))
        for c in range(planes.shape[2])
    ]
    return made[0] if array.ndim == 2 else np.stack(made, axis=2)


def window(side, wanted, place):
    """(Start in the item, start in the crop, length): where an item of `side` pixels and a crop of
    `wanted` overlap. `place`: 0 to below 1."""
    low, high = min(0, side - wanted), max(0, side - wanted)
    offset = low + math.floor(place * (high - low + 1))
    return max(0, offset), max(0, -offset), min(side, wanted)


def coloured(image, factors):
    """H x W x 3 in B, G, R with other brightness, contrast (about its mean gray) and saturation
    (about each pixel's gray), float32, 0 to 255."""
    brightness, contrast, saturation = map(np.float32, factors)
    image = np.clip(image.astype(np.float32) * brightness, 0, 255)
    # Whole numbers have one sum, in whatever order a processor adds them.
    whole = np.rint(_gray(image)).astype(np.int64)
    level = np.float32(whole.sum() / whole.size)
    image = np.clip((image - level) * contrast + level, 0, 255)
    gray = _gray(image)
    return np.clip((image - gray) * saturation + gray, 0, 255)


def _gray(image):
    """H x W x 1."""
    blue, green, red = (image[..., c : c + 1] * LUMA[c] for c in range(3))
    return blue + green + red


def surrounded(blob, crop, start, image):
    """1 x C x h x w placed within 1 x C x `crop`, from `start` (down, across) on; what is around is
    an image's mean, which is 0, or a label's void."""
    if blob.shape[2:] == crop:
        return blob
    out = np.full((*blob.shape[:2], *crop), 0.0 if image else VOID, np.float32)
    (down, across), (height, width) = start, blob.shape[2:]
    out[..., down : down + height, across : across + width] = blob
    return out
