"""Bases for layers that make one top of one bottom of the same shape, on plain tensors.

A subclass writes `compute` and `gradient`. Both get float32 tensors of the bottom's shape on the
current device, and may work in place: `out` can be a tensor that is read.
"""

from __future__ import annotations

import torch

from ..compute.folding import POINTWISE
from ..core.layer import Layer, Reads
from ..core.under_fold import data_under, diff_under
from ._common import Scratch, same_memory


class Plain(Layer):
    """A layer whose gradient is told by its top."""

    num_bottom = (1, 1)
    num_top = (1, 1)
    _can_run_again = True
    _backward_reads = Reads.TOPS

    def reshape(self, bottom, top):
        top[0].reshape_like(bottom[0])

    def compute(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Write the top of the bottom `x` into `out`."""
        raise NotImplementedError

    def gradient(self, dy: torch.Tensor, known: torch.Tensor, out: torch.Tensor) -> None:
        """Write the bottom's gradient into `out`, of the top's gradient `dy` and of what it is
        told by: the top, or the bottom of another base."""
        raise NotImplementedError

    def forward(self, bottom, top):
        self.compute(bottom[0].read(), top[0].write())

    def known(self, bottom, top) -> torch.Tensor:
        """What `gradient` is told by."""
        return top[0].read()

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            known = self.known(bottom, top)
            self.gradient(top[0].read_diff(), known, bottom[0].write_diff())


class PlainOfBottom(Plain):
    """A layer whose gradient is told by its bottom, of which it keeps a copy where it works in
    place; `compute` then reads that."""

    _backward_reads = Reads.BOTTOM
    keeps_copy = True
    """Whether it does: `gradient` would not do with the top instead."""

    def setup(self, bottom, top):
        self.copy = Scratch()

    def forward(self, bottom, top):
        x = bottom[0].read()
        if self.keeps_copy and same_memory(bottom[0], top[0]):
            x = self.copy(x.shape, x.device).copy_(x)
        self.compute(x, top[0].write())

    def known(self, bottom, top) -> torch.Tensor:
        if self.keeps_copy and same_memory(bottom[0], top[0]):
            return self.copy.tensor
        return bottom[0].read()


class Pointwise(Plain):
    """A layer that works on its bottom as it is stored: in any order of axes in memory, folded.
    Its gradient is told by the bottom, in place by the top."""

    _backward_reads = Reads.BOTTOM

    def _windows(self):
        return POINTWISE

    def forward(self, bottom, top):
        in_place = same_memory(bottom[0], top[0])
        x, fold = bottom[0].stored(write=in_place)
        y = x if in_place else torch.empty_like(x)
        self.compute(x, y)
        if not in_place:
            top[0].give(y, fold)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        in_place = same_memory(bottom[0], top[0])
        dy, fold = top[0].stored_diff(write=in_place)
        if self._lean and fold is None and bottom[0].fold is not None:
            fold = bottom[0].fold
            dy = diff_under(top[0], fold)
        dx = dy if in_place else torch.empty_like(dy)
        reads = Reads.BOTTOM in self._backward_reads
        self.gradient(dy, data_under(bottom[0], fold) if reads else dy, dx)
        bottom[0].give_diff(dx, fold)
