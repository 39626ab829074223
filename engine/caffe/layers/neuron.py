"""Layers that work on each element by itself: ReLU, Sigmoid, TanH, Power, Dropout.

All may work in place.
"""

from __future__ import annotations

import torch

from ..compute import rng
from ..compute.folding import POINTWISE
from ..core.layer import TRAIN, Layer
from . import register
from ._common import Scratch, same_memory
from ._plain import Plain

_aten = torch.ops.aten


class Neuron(Layer):
    num_bottom = (1, 1)
    num_top = (1, 1)
    _repeats = True

    def reshape(self, bottom, top):
        top[0].reshape_like(bottom[0])


class Pointwise(Neuron):
    """A layer that works on its bottom as it was given: in any order of axes in memory, folded."""

    def _windows(self):
        return POINTWISE

    def given(self, bottom, top) -> tuple[torch.Tensor, torch.Tensor]:
        """The bottom's values and where the top's go, the same tensor in place; then call
        `make`."""
        in_place = same_memory(bottom[0], top[0])
        x, self.under = bottom[0].inner(write=in_place)
        return x, x if in_place else torch.empty_like(x)

    def make(self, bottom, top, y: torch.Tensor) -> None:
        if not same_memory(bottom[0], top[0]):
            top[0].give(y, self.under)

    def given_diffs(self, bottom, top) -> tuple[torch.Tensor, torch.Tensor]:
        """The top's diff and where the bottom's goes, the same tensor in place; then call
        `make_diff`. A whole diff is folded as the bottom still is."""
        dy, self.under = top[0].inner_diff(write=same_memory(bottom[0], top[0]))
        if self._lean and self.under is None and bottom[0].fold is not None:
            self.under = bottom[0].fold
            dy = top[0].take_diff(self.under)
        if not same_memory(bottom[0], top[0]):
            return dy, torch.empty_like(dy)
        top[0].give_diff(dy, self.under)
        return dy, dy

    def make_diff(self, bottom, top, dx: torch.Tensor) -> None:
        if not same_memory(bottom[0], top[0]):
            bottom[0].give_diff(dx, self.under)


class KeepsInput(Neuron):
    """A layer whose backward needs its input, also where that is overwritten."""

    def setup(self, bottom, top):
        self.kept = Scratch()

    def keep(self, bottom, top) -> None:
        if same_memory(bottom[0], top[0]):
            x = bottom[0].read()
            self.kept(x.shape, x.device).copy_(x)

    def input(self, bottom, top) -> torch.Tensor:
        return self.kept.tensor if same_memory(bottom[0], top[0]) else bottom[0].read()


@register("ReLU")
class ReLU(Pointwise):
    """max(0, x) + negative_slope · min(0, x)."""

    def setup(self, bottom, top):
        self.slope = self.layer_param.relu_param.negative_slope
        self._passes_positive = self.slope == 0

    def _read_backward(self, bottom, top):
        return bottom

    def forward(self, bottom, top):
        x, y = self.given(bottom, top)
        if self.slope == 0:
            torch.clamp_min(x, 0, out=y)
        else:
            _aten.leaky_relu.out(x, self.slope, out=y)
        self.make(bottom, top, y)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy, dx = self.given_diffs(bottom, top)
        # In place, x is the layer's output, whose sign is the input's (slope >= 0).
        x = bottom[0].take(self.under)
        if self.slope == 0:
            _aten.threshold_backward.grad_input(dy, x, 0, grad_input=dx)
        else:
            _aten.leaky_relu_backward.grad_input(dy, x, self.slope, False, grad_input=dx)
        self.make_diff(bottom, top, dx)


@register("Sigmoid")
class Sigmoid(Plain):
    def compute(self, x, out):
        torch.sigmoid(x, out=out)

    def gradient(self, dy, y, out):
        _aten.sigmoid_backward.grad_input(dy, y, grad_input=out)


@register("TanH")
class TanH(Plain):
    def compute(self, x, out):
        torch.tanh(x, out=out)

    def gradient(self, dy, y, out):
        _aten.tanh_backward.grad_input(dy, y, grad_input=out)


@register("Power")
class Power(KeepsInput):
    """(shift + scale · x) ^ power."""

    def forward(self, bottom, top):
        p = self.layer_param.power_param
        x, y = bottom[0].read(), top[0].write()
        if p.power != 1:
            self.keep(bottom, top)
        torch.mul(x, p.scale, out=y)
        y.add_(p.shift)
        if p.power != 1:
            y.pow_(p.power)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        p = self.layer_param.power_param
        dy, dx = top[0].read_diff(), bottom[0].write_diff()
        torch.mul(dy, p.power * p.scale, out=dx)
        if p.power not in (0, 1) and p.scale != 0:
            x = self.input(bottom, top)
            dx.mul_(torch.mul(x, p.scale).add_(p.shift).pow_(p.power - 1))


@register("Dropout")
class Dropout(Neuron):
    """In TRAIN each element is dropped with probability `dropout_ratio`, and what remains is
    scaled by 1/(1 - dropout_ratio); in TEST nothing changes."""

    def setup(self, bottom, top):
        self.ratio = self.layer_param.dropout_param.dropout_ratio
        if self.phase == TRAIN and not 0 <= self.ratio < 1:
            raise self.fail(f"dropout_ratio {self.ratio:g} is not within 0 (included) to 1")
        self.drops = self.phase == TRAIN and self.ratio > 0
        self._repeats = not self.drops
        self.mask = Scratch()

    def _read_backward(self, bottom, top):
        return []

    def _windows(self):
        return None if self.drops else POINTWISE

    def forward(self, bottom, top):
        if not self.drops:
            if not same_memory(bottom[0], top[0]):
                x, fold = bottom[0].inner()
                top[0].give(x.clone(), fold)
            return
        # Whole: elements that are equal are not dropped alike.
        x, y = bottom[0].read(), top[0].write()
        keep = 1 - self.ratio
        mask = self.mask(x.shape, x.device)
        mask.bernoulli_(keep, generator=rng.generator(x.device)).div_(keep)
        torch.mul(x, mask, out=y)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.drops:
            torch.mul(top[0].read_diff(), self.mask.tensor, out=bottom[0].write_diff())
            if self._lean:
                self.mask.release()
        elif not same_memory(bottom[0], top[0]):
            dy, fold = top[0].inner_diff()
            bottom[0].give_diff(dy.clone(), fold)
