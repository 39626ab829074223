"""Eltwise: the product, weighted sum or maximum of bottoms of one shape."""

from __future__ import annotations

import torch

from ..core.layer import Layer, Reads
from . import register
from ._common import Scratch, require_own_top, require_same_shape


@register("Eltwise")
class Eltwise(Layer):
    num_bottom = (2, None)
    num_top = (1, 1)
    _can_run_again = True

    def setup(self, bottom, top):
        param = self.layer_param.eltwise_param
        self.operation = param.EltwiseOp.Name(param.operation)
        self.stable = param.stable_prod_grad
        self._backward_reads = Reads.ALL if self.operation == "PROD" else Reads.NOTHING
        if param.coeff and self.operation != "SUM":
            raise self.fail(f"coeff goes with operation: SUM, not {self.operation}")
        if len(param.coeff) not in (0, len(bottom)):
            raise self.fail(f"has {len(param.coeff)} coeffs for {len(bottom)} bottoms")
        self.coeff = list(param.coeff) or [1.0] * len(bottom)
        self.winner = Scratch(torch.int32)

    def reshape(self, bottom, top):
        require_same_shape(self, bottom)
        require_own_top(self, bottom, top)
        top[0].reshape_like(bottom[0])

    def forward(self, bottom, top):
        y, x = top[0].write(), [b.read() for b in bottom]
        if self.operation == "MAX":
            return self._forward_max(x, y)
        if self.operation == "PROD":
            torch.mul(x[0], x[1], out=y)
            for other in x[2:]:
                y.mul_(other)
            return None
        if self.coeff[0] == 1:
            torch.add(x[0], x[1], alpha=self.coeff[1], out=y)
        else:
            torch.mul(x[0], self.coeff[0], out=y)
            y.add_(x[1], alpha=self.coeff[1])
        for other, coeff in zip(x[2:], self.coeff[2:]):
            y.add_(other, alpha=coeff)
        return None

    def _forward_max(self, x, y):
        """Ties: the second bottom wins over the first, and either over all later ones."""
        winner = self.winner(y.shape, y.device)
        torch.le(x[0], x[1], out=winner)
        torch.maximum(x[0], x[1], out=y)
        for i, other in enumerate(x[2:], 2):
            winner.masked_fill_(other > y, i)
            torch.maximum(y, other, out=y)

    def backward(self, top, propagate_down, bottom):
        dy = top[0].read_diff()
        for i, wanted in enumerate(propagate_down):
            if not wanted:
                continue
            dx = bottom[i].write_diff()
            if self.operation == "SUM":
                if self.coeff[i] == 1:
                    dx.copy_(dy)
                else:
                    torch.mul(dy, self.coeff[i], out=dx)
            elif self.operation == "MAX":
                torch.mul(dy, self.winner.tensor == i, out=dx)
            elif self.stable:
                others = [b.read() for j, b in enumerate(bottom) if j != i]
                torch.mul(dy, others[0], out=dx)
                for other in others[1:]:
                    dx.mul_(other)
            else:
                # Caffe's faster form, which is not a number where the bottom is 0.
                torch.div(top[0].read(), bottom[i].read(), out=dx)
                dx.mul_(dy)
