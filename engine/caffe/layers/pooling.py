"""Pooling: the largest or the average element of each window."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import pad as pad_tensor

from ..blob import MAX_COUNT
from ..layer import Layer
from . import register
from ._common import Scratch

_aten = torch.ops.aten


def window(layer: Layer, field: str, default: int | None) -> list[int]:
    """A PoolingParameter's `field` ("kernel", "stride" or "pad") as [h, w]."""
    param = layer.layer_param.pooling_param
    square = "kernel_size" if field == "kernel" else field
    has = [param.HasField(f"{field}_{a}") for a in "hw"]
    if any(has):
        if param.HasField(square):
            raise layer.fail(f"give either {square} or {field}_h and {field}_w, not both")
        if not all(has):
            raise layer.fail(f"needs both {field}_h and {field}_w")
        return [getattr(param, f"{field}_{a}") for a in "hw"]
    if default is None and not param.HasField(square):
        raise layer.fail("needs a kernel_size, or kernel_h and kernel_w")
    return [getattr(param, square)] * 2


def pooled_size(size: int, kernel: int, stride: int, pad: int, ceil: bool) -> int:
    """How many windows Caffe lays along an axis: rounded up by default, less a last one that
    would start beyond the image and its left padding (only where there is padding)."""
    room = size + 2 * pad - kernel
    count = (-(-room // stride) if ceil else room // stride) + 1
    if pad and (count - 1) * stride >= size + pad:
        count -= 1
    return count


@register("Pooling")
class Pooling(Layer):
    """MAX (a second top gives each maximum's index h·W + w) or AVE, which divides by the
    window's area within the padded image."""

    num_bottom = (1, 1)
    num_top = (1, 2)

    def setup(self, bottom, top):
        param = self.layer_param.pooling_param
        self.max = param.pool == param.MAX
        if param.pool == param.STOCHASTIC:
            raise self.fail("pool: STOCHASTIC is not there; use MAX or AVE")
        if len(top) > 1 and not self.max:
            raise self.fail("only pool: MAX has a second top")
        self._require_4_axes(bottom[0])
        if param.global_pooling:
            if any(param.HasField(f) for f in ("kernel_size", "kernel_h", "kernel_w")):
                raise self.fail("global_pooling takes the bottom's size; give no kernel")
        else:
            self.kernel = window(self, "kernel", None)
        self.stride = window(self, "stride", 1)
        self.pad = window(self, "pad", 0)
        if param.global_pooling and (self.pad != [0, 0] or self.stride != [1, 1]):
            raise self.fail("global_pooling goes with pad 0 and stride 1")
        if min(self.stride) < 1 or (not param.global_pooling and min(self.kernel) < 1):
            raise self.fail("kernel and stride must be at least 1")
        if not param.global_pooling and any(p >= k for p, k in zip(self.pad, self.kernel)):
            raise self.fail(f"pad {self.pad} must be smaller than the kernel {self.kernel}")
        self.index = Scratch(torch.int64)

    def _require_4_axes(self, blob):
        if len(blob.shape) != 4:
            raise self.fail(f"needs a bottom of 4 axes (N, C, H, W); its shape is {blob.shape}")

    def reshape(self, bottom, top):
        self._require_4_axes(bottom[0])
        num, channels, *size = bottom[0].shape
        param = self.layer_param.pooling_param
        if param.global_pooling:
            self.kernel = size
        self.ceil = param.round_mode == param.CEIL
        geometry = list(zip(size, self.kernel, self.stride, self.pad))
        self.out = [pooled_size(*g, self.ceil) for g in geometry]
        if min(self.out) < 1:
            raise self.fail(f"the bottom's shape {bottom[0].shape} is too small for {self.kernel}")
        if any((o - 1) * s >= n + p for (n, _, s, p), o in zip(geometry, self.out)):
            raise self.fail(
                f"stride {self.stride} leaves a window outside the bottom's shape "
                f"{bottom[0].shape}; use a smaller stride or round_mode: FLOOR"
            )
        # PyTorch's pooling takes pads of up to half the kernel; larger ones go by way of a copy
        # padded by hand.
        self.direct = all(2 * p <= k for p, k in zip(self.pad, self.kernel))
        reach = [(o - 1) * s + k for o, s, k in zip(self.out, self.stride, self.kernel)]
        if not self.direct and num * channels * math.prod(reach) > MAX_COUNT:
            raise self.fail(f"pad {self.pad} makes more than {MAX_COUNT} elements of the bottom")
        for blob in top:
            blob.reshape(num, channels, *self.out)

    def forward(self, bottom, top):
        x, y = bottom[0].read(), top[0].write()
        if self.max:
            index = self.index(y.shape, y.device)
            if self.direct:
                _aten.max_pool2d_with_indices.out(x, *self._torch_geometry(), out=y, indices=index)
            else:
                self._max_padded(x, y, index)
            if len(top) > 1:
                top[1].write().copy_(index)
        elif self.direct:
            _aten.avg_pool2d.out(x, *self._average_geometry(), out=y)
        else:
            padded = pad_tensor(x, self._padding(x))
            _aten.avg_pool2d.out(padded, self.kernel, self.stride, [0, 0], False, True, 1, out=y)
            y.div_(self._areas(x))

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        x, dy, dx = bottom[0].read(), top[0].read_diff(), bottom[0].write_diff()
        if self.max and self.direct:
            _aten.max_pool2d_with_indices_backward.grad_input(
                dy, x, *self._torch_geometry(), self.index.tensor, grad_input=dx
            )
        elif self.max:
            flat = dx.zero_().flatten(2)
            flat.scatter_add_(2, self.index.tensor.flatten(2), dy.flatten(2))
        elif self.direct:
            _aten.avg_pool2d_backward.grad_input(dy, x, *self._average_geometry(), grad_input=dx)
        else:
            padded = pad_tensor(x, self._padding(x))
            spread = _aten.avg_pool2d_backward(
                dy / self._areas(x), padded, self.kernel, self.stride, [0, 0], False, True, 1
            )
            dx.copy_(pad_tensor(spread, [-amount for amount in self._padding(x)]))

    def _torch_geometry(self):
        return self.kernel, self.stride, self.pad, [1, 1], self.ceil

    def _average_geometry(self):
        counts_padding = True
        return self.kernel, self.stride, self.pad, self.ceil, counts_padding, None

    def _padding(self, x) -> list[int]:
        """`pad_tensor`'s amounts that make all windows fit: left, right, top, bottom."""
        amounts = []
        for i in (1, 0):
            reach = (self.out[i] - 1) * self.stride[i] + self.kernel[i]
            # A negative amount cuts off rows that no window looks at.
            amounts += [self.pad[i], reach - self.pad[i] - x.shape[2 + i]]
        return amounts

    def _areas(self, x) -> torch.Tensor:
        """Each window's area within the padded image, (out_h, out_w)."""
        sides = []
        for i in (0, 1):
            starts = torch.arange(self.out[i], device=x.device) * self.stride[i]
            ends = (starts + self.kernel[i]).clamp(max=x.shape[2 + i] + 2 * self.pad[i])
            sides.append((ends - starts).float())
        return torch.outer(*sides)

    def _max_padded(self, x, y, index):
        padded = pad_tensor(x, self._padding(x), value=float("-inf"))
        _aten.max_pool2d_with_indices.out(
            padded, self.kernel, self.stride, [0, 0], [1, 1], False, out=y, indices=index
        )
        width = padded.shape[3]
        row = index.div(width, rounding_mode="floor").sub_(self.pad[0])
        index.remainder_(width).sub_(self.pad[1]).add_(row, alpha=x.shape[3])
