"""Dice, precision and recall of each class, from the confusion matrix."""

from __future__ import annotations

import numpy as np

MEASURES = ("dice", "precision", "recall")


def overlap(hist: np.ndarray) -> dict[str, np.ndarray]:
    """n x n confusion matrix (truth in rows) -> {measure: n fractions}, NaN where nothing counts.

    With r right pixels of a class, t of its truth and p predicted as it: Dice 2r / (t + p) (Dice
    1945; the same as F1), precision r / p, recall r / t.
    """
    hist = np.asarray(hist, np.float64)
    right, truth, predicted = np.diag(hist), hist.sum(1), hist.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "dice": 2 * right / (truth + predicted),
            "precision": right / predicted,
            "recall": right / truth,
        }
