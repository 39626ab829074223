"""Softmax along an axis."""

from __future__ import annotations

import torch

from . import register
from ._plain import Plain

_aten = torch.ops.aten


@register("Softmax")
class Softmax(Plain):
    def reshape(self, bottom, top):
        self.axis = self.canonical_axis(self.layer_param.softmax_param.axis, bottom[0])
        super().reshape(bottom, top)

    def compute(self, x, out):
        _aten._softmax.out(x, self.axis, False, out=out)

    def gradient(self, dy, y, out):
        _aten._softmax_backward_data.out(dy, y, self.axis, torch.float32, grad_input=out)
