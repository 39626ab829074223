"""Layers made of sums over axes: MVN, Reduction."""

from __future__ import annotations

import math

import torch

from ..core.layer import Layer
from . import register
from ._common import Scratch, require_own_top


@register("MVN")
class MVN(Layer):
    """Mean-variance normalization: (x - mean) / (standard deviation + eps) within each channel
    of each item, or within each item where `across_channels`; without `normalize_variance` only
    x - mean.

    The top has 4 axes, as many of size 1 behind the bottom's as that takes. May work in place.
    """

    num_bottom = (1, 1)
    num_top = (1, 1)

    def setup(self, bottom, top):
        self.spread = Scratch()

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) > 4:
            raise self.fail(f"takes a bottom of at most 4 axes; its shape is {shape}")
        shape = (*shape, 1, 1, 1, 1)[:4]
        top[0].reshape(*shape)
        within = 1 if self.layer_param.mvn_param.across_channels else 2
        self.folded = math.prod(shape[:within]), math.prod(shape[within:])

    def forward(self, bottom, top):
        param = self.layer_param.mvn_param
        x, y = bottom[0].read().view(self.folded), top[0].write().view(self.folded)
        torch.sub(x, x.mean(1, keepdim=True), out=y)
        if param.normalize_variance:
            spread = self.spread((self.folded[0], 1), x.device)
            torch.mean(y * y, 1, keepdim=True, out=spread).sqrt_().add_(param.eps)
            y.div_(spread)

    def backward(self, top, propagate_down, bottom):
        """dx = (dy - mean(dy) - y · mean(dy · y)) / (standard deviation + eps), in which eps
        counts for nothing but the last division: exact for eps = 0."""
        if not propagate_down[0]:
            return
        y, dy = top[0].read().view(self.folded), top[0].read_diff().view(self.folded)
        dx = bottom[0].write_diff().view(self.folded)
        if not self.layer_param.mvn_param.normalize_variance:
            torch.sub(dy, dy.mean(1, keepdim=True), out=dx)
            return
        along = (dy * y).mean(1, keepdim=True)
        torch.sub(dy, dy.mean(1, keepdim=True), out=dx)
        dx.addcmul_(y, along, value=-1).div_(self.spread.tensor)


@register("Reduction")
class Reduction(Layer):
    """All axes from `axis` on become one number: coeff times their SUM, ASUM (of absolute
    values), SUMSQ (of squares) or MEAN."""

    num_bottom = (1, 1)
    num_top = (1, 1)

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        param, shape = self.layer_param.reduction_param, bottom[0].shape
        axis = self.canonical_axis(param.axis, bottom[0])
        self.folded = math.prod(shape[:axis]), math.prod(shape[axis:])
        self.coeff = param.coeff
        if param.operation == param.MEAN:
            self.coeff /= max(self.folded[1], 1)
        top[0].reshape(*shape[:axis])

    def forward(self, bottom, top):
        param = self.layer_param.reduction_param
        x, y = bottom[0].read().view(self.folded), top[0].write().view(-1)
        if param.operation == param.ASUM:
            torch.linalg.vector_norm(x, 1, 1, out=y)
        elif param.operation == param.SUMSQ:
            torch.linalg.vector_norm(x, 2, 1, out=y).square_()
        else:
            torch.sum(x, 1, out=y)
        if self.coeff != 1:
            y.mul_(self.coeff)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        param = self.layer_param.reduction_param
        x, dx = bottom[0].read().view(self.folded), bottom[0].write_diff().view(self.folded)
        scale = top[0].read_diff().view(-1, 1) * self.coeff
        if param.operation == param.ASUM:
            torch.sign(x, out=dx).mul_(scale)
        elif param.operation == param.SUMSQ:
            torch.mul(x, scale * 2, out=dx)
        else:
            dx.copy_(scale.expand(self.folded))
