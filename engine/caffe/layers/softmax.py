"""Softmax along an axis."""

from __future__ import annotations

import torch

from ..core.layer import Layer
from . import register

_aten = torch.ops.aten


@register("Softmax")
class Softmax(Layer):
    num_bottom = (1, 1)
    num_top = (1, 1)
    _repeats = True

    def reshape(self, bottom, top):
        self.axis = self.canonical_axis(self.layer_param.softmax_param.axis, bottom[0])
        top[0].reshape_like(bottom[0])

    def forward(self, bottom, top):
        _aten._softmax.out(bottom[0].read(), self.axis, False, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dy, y = top[0].read_diff(), top[0].read()
            _aten._softmax_backward_data.out(
                dy, y, self.axis, torch.float32, grad_input=bottom[0].write_diff()
            )
