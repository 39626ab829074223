"""Layers that work on each element by itself: ReLU, Sigmoid, TanH, Power, Dropout.

All may work in place.
"""

from __future__ import annotations

import torch

from ..compute import rng
from ..core.layer import TRAIN, Reads
from . import register
from ._common import Scratch, same_memory
from ._plain import Plain, PlainOfBottom, Pointwise

_aten = torch.ops.aten


@register("ReLU")
class ReLU(Pointwise):
    """max(0, x) + negative_slope · min(0, x)."""

    def setup(self, bottom, top):
        self.slope = self.layer_param.relu_param.negative_slope
        self._passes_positive = self.slope == 0

    def compute(self, x, out):
        if self.slope == 0:
            torch.clamp_min(x, 0, out=out)
        else:
            _aten.leaky_relu.out(x, self.slope, out=out)

    def gradient(self, dy, x, out):
        # In place, x is the layer's output, whose sign is the input's (slope >= 0).
        if self.slope == 0:
            _aten.threshold_backward.grad_input(dy, x, 0, grad_input=out)
        else:
            _aten.leaky_relu_backward.grad_input(dy, x, self.slope, False, grad_input=out)


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
class Power(PlainOfBottom):
    """(shift + scale · x) ^ power."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.param = self.layer_param.power_param
        self.keeps_copy = self.param.power != 1

    def compute(self, x, out):
        torch.mul(x, self.param.scale, out=out)
        out.add_(self.param.shift)
        if self.param.power != 1:
            out.pow_(self.param.power)

    def gradient(self, dy, x, out):
        p = self.param
        torch.mul(dy, p.power * p.scale, out=out)
        if p.power not in (0, 1) and p.scale != 0:
            out.mul_(torch.mul(x, p.scale).add_(p.shift).pow_(p.power - 1))


@register("Dropout")
class Dropout(Pointwise):
    """In TRAIN each element is dropped with probability `dropout_ratio`, and what remains is
    scaled by 1/(1 - dropout_ratio); in TEST nothing changes."""

    _backward_reads = Reads.NOTHING

    def setup(self, bottom, top):
        self.ratio = self.layer_param.dropout_param.dropout_ratio
        if self.phase == TRAIN and not 0 <= self.ratio < 1:
            raise self.fail(f"dropout_ratio {self.ratio:g} is not within 0 (included) to 1")
        self.drops = self.phase == TRAIN and self.ratio > 0
        self._can_run_again = not self.drops
        self.mask = Scratch()

    def _windows(self):
        return None if self.drops else super()._windows()

    def _forget(self):
        self.mask.release()

    def forward(self, bottom, top):
        if self.drops:  # whole: elements that are equal are not dropped alike
            self._drop(bottom[0].read(), top[0].write())
        elif not same_memory(bottom[0], top[0]):
            super().forward(bottom, top)

    def _drop(self, x: torch.Tensor, out: torch.Tensor) -> None:
        keep = 1 - self.ratio
        mask = self.mask(x.shape, x.device)
        mask.bernoulli_(keep, generator=rng.generator(x.device)).div_(keep)
        torch.mul(x, mask, out=out)

    def backward(self, top, propagate_down, bottom):
        if self.drops and propagate_down[0]:
            torch.mul(top[0].read_diff(), self.mask.tensor, out=bottom[0].write_diff())
        elif not self.drops and not same_memory(bottom[0], top[0]):
            super().backward(top, propagate_down, bottom)

    def compute(self, x, out):
        out.copy_(x)

    def gradient(self, dy, _, out):
        out.copy_(dy)
