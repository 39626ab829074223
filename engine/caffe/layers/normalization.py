"""LRN and BatchNorm."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d

from ..core.layer import TEST, Layer
from ..proto import caffe_pb2
from . import register
from ._common import Scratch, add_params


@register("LRN")
class LRN(Layer):
    """x / s^beta, with s = k + alpha/n · Σ x² over n = local_size channels, or within a channel
    (WITHIN_CHANNEL) s = 1 + alpha/n² · Σ x² over a window of n × n."""

    num_bottom = (1, 1)
    num_top = (1, 1)
    _can_run_again = True

    def setup(self, bottom, top):
        param = self.layer_param.lrn_param
        if param.local_size % 2 == 0:
            raise self.fail(f"local_size {param.local_size} must be odd")
        self.across = param.norm_region == param.ACROSS_CHANNELS
        if not self.across and param.k != 1:
            self.warn(f"k {param.k:g} has no effect: with WITHIN_CHANNEL it is 1")
        size = param.local_size
        self.alpha = param.alpha / (size if self.across else size * size)
        self.k = param.k if self.across else 1.0
        self.base = Scratch()

    def reshape(self, bottom, top):
        if len(bottom[0].shape) != 4:
            raise self.fail(f"needs a bottom of 4 axes (N, C, H, W), not {bottom[0].shape}")
        if bottom[0] is top[0]:
            raise self.fail("cannot work in place; give the top a name of its own")
        top[0].reshape_like(bottom[0])

    def _window_sum(self, x: torch.Tensor) -> torch.Tensor:
        """Sums over each element's neighbourhood, with zeros outside."""
        n = self.layer_param.lrn_param.local_size
        if not self.across:
            return avg_pool2d(x, n, 1, n // 2, divisor_override=1)
        channels_as_rows = x.flatten(2).unsqueeze(1)
        total = avg_pool2d(channels_as_rows, (n, 1), 1, (n // 2, 0), divisor_override=1)
        return total.view(x.shape)

    def forward(self, bottom, top):
        x, beta = bottom[0].read(), self.layer_param.lrn_param.beta
        base = self.base(x.shape, x.device)
        base.copy_(self._window_sum(x * x)).mul_(self.alpha).add_(self.k)
        torch.pow(base, -beta, out=top[0].write()).mul_(x)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        x, y, dy = bottom[0].read(), top[0].read(), top[0].read_diff()
        base, beta = self.base.tensor, self.layer_param.lrn_param.beta
        dx = bottom[0].write_diff()
        torch.pow(base, -beta, out=dx).mul_(dy)
        dx.addcmul_(x, self._window_sum(dy * y / base), value=-2 * self.alpha * beta)


@register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps), for each channel over all else.

    Parameters: sums of the means and variances seen, each discounted by moving_average_fraction
    at every pass, and of their weights. They are divided by these weights and used instead of
    the batch's own with use_global_stats (default: in TEST).
    """

    num_bottom = (1, 1)
    num_top = (1, 1)

    def setup(self, bottom, top):
        param = self.layer_param.batch_norm_param
        shape = bottom[0].shape
        self.channels = shape[1] if len(shape) > 1 else 1
        self.uses_global = self.phase == TEST
        if param.HasField("use_global_stats"):
            self.uses_global = param.use_global_stats
        zero = caffe_pb2.FillerParameter()
        size = (self.channels,)
        add_params(self, ("mean", size, zero), ("variance", size, zero), ("weight", (1,), zero))
        # They are statistics, which no solver may touch.
        for i in range(3):
            if i == len(self.layer_param.param):
                self.layer_param.param.add(lr_mult=0)
            elif self.layer_param.param[i].lr_mult != 0:
                raise self.fail("its parameters are statistics; set lr_mult: 0 for them")
        self.normal, self.deviation = Scratch(), Scratch()

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if (shape[1] if len(shape) > 1 else 1) != self.channels:
            raise self.fail(f"was set up for {self.channels} channels; the shape is {shape}")
        self.folded = (shape[0], self.channels, -1) if len(shape) > 1 else (shape[0], 1, 1)
        top[0].reshape_like(bottom[0])

    def _statistics(self, x: torch.Tensor):
        mean_sum, variance_sum, weight = self.blobs
        if self.uses_global:
            total = weight.read()
            factor = torch.where(total == 0, total, 1 / total)
            return mean_sum.read() * factor, variance_sum.read() * factor
        variance, mean = torch.var_mean(x, (0, 2), correction=0)
        keep = self.layer_param.batch_norm_param.moving_average_fraction
        count = x.numel() // self.channels
        weight.write().mul_(keep).add_(1)
        mean_sum.write().mul_(keep).add_(mean)
        variance_sum.write().mul_(keep).add_(variance, alpha=count / max(count - 1, 1))
        return mean, variance

    def forward(self, bottom, top):
        x, y = bottom[0].read().view(self.folded), top[0].write().view(self.folded)
        mean, variance = self._statistics(x)
        deviation = self.deviation(mean.shape, mean.device)
        torch.add(variance, self.layer_param.batch_norm_param.eps, out=deviation).sqrt_()
        torch.sub(x, mean.view(1, -1, 1), out=y).div_(deviation.view(1, -1, 1))
        if not self.uses_global:
            self.normal(y.shape, y.device).copy_(y)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy = top[0].read_diff().view(self.folded)
        dx = bottom[0].write_diff().view(self.folded)
        deviation = self.deviation.tensor.view(1, -1, 1)
        if self.uses_global:
            torch.div(dy, deviation, out=dx)
            return
        y = self.normal.tensor
        mean = dy.mean((0, 2), keepdim=True)
        slope = (dy * y).mean((0, 2), keepdim=True)
        torch.sub(dy, mean, out=dx).addcmul_(y, slope, value=-1).div_(deviation)
