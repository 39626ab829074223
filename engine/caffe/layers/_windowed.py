"""A base for layers whose tops see their bottoms through windows, on plain tensors."""

from __future__ import annotations

import torch

from ..compute.folding import Fold, LayerFold, folded_shape, like
from ..core.layer import TEST, Layer, Reads
from ..core.under_fold import data_under, diff_under

_aten = torch.ops.aten


class Windowed(Layer):
    """Top i is made of bottom i. A subclass says how its windows lie (`_windows`) and writes
    `compute` and `gradient`, on float32 tensors on the current device in any order of axes in
    memory.

    Where rows and columns repeat, both get tensors without the repetitions, and less padding; they
    need not know. What `compute` keeps of the bottom's places, `keep_whole` changes into places in
    the whole bottom.
    """

    _can_run_again = True
    pad: list[int]
    """The padding on either side of each spatial axis."""

    def __init__(self, layer_param=None, phase: int = TEST):
        super().__init__(layer_param, phase)
        self._made_under: dict[int, LayerFold | None] = {}
        """By top, how it was made in the last forward pass; None: whole."""
        self._running_again = False

    def compute(self, x: torch.Tensor, pad: list[int]) -> torch.Tensor:
        """The top of the bottom `x`, padded by `pad`; nobody else has it."""
        raise NotImplementedError

    def gradient(
        self, dy: torch.Tensor, x: torch.Tensor, pad: list[int], wanted: bool
    ) -> torch.Tensor | None:
        """The bottom's gradient of the top's, which nobody else has, if it is `wanted` (else what
        is returned does not count); the parameters' gradients are added to their diffs.

        `x` is the bottom; where `_backward_reads` leaves that out, an `uninitialised` tensor of
        its shape, which may be written into and returned."""
        raise NotImplementedError

    def uninitialised(self, dy: torch.Tensor, shape) -> torch.Tensor:
        """A tensor of `shape` whose numbers do not matter."""
        return like(dy, shape)

    def keep_whole(self, fold: LayerFold, shape) -> None:
        """`compute` saw the bottom, whose whole `shape` is given, under `fold`, and `gradient` is
        going to see the whole."""

    def forward(self, bottom, top):
        for i, (x, y) in enumerate(zip(bottom, top)):
            fold = self._fold_of_top(i, x)
            if fold is None:
                y.give(self.compute(data_under(x, None), self.pad))
            else:
                y.give(self.compute(data_under(x, fold.bottom), fold.pad), fold.top)

    def backward(self, top, propagate_down, bottom):
        for i, (y, wanted, x) in enumerate(zip(top, propagate_down, bottom)):
            if not wanted and not any(self.param_propagate_down):
                continue
            above, below, pad = self._folds_of_diffs(i, x)
            dy = self._top_diff(y, above)
            if Reads.BOTTOM in self._backward_reads:
                seen = data_under(x, below)
            else:
                seen = self.uninitialised(dy, folded_shape(x.shape, below))
            dx = self.gradient(dy, seen, pad, bool(wanted))
            if wanted:
                x.give_diff(dx, below)

    def _fold_of_top(self, i: int, bottom) -> LayerFold | None:
        """How top `i` is made of `bottom` now: folded, if that still is as was planned; when it
        is made again, as it was made before."""
        if not self._running_again:
            fold = self._folds[i] if self._folds else None
            fits = fold is not None and bottom.fold == fold.stored
            self._made_under[i] = fold if fits else None
        return self._made_under[i]

    def _forward_again(self, bottom, top) -> None:
        """What was folded may have been read as a whole in between."""
        self._running_again = True
        try:
            self.forward(bottom, top)
        finally:
            self._running_again = False

    def _folds_of_diffs(self, i: int, bottom) -> tuple[Fold | None, Fold | None, list[int]]:
        """The folds of top i's and bottom i's diff, and the padding that goes with them."""
        fold = self._made_under.get(i)
        if fold is not None and self._lean:
            return fold.top, fold.bottom, fold.pad
        if fold is not None:
            self.keep_whole(fold, bottom.shape)
            self._made_under[i] = None
        return None, None, self.pad

    def _top_diff(self, top, fold: Fold | None) -> torch.Tensor:
        dy = diff_under(top, fold)
        return _aten.threshold_backward(dy, data_under(top, fold), 0) if self._masks else dy
