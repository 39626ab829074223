"""A base for layers that make one top of one bottom of the same shape, on plain tensors."""

from __future__ import annotations

import torch

from ..core.layer import Layer


class Plain(Layer):
    """A subclass writes `compute` and `gradient`; both get float32 tensors of the bottom's shape,
    on the current device, and may work in place: `out` can be the tensor that is read."""

    num_bottom = (1, 1)
    num_top = (1, 1)
    _repeats = True

    def reshape(self, bottom, top):
        top[0].reshape_like(bottom[0])

    def compute(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """Write the top of the bottom `x` into `out`."""
        raise NotImplementedError

    def gradient(self, dy: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> None:
        """Write the bottom's gradient into `out`, of the top's gradient `dy` and the top `y`."""
        raise NotImplementedError

    def forward(self, bottom, top):
        self.compute(bottom[0].read(), top[0].write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            self.gradient(top[0].read_diff(), top[0].read(), bottom[0].write_diff())
