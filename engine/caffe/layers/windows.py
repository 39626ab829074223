"""Layers that lay windows over the bottom, beside Convolution and Pooling: Im2col, SPP."""

from __future__ import annotations

import itertools
import math

import torch
from torch.nn.functional import pad as pad_tensor

from ..core.blob import MAX_COUNT, Blob
from ..core.layer import Layer
from ..proto import caffe_pb2
from . import create, register
from ._common import require_own_top
from .convolution import spatial, window_places

_WITHOUT_MEANING = ("num_output", "group", "bias_term", "weight_filler", "bias_filler")


@register("Im2col")
class Im2col(Layer):
    """What a convolution multiplies its weights with: for each place of the window its elements,
    laid out along the channels, (N…, C, H…) to (N…, C·k…, out…) with `axis` that of C.

    Any number of spatial axes; `force_nd_im2col` and `engine` choose between implementations
    that give the same numbers, and there is one here.
    """

    num_bottom = (1, 1)
    num_top = (1, 1)

    def setup(self, bottom, top):
        param = self.layer_param.convolution_param
        for field in _WITHOUT_MEANING:
            if param.HasField(field):
                self.warn(f"has no weights: {field} has no effect")
        self.axis = self.canonical_axis(param.axis, bottom[0])
        self.axes = len(bottom[0].shape)
        n = self.axes - self.axis - 1
        if n < 1:
            raise self.fail(
                f"needs spatial axes behind axis {param.axis}; the bottom's shape is "
                f"{bottom[0].shape}"
            )
        self.kernel = spatial(self, "kernel_size", n)
        self.stride = spatial(self, "stride", n, 1)
        self.pad = spatial(self, "pad", n, 0)
        self.dilation = spatial(self, "dilation", n, 1)

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        shape = bottom[0].shape
        if len(shape) != self.axes:
            raise self.fail(f"was set up for {self.axes} axes; the bottom's shape is {shape}")
        self.size = shape[self.axis + 1 :]
        self.out, self.padded = [], []
        for size, k, s, p, d in zip(self.size, self.kernel, self.stride, self.pad, self.dilation):
            out, beyond = window_places(size, k, s, p, d)
            self.out.append(out)
            self.padded.append(size + 2 * p + beyond)
        if min(self.out) < 1:
            raise self.fail(
                f"the bottom's shape {shape} is too small for kernel {self.kernel}, dilation "
                f"{self.dilation}, pad {self.pad}"
            )
        outer, channels = math.prod(shape[: self.axis]), shape[self.axis]
        self.rows = outer, channels
        if outer * channels * math.prod(self.padded) > MAX_COUNT:
            raise self.fail(f"pad {self.pad} makes more than {MAX_COUNT} elements of the bottom")
        channels *= math.prod(self.kernel)
        top[0].reshape(*shape[: self.axis], channels, *self.out)

    def _columns(self, tensor: torch.Tensor) -> torch.Tensor:
        """The top under the shape (outer, C, k…, out…)."""
        return tensor.view(*self.rows, *self.kernel, *self.out)

    def forward(self, bottom, top):
        x = bottom[0].read().view(*self.rows, *self.size)
        if self.padded != list(self.size):
            amounts = [
                (p, whole - size - p) for p, whole, size in zip(self.pad, self.padded, self.size)
            ]
            x = pad_tensor(x, [amount for both in reversed(amounts) for amount in both])
        steps = x.stride()[2:]
        strides = [a * b for a, b in zip(steps, self.dilation)]
        strides += [a * b for a, b in zip(steps, self.stride)]
        windows = x.as_strided(
            (*self.rows, *self.kernel, *self.out), (*x.stride()[:2], *strides), x.storage_offset()
        )
        self._columns(top[0].write()).copy_(windows)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy = self._columns(top[0].read_diff())
        dx = bottom[0].write_diff().view(*self.rows, *self.size)
        whole = dx.zero_()
        if self.padded != list(self.size):
            whole = torch.zeros((*self.rows, *self.padded), device=dx.device)
        for place in itertools.product(*map(range, self.kernel)):
            part: list = [slice(None)] * 2
            for at, dilation, stride, out in zip(place, self.dilation, self.stride, self.out):
                start = at * dilation
                part.append(slice(start, start + (out - 1) * stride + 1, stride))
            columns: tuple = (slice(None), slice(None), *place)
            whole[tuple(part)].add_(dy[columns])
        if whole is not dx:
            inside = [slice(p, p + size) for p, size in zip(self.pad, self.size)]
            dx.copy_(whole[(slice(None), slice(None), *inside)])


@register("SPP")
class SPP(Layer):
    """Spatial pyramid pooling (He et al. 2014): level l of `pyramid_height` pools the bottom
    (N, C, H, W) into 2^l · 2^l bins, and all levels' numbers, level by level, are the top
    (N, C · Σ 4^l), whatever H and W are. With one level the top is that level, (N, C, 1, 1)."""

    num_bottom = (1, 1)
    num_top = (1, 1)

    def setup(self, bottom, top):
        self.height = self.layer_param.spp_param.pyramid_height
        if self.height < 1:
            raise self.fail("needs a pyramid_height of at least 1")
        self.made_for = None
        self.again = Blob()

    def _pooling(self, level: int, bottom: Blob) -> Layer:
        """A Pooling layer of 2^level bins along both axes, which lie side by side and cover the
        bottom and no more padding than that takes."""
        param, bins = self.layer_param.spp_param, 2**level
        made = caffe_pb2.LayerParameter(name=self.name, type="Pooling", phase=self.phase)
        pooling = made.pooling_param
        pooling.pool = pooling.PoolMethod.Value(param.PoolMethod.Name(param.pool))
        for axis, size in zip("hw", bottom.shape[2:]):
            kernel = -(-size // bins)
            pad = (kernel * bins - size + 1) // 2
            if pad >= kernel:
                raise self.fail(
                    f"pyramid_height {self.height} is too much for a bottom of shape "
                    f"{bottom.shape}: {bins} bins do not fit {size} elements"
                )
            for field, value in (("kernel", kernel), ("stride", kernel), ("pad", pad)):
                setattr(pooling, f"{field}_{axis}", value)
        return create(made, self.phase)

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        shape = bottom[0].shape
        if len(shape) != 4 or 0 in shape[2:]:
            raise self.fail(f"needs a bottom of 4 axes (N, C, H, W); its shape is {shape}")
        if shape != self.made_for:
            self.levels = []
            for level in range(self.height):
                pooling = self._pooling(level, bottom[0])
                pooled = [Blob()] if self.height > 1 else top
                pooling.setup(bottom, pooled)
                pooling.reshape(bottom, pooled)
                self.levels.append((pooling, pooled))
            self.made_for = shape
        if self.height > 1:
            top[0].reshape(shape[0], shape[1] * sum(4**level for level in range(self.height)))

    def forward(self, bottom, top):
        for pooling, pooled in self.levels:
            pooling.forward(bottom, pooled)
        if self.height > 1:
            parts = [pooled[0].read().flatten(1) for _, pooled in self.levels]
            torch.cat(parts, 1, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.height == 1:
            self.levels[0][0].backward(top, propagate_down, bottom)
            return
        # Each Pooling overwrites its bottom's diff: the second and later ones get a blob of the
        # same data and another diff, which is added.
        self.again.reshape_like(bottom[0])
        self.again.share_data(bottom[0])
        dy, start = top[0].read_diff(), 0
        for pooling, pooled in self.levels:
            diff, size = pooled[0].write_diff(), math.prod(pooled[0].shape[1:])
            diff.copy_(dy.narrow(1, start, size).view(diff.shape))
            pooling.backward(pooled, [True], [self.again] if start else bottom)
            if start:
                bottom[0].write_diff().add_(self.again.read_diff())
            start += size
