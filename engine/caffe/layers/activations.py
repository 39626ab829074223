"""More layers that work on each element by itself: AbsVal, BNLL, Clip, ELU, Exp, Log, PReLU, Swish,
Threshold.

All but AbsVal may work in place; what backward then needs of the overwritten bottom is kept.
"""

from __future__ import annotations

import math

import torch

from ..proto import caffe_pb2
from . import register
from ._common import Scratch, add_params, adds_to, require_own_top, same_memory
from .neuron import KeepsInput, Neuron

_aten = torch.ops.aten


def _log_of_base(layer, base: float) -> float:
    """The natural logarithm of `base`; -1 stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise layer.fail(f"base {base:g} is no positive number (nor -1, which stands for e)")
    return math.log(base)


@register("AbsVal")
class AbsVal(Neuron):
    """|x|; the gradient at 0 is 0."""

    def setup(self, bottom, top):
        require_own_top(self, bottom, top)

    def forward(self, bottom, top):
        torch.abs(bottom[0].read(), out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dx = bottom[0].write_diff()
            torch.sign(bottom[0].read(), out=dx)
            dx.mul_(top[0].read_diff())


@register("BNLL")
class BNLL(KeepsInput):
    """log(1 + exp(x))."""

    # Beyond it, log(1 + exp(x)) is x to the last bit of a float32.
    linear_from = 20

    def forward(self, bottom, top):
        self.keep(bottom, top)
        _aten.softplus.out(bottom[0].read(), 1, self.linear_from, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, dy, dx = self.input(bottom, top), top[0].read_diff(), bottom[0].write_diff()
            _aten.softplus_backward.grad_input(dy, x, 1, self.linear_from, grad_input=dx)


@register("Clip")
class Clip(KeepsInput):
    """x, held within `min` to `max`; the gradient passes where x is within (both included)."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        param = self.layer_param.clip_param
        given = self.layer_param.HasField("clip_param")
        for name in ("min", "max"):
            if given and not param.HasField(name):
                raise self.fail(f"clip_param gives no {name}; it needs min and max")
        self.low, self.high = param.min, param.max

    def forward(self, bottom, top):
        self.keep(bottom, top)
        y = torch.clamp(bottom[0].read(), max=self.high, out=top[0].write())
        y.clamp_(min=self.low)  # by itself: min counts where it is more than max

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x = self.input(bottom, top)
            within = (x >= self.low).logical_and_(x <= self.high)
            torch.mul(top[0].read_diff(), within, out=bottom[0].write_diff())


@register("ELU")
class ELU(KeepsInput):
    """x where x > 0, else alpha · (exp(x) - 1)."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.alpha = self.layer_param.elu_param.alpha

    def forward(self, bottom, top):
        if not self.alpha >= 0:  # else, in place, the output has the input's sign, and says enough
            self.keep(bottom, top)
        _aten.elu.out(bottom[0].read(), self.alpha, 1, 1, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            # The input, where it is still there: a later layer in place may change the top's sign.
            from_output = same_memory(bottom[0], top[0]) and self.alpha >= 0
            known = top[0].read() if from_output else self.input(bottom, top)
            dy, dx = top[0].read_diff(), bottom[0].write_diff()
            _aten.elu_backward.grad_input(dy, self.alpha, 1, 1, from_output, known, grad_input=dx)


@register("Exp")
class Exp(Neuron):
    """base ^ (shift + scale · x)."""

    def setup(self, bottom, top):
        param = self.layer_param.exp_param
        log_base = _log_of_base(self, param.base)
        self.inner = log_base * param.scale
        # 700: infinite as a float32, and not yet an error of math.exp
        self.outer = math.exp(min(log_base * param.shift, 700))

    def forward(self, bottom, top):
        y = torch.mul(bottom[0].read(), self.inner, out=top[0].write()).exp_()
        if self.outer != 1:
            y.mul_(self.outer)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dx = bottom[0].write_diff()
            torch.mul(top[0].read_diff(), top[0].read(), out=dx)
            if self.inner != 1:
                dx.mul_(self.inner)


@register("Log")
class Log(KeepsInput):
    """The logarithm to `base` of shift + scale · x."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.param = self.layer_param.log_param
        self.log_base = _log_of_base(self, self.param.base)
        if self.log_base == 0:
            raise self.fail("base 1 has no logarithm")

    def forward(self, bottom, top):
        self.keep(bottom, top)
        y = torch.mul(bottom[0].read(), self.param.scale, out=top[0].write())
        y.add_(self.param.shift).log_()
        if self.log_base != 1:
            y.div_(self.log_base)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy, dx, scale = top[0].read_diff(), bottom[0].write_diff(), self.param.scale
        if scale == 0:
            dx.zero_()
            return
        inside = torch.mul(self.input(bottom, top), scale).add_(self.param.shift)
        torch.mul(dy, scale / self.log_base, out=dx).div_(inside)


@register("Swish")
class Swish(Neuron):
    """x / (1 + exp(-beta · x))."""

    def setup(self, bottom, top):
        self.beta = self.layer_param.swish_param.beta
        self.gate = Scratch()

    def forward(self, bottom, top):
        x = bottom[0].read()
        gate = torch.mul(x, self.beta, out=self.gate(x.shape, x.device)).sigmoid_()
        torch.mul(x, gate, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        """beta · y + gate · (1 - beta · y), which is gate + beta · y · (1 - gate)."""
        if propagate_down[0]:
            y, dy, gate = top[0].read(), top[0].read_diff(), self.gate.tensor
            slope = torch.addcmul(gate, y, 1 - gate, value=self.beta)
            torch.mul(dy, slope, out=bottom[0].write_diff())


@register("Threshold")
class Threshold(Neuron):
    """1 where x > threshold, else 0. It has no gradient."""

    def forward(self, bottom, top):
        x, y = bottom[0].read(), top[0].write()
        y.copy_(x > self.layer_param.threshold_param.threshold)

    def backward(self, top, propagate_down, bottom):
        if any(propagate_down):
            raise self.fail("has no gradient")


@register("PReLU")
class PReLU(KeepsInput):
    """x where x > 0, else slope · x, with a slope for each channel (axis 1) or, with
    `channel_shared`, one for all. Slopes start at 0.25 where no filler is given."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self._require_channels(bottom)
        param, filler = self.layer_param.prelu_param, self.layer_param.prelu_param.filler
        if not param.HasField("filler"):
            filler = caffe_pb2.FillerParameter(type="constant", value=0.25)
        add_params(self, ("slope", () if param.channel_shared else bottom[0].shape[1:2], filler))

    def _require_channels(self, bottom):
        if len(bottom[0].shape) < 2:
            raise self.fail(f"needs a channel axis; its bottom's shape is {bottom[0].shape}")

    def reshape(self, bottom, top):
        self._require_channels(bottom)
        shape, slope = bottom[0].shape, self.blobs[0].shape
        if slope and slope != shape[1:2]:
            raise self.fail(f"has slopes for {slope[0]} channels, is given {shape[1]}")
        top[0].reshape_like(bottom[0])
        self.spread = slope + (1,) * (len(shape) - 2)
        self.others = [i for i in range(len(shape)) if not slope or i != 1]

    def forward(self, bottom, top):
        self.keep(bottom, top)
        slope = self.blobs[0].read().view(self.spread)
        x, y = self.input(bottom, top), top[0].write()
        torch.mul(x, slope, out=y)
        torch.where(x > 0, x, y, out=y)

    def backward(self, top, propagate_down, bottom):
        x, dy = self.input(bottom, top), top[0].read_diff()
        if adds_to(self, 0):
            found = torch.clamp_max(x, 0).mul_(dy).sum(self.others)
            self.blobs[0].write_diff().add_(found)
        if propagate_down[0]:
            slope = self.blobs[0].read().view(self.spread)
            torch.where(x > 0, dy, dy * slope, out=bottom[0].write_diff())
