"""A blob's data and diff under a fold, whichever one they are stored under."""

from __future__ import annotations

import torch

from ..compute.folding import Fold, fold_gradient, select, unfold
from .blob import Blob


def data_under(blob: Blob, fold: Fold | None) -> torch.Tensor:
    """`data` without what `fold` leaves out (None: whole), which is no more than what it is stored
    without, where that is folded. On the current device, in any order of axes in memory, not to be
    changed."""
    tensor, stored = blob.stored()
    if stored is None:
        return tensor if fold is None else select(tensor, fold)
    return unfold(tensor, stored, fold)


def diff_under(blob: Blob, fold: Fold | None) -> torch.Tensor:
    """`diff` under `fold` (None: as it is stored), which leaves out no less than what it is stored
    without: elements that stand for several have the sum of theirs. On the current device, in any
    order of axes in memory, not to be changed."""
    tensor, stored = blob.stored_diff()
    return tensor if fold is None else fold_gradient(tensor, stored, fold)
