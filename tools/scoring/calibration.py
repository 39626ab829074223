"""Whether a net is as often right as it says: the expected calibration error of Guo et al. 2017."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

BINS = 15
STEPS = 1 << 30
"""A confidence is counted in whole steps of 1 / STEPS, so that no order of the images changes a
sum."""


def confidence(scores: np.ndarray) -> np.ndarray:
    """n x H x W scores -> H x W: the softmax of the highest."""
    highest = scores.max(0)
    return 1 / np.exp(scores - highest).sum(0)


class Calibration:
    """Sums over the pixels of any number of images, in whole numbers, by the bins of confidence
    (k/15, (k+1)/15]."""

    def __init__(self) -> None:
        self.sums = [[0, 0, 0] for _ in range(BINS)]
        """Of each bin: pixels, right ones, confidences in steps."""

    def add(self, truth: np.ndarray, prediction: np.ndarray, scores: np.ndarray) -> None:
        """Count an image: H x W class numbers, and n x H x W scores; truth outside 0 .. n-1 is
        void."""
        known = (truth >= 0) & (truth < len(scores))
        steps = np.rint(confidence(scores)[known].astype(np.float64) * STEPS).astype(np.int64)
        steps = np.clip(steps, 1, STEPS)
        bins = (steps * BINS + STEPS - 1) // STEPS - 1
        right = truth[known] == prediction[known]
        # Exact in bincount's float64: a bin's sum is below 2^53 up to 2^23 pixels.
        parts = (None, right, steps)
        counts = [np.bincount(bins, part, BINS).astype(np.int64).tolist() for part in parts]
        self.take(list(zip(*counts)))

    def state(self) -> list:
        """The sums as JSON can hold them."""
        return self.sums

    def take(self, state: list) -> None:
        """Add the sums of other images, as their `state` gives them."""
        self.sums = [[a + b for a, b in zip(*pair)] for pair in zip(self.sums, state)]

    def scores(self) -> dict[str, Any]:
        """`ece`, the expected calibration error: the mean of |accuracy - confidence| of the bins,
        weighted by their pixels (NaN without any); `bins`, a dict of each."""
        total = sum(pixels for pixels, _, _ in self.sums)
        error, bins = 0.0, []
        for number, (pixels, right, steps) in enumerate(self.sums):
            mean, accuracy = None, None
            if pixels:
                mean, accuracy = steps / STEPS / pixels, right / pixels
                error += pixels / total * abs(accuracy - mean)
            bins.append(
                {
                    "above": number / BINS, "to": (number + 1) / BINS, "pixels": pixels,
                    "confidence": mean, "accuracy": accuracy,
                }
            )  # fmt: skip
        return {"ece": error if total else math.nan, "bins": bins}
