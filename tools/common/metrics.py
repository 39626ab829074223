"""The four scores of a segmentation, from its confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def fast_hist(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """The n x n int64 confusion matrix: [i, j] counts pixels of class i in `a`, j in `b`.

    `a` (truth) and `b` (prediction) are flat and of one length; pixels whose truth is not in
    0 .. n-1 (void) are left out. `b` must lie in 0 .. n-1.
    """
    known = (a >= 0) & (a < n)
    pairs = n * a[known].astype(np.int64) + b[known]
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def metrics(hist: np.ndarray) -> dict[str, Any]:
    """Scores of a confusion matrix (truth in rows), as fractions; NaN where nothing counts.

    With n_ij the pixels of class i predicted j and t_i = sum_j n_ij: pixel accuracy
    sum n_ii / sum t_i, mean accuracy mean n_ii / t_i, IU n_ii / (t_i + sum_j n_ji - n_ii), its
    mean, and its mean weighted by t_i (Long et al. 2015, section 5). A class that is not in the
    truth has accuracy NaN, and one that is not predicted either has IU NaN: the means leave these
    out, as FCN's score.py does (np.nanmean). `cautions` says so of a hist that has such classes.
    """
    hist = np.asarray(hist, np.float64)
    right, truth, predicted = np.diag(hist), hist.sum(1), hist.sum(0)
    total = truth.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = right / truth
        iu = right / (truth + predicted - right)
        pixel = right.sum() / total
        weighted = truth[truth > 0] @ iu[truth > 0] / total
    return {
        "pixel_accuracy": float(pixel),
        "mean_accuracy": _nanmean(accuracy),
        "mean_iu": _nanmean(iu),
        "fw_iu": float(weighted),
        "accuracy": accuracy,
        "iu": iu,
    }


def _nanmean(values):
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def cautions(hist: np.ndarray, names: Sequence[str]) -> list[str]:
    """What keeps the scores of a confusion matrix from saying what they seem to, a line each.

    names: of the classes. Only the truth is looked at, so that all nets have the same lines.
    """
    truth = np.asarray(hist).sum(1)
    there = [name for name, count in zip(names, truth) if count]
    absent = [name for name, count in zip(names, truth) if not count]
    if not there:
        return ["every labelled pixel is void: there is nothing to score"]
    if not absent:
        return []
    rule = (
        "mean IU counts a class that is in no label as 0 where the net predicts it, and leaves it "
        "out where not"
    )
    if len(there) == 1:
        return [
            f"all labelled pixels are of one class, {there[0]}: a net that knows no other would "
            f"score 100; {rule}"
        ]
    few = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
    return [
        f"{len(absent)} of {len(names)} classes are in no label of these images ({few}): mean "
        f"accuracy is over the other {len(there)}; {rule}"
    ]
