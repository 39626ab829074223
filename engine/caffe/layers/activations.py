"""More layers that work on each element by itself: AbsVal, BNLL, Clip, ELU, Exp, Log, PReLU, Swish,
Threshold.

All but AbsVal may work in place; what backward then needs of the overwritten bottom is kept.
"""

from __future__ import annotations

import math

import torch

from ..core.layer import Reads
from ..proto import caffe_pb2
from . import register
from ._common import Scratch, add_params, adds_to, require_own_top, same_memory
from ._plain import Plain, PlainOfBottom

_aten = torch.ops.aten


def _log_of_base(layer, base: float) -> float:
    """The natural logarithm of `base`; -1 stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise layer.fail(f"base {base:g} is no positive number (nor -1, which stands for e)")
    return math.log(base)


@register("AbsVal")
class AbsVal(PlainOfBottom):
    """|x|; the gradient at 0 is 0."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        require_own_top(self, bottom, top)

    def compute(self, x, out):
        torch.abs(x, out=out)

    def gradient(self, dy, x, out):
        torch.sign(x, out=out).mul_(dy)


@register("BNLL")
class BNLL(PlainOfBottom):
    """log(1 + exp(x))."""

    # Beyond it, log(1 + exp(x)) is x to the last bit of a float32.
    linear_from = 20

    def compute(self, x, out):
        _aten.softplus.out(x, 1, self.linear_from, out=out)

    def gradient(self, dy, x, out):
        _aten.softplus_backward.grad_input(dy, x, 1, self.linear_from, grad_input=out)


@register("Clip")
class Clip(PlainOfBottom):
    """x, held within `min` to `max`; the gradient passes where x is within (both included)."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        param = self.layer_param.clip_param
        given = self.layer_param.HasField("clip_param")
        for name in ("min", "max"):
            if given and not param.HasField(name):
                raise self.fail(f"clip_param gives no {name}; it needs min and max")
        self.low, self.high = param.min, param.max

    def compute(self, x, out):
        torch.clamp(x, max=self.high, out=out)
        out.clamp_(min=self.low)  # by itself: min counts where it is more than max

    def gradient(self, dy, x, out):
        within = (x >= self.low).logical_and_(x <= self.high)
        torch.mul(dy, within, out=out)


@register("ELU")
class ELU(PlainOfBottom):
    """x where x > 0, else alpha · (exp(x) - 1)."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.alpha = self.layer_param.elu_param.alpha
        self.keeps_copy = self.alpha < 0

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        # In place, the output has the input's sign, and says enough; else the input is told by,
        # as a later layer in place may change the output's sign.
        self.by_output = same_memory(bottom[0], top[0]) and not self.keeps_copy

    def compute(self, x, out):
        _aten.elu.out(x, self.alpha, 1, 1, out=out)

    def gradient(self, dy, known, out):
        _aten.elu_backward.grad_input(dy, self.alpha, 1, 1, self.by_output, known, grad_input=out)


@register("Exp")
class Exp(Plain):
    """base ^ (shift + scale · x)."""

    def setup(self, bottom, top):
        param = self.layer_param.exp_param
        log_base = _log_of_base(self, param.base)
        self.inner = log_base * param.scale
        # 700: infinite as a float32, and not yet an error of math.exp
        self.outer = math.exp(min(log_base * param.shift, 700))

    def compute(self, x, out):
        torch.mul(x, self.inner, out=out).exp_()
        if self.outer != 1:
            out.mul_(self.outer)

    def gradient(self, dy, y, out):
        torch.mul(dy, y, out=out)
        if self.inner != 1:
            out.mul_(self.inner)


@register("Log")
class Log(PlainOfBottom):
    """The logarithm to `base` of shift + scale · x."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.param = self.layer_param.log_param
        self.log_base = _log_of_base(self, self.param.base)
        if self.log_base == 0:
            raise self.fail("base 1 has no logarithm")

    def compute(self, x, out):
        torch.mul(x, self.param.scale, out=out).add_(self.param.shift).log_()
        if self.log_base != 1:
            out.div_(self.log_base)

    def gradient(self, dy, x, out):
        scale = self.param.scale
        if scale == 0:
            out.zero_()
            return
        inside = torch.mul(x, scale).add_(self.param.shift)
        torch.mul(dy, scale / self.log_base, out=out).div_(inside)


@register("Swish")
class Swish(Plain):
    """x / (1 + exp(-beta · x))."""

    def setup(self, bottom, top):
        self.beta = self.layer_param.swish_param.beta
        self.gate = Scratch()

    def compute(self, x, out):
        gate = torch.mul(x, self.beta, out=self.gate(x.shape, x.device)).sigmoid_()
        torch.mul(x, gate, out=out)

    def gradient(self, dy, y, out):
        """beta · y + gate · (1 - beta · y), which is gate + beta · y · (1 - gate)."""
        gate = self.gate.tensor
        torch.mul(dy, torch.addcmul(gate, y, 1 - gate, value=self.beta), out=out)


@register("Threshold")
class Threshold(Plain):
    """1 where x > threshold, else 0. It has no gradient."""

    _backward_reads = Reads.NOTHING

    def compute(self, x, out):
        out.copy_(x > self.layer_param.threshold_param.threshold)

    def backward(self, top, propagate_down, bottom):
        if any(propagate_down):
            raise self.fail("has no gradient")


@register("PReLU")
class PReLU(PlainOfBottom):
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

    def _slope(self) -> torch.Tensor:
        return self.blobs[0].read().view(self.spread)

    def compute(self, x, out):
        torch.mul(x, self._slope(), out=out)
        torch.where(x > 0, x, out, out=out)

    def gradient(self, dy, x, out):
        torch.where(x > 0, dy, dy * self._slope(), out=out)

    def backward(self, top, propagate_down, bottom):
        if adds_to(self, 0):
            x, dy = self.known(bottom, top), top[0].read_diff()
            found = torch.clamp_max(x, 0).mul_(dy).sum(self.others)
            self.blobs[0].write_diff().add_(found)
        super().backward(top, propagate_down, bottom)
