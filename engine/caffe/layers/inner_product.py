"""InnerProduct: a matrix times all axes from `axis` on, plus a bias."""

from __future__ import annotations

import math

import torch

from ..core.layer import Layer
from . import register
from ._common import add_params, adds_to


@register("InnerProduct")
class InnerProduct(Layer):
    """Weights (outputs, inputs), or (inputs, outputs) with `transpose`."""

    num_bottom = (1, 1)
    num_top = (1, 1)
    _can_run_again = True

    def setup(self, bottom, top):
        param = self.layer_param.inner_product_param
        self.outputs = param.num_output
        if self.outputs < 1:
            raise self.fail("needs a num_output of at least 1")
        axis = self.canonical_axis(param.axis, bottom[0])
        self.inputs = math.prod(bottom[0].shape[axis:])
        shape = (self.outputs, self.inputs)
        params: list[tuple] = [
            ("weight", shape[::-1] if param.transpose else shape, param.weight_filler)
        ]
        if param.bias_term:
            params.append(("bias", (self.outputs,), param.bias_filler))
        add_params(self, *params)

    def reshape(self, bottom, top):
        axis = self.canonical_axis(self.layer_param.inner_product_param.axis, bottom[0])
        shape = bottom[0].shape
        if math.prod(shape[axis:]) != self.inputs:
            raise self.fail(
                f"was set up for {self.inputs} inputs from axis {axis} on; "
                f"the bottom's shape is {shape}"
            )
        top[0].reshape(*shape[:axis], self.outputs)

    def _weight(self) -> torch.Tensor:
        """(outputs, inputs), whichever way it is stored."""
        weight = self.blobs[0].read()
        return weight.t() if self.layer_param.inner_product_param.transpose else weight

    def forward(self, bottom, top):
        x = bottom[0].read().view(-1, self.inputs)
        y = top[0].write().view(-1, self.outputs)
        if len(self.blobs) > 1:
            torch.addmm(self.blobs[1].read(), x, self._weight().t(), out=y)
        else:
            torch.mm(x, self._weight().t(), out=y)

    def backward(self, top, propagate_down, bottom):
        dy = top[0].read_diff().view(-1, self.outputs)
        if adds_to(self, 0):
            x, dweight = bottom[0].read().view(-1, self.inputs), self.blobs[0].write_diff()
            if self.layer_param.inner_product_param.transpose:
                dweight.addmm_(x.t(), dy)
            else:
                dweight.addmm_(dy.t(), x)
        if adds_to(self, 1):
            self.blobs[1].write_diff().add_(dy.sum(0))
        if propagate_down[0]:
            dx = bottom[0].write_diff().view(-1, self.inputs)
            torch.mm(dy, self._weight(), out=dx)
