"""How well the outlines of a segmentation are met: trimap mean IU, boundary F, boundary IoU.

Void pixels, whose truth is none of the classes, lie beyond a boundary as another class would, but
are not scored themselves: VOC draws its objects' outlines in void. The picture's frame is an edge
of the mask for boundary IoU alone, as in its reference.

Trimaps: Kohli, Ladicky and Torr 2009; Krähenbühl and Koltun 2011 (the dense CRF); Chen et al. 2015
(DeepLab). Boundary F: Csurka, Larlus and Perronnin 2013. Boundary IoU: Cheng et al. 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from tools.common.metrics import metrics

WIDTHS = (1, 2, 3, 5, 10, 20, 40)
TOLERANCE = 0.0075
DILATION = 0.02
FRACTION_BITS = 60
"""F of an image is added up in whole 2^-60ths, so that no order of the images changes the sum."""
_WORD = 64


def edges(labels: np.ndarray) -> np.ndarray:
    """H x W labels -> H x W bool: pixels with another label above, below, left or right."""
    found = np.zeros(labels.shape, bool)
    down, across = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= across
    found[:, :-1] |= across
    return found


def tolerance(shape: tuple[int, ...]) -> float:
    """The distance below which two boundary pixels of an H x W image match."""
    return TOLERANCE * math.hypot(*shape)


def thickness(shape: tuple[int, ...]) -> int:
    """The width of the band that boundary IoU looks at, in pixels of an H x W image."""
    return max(1, round(DILATION * math.hypot(*shape)))


def rim(labels: np.ndarray, width: int) -> np.ndarray:
    """H x W labels -> H x W bool: pixels from which a step of at most `width` rows and columns
    leads to another label, or out of the image."""
    around = dict(size=2 * width + 1, mode="constant", cval=-1)
    return ndimage.minimum_filter(labels, **around) != ndimage.maximum_filter(labels, **around)


class Boundaries:
    """The counts of any number of images, all whole numbers: sums of parts are those of the whole.

    classes  n, how many there are
    widths   of the trimaps, pixels on each side of a boundary, in rising order
    """

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS):
        self.classes, self.widths = classes, tuple(widths)
        self.trimaps = np.zeros((len(self.widths), classes, classes), np.int64)
        self.bands = np.zeros((2, classes), np.int64)
        """Of boundary IoU: intersections and unions."""
        self.f_sums = [0] * classes
        self.f_images = [0] * classes

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count an image: H x W truth (void: no class) and H x W prediction, class numbers."""
        known = (truth >= 0) & (truth < self.classes)
        truth = np.where(known, truth, self.classes).astype(np.int32)
        prediction = prediction.astype(np.int32)
        outline = edges(truth)
        self._add_trimaps(truth, prediction, known, outline)
        self._add_bands(truth, prediction, known)
        self._add_f(truth, prediction, known, outline)

    def _add_trimaps(self, truth, prediction, known, outline):
        if not outline.any():
            return
        distance = ndimage.distance_transform_edt(~outline)
        near = known & (distance < self.widths[-1])
        narrowest = np.searchsorted(self.widths, distance[near], side="right")
        n = self.classes
        index = (narrowest * n + truth[near]) * n + prediction[near]
        counts = np.bincount(index, minlength=self.trimaps.size).reshape(self.trimaps.shape)
        self.trimaps += counts.cumsum(0)

    def _add_bands(self, truth, prediction, known):
        width = thickness(truth.shape)
        wanted = rim(truth, width) & known
        found = rim(prediction, width) & known
        both = wanted & found & (truth == prediction)
        n = self.classes
        shared = np.bincount(truth[both], minlength=n)
        sizes = np.bincount(truth[wanted], minlength=n) + np.bincount(
            prediction[found], minlength=n
        )
        self.bands += (shared, sizes - shared)

    def _add_f(self, truth, prediction, known, outline):
        drawn, asked = edges(prediction), outline & known
        wanted, matched = _matches(truth, asked, prediction, drawn)
        found, right = _matches(prediction, drawn, truth, asked)
        # Who could say that a boundary in void is wrong? Near the truth's, it is right.
        counted = known[drawn] | right
        n = self.classes
        recall = np.bincount(wanted[matched], minlength=n), np.bincount(wanted, minlength=n)
        precision = (
            np.bincount(found[right], minlength=n),
            np.bincount(found[counted], minlength=n),
        )
        for c in np.flatnonzero(recall[1] + precision[1]):
            self.f_images[c] += 1
            self.f_sums[c] += _f(*(int(counts[c]) for counts in (*precision, *recall)))

    def state(self) -> list:
        """The counts as JSON can hold them."""
        return [self.trimaps.tolist(), self.bands.tolist(), self.f_sums, self.f_images]

    def take(self, state: list) -> None:
        """Add the counts of other images, as their `state` gives them."""
        self.trimaps += np.array(state[0], np.int64)
        self.bands += np.array(state[1], np.int64)
        self.f_sums = [a + b for a, b in zip(self.f_sums, state[2])]
        self.f_images = [a + b for a, b in zip(self.f_images, state[3])]

    def scores(self) -> dict[str, Any]:
        """Fractions, NaN where nothing counts: `widths`, `trimap_mean_iu` (one for each width),
        `boundary_f` and `boundary_iou` (means over classes), `class_f` and `class_iou`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            iou = self.bands[0] / self.bands[1]
        f = np.array([
            math.ldexp(total, -FRACTION_BITS) / images if images else math.nan
            for total, images in zip(self.f_sums, self.f_images)
        ])  # fmt: skip
        return {
            "widths": list(self.widths),
            "trimap_mean_iu": [metrics(hist)["mean_iu"] for hist in self.trimaps],
            "boundary_f": _mean(f),
            "boundary_iou": _mean(iou),
            "class_f": f,
            "class_iou": iou,
        }


def _f(right: int, found: int, matched: int, wanted: int) -> int:
    """2 P R / (P + R) of precision right / found and recall matched / wanted, in whole
    2^-FRACTION_BITS, rounded down; 0 where one of them is 0 or has no pixels."""
    if not right or not matched:
        return 0
    return (2 * right * matched << FRACTION_BITS) // (right * wanted + matched * found)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _matches(labels, at, others, there):
    """(labels of the pixels `at`, whether a pixel of `there` that has the same label among
    `others` lies within the tolerance of each). All H x W."""
    mine = labels[at]
    near = np.zeros(mine.size, bool)
    present = np.intersect1d(mine, others[there])
    for first in range(0, present.size, _WORD):
        part = present[first : first + _WORD]
        bits = np.zeros(max(int(labels.max()), int(others.max())) + 1, np.uint64)
        bits[part] = np.uint64(1) << np.arange(part.size, dtype=np.uint64)
        reached = _spread(np.where(there, bits[others], np.uint64(0)), tolerance(labels.shape))
        near |= (reached[at] & bits[mine]) != 0
    return mine, near


def _spread(bits: np.ndarray, radius: float) -> np.ndarray:
    """H x W words -> each the OR of those at a distance below `radius`: all classes' boundaries are
    made wide at once, a bit each."""
    reach = max(math.ceil(radius) - 1, 0)
    height, width = bits.shape
    wide, out, done = bits.copy(), np.zeros_like(bits), 0
    for row in range(min(reach, height - 1), -1, -1):
        side = _half_chord(row, radius)
        for step in range(done + 1, min(side, width - 1) + 1):
            wide[:, step:] |= bits[:, :-step]
            wide[:, :-step] |= bits[:, step:]
        done = max(done, side)
        out[row:] |= wide[: height - row]
        if row:
            out[:-row] |= wide[row:]
    return out


def _half_chord(row: int, radius: float) -> int:
    """The largest whole number of columns at a distance below `radius` in that row."""
    side = max(math.ceil(radius) - 1, 0)
    while side and math.hypot(row, side) >= radius:
        side -= 1
    return side
