"""Pooling: the largest, the average or a randomly chosen element of each window."""

from __future__ import annotations

import math

import torch

from ..compute import fold_index
from ..compute.fold_index import is_channels_last
from ..compute.folding import Window, folded_shape, unfold
from ..core.blob import MAX_COUNT
from ..core.layer import TRAIN, Layer, Reads
from . import register
from ._common import Scratch
from ._pooling_by_hand import Average, ByHand, Chosen, Expected, Largest, Windows
from ._windowed import Windowed

_aten = torch.ops.aten


def window(layer: Layer, field: str, default: int | None) -> list[int]:
    """A PoolingParameter's `field` ("kernel", "stride" or "pad") as [h, w]."""
    param = layer.layer_param.pooling_param
    square = "kernel_size" if field == "kernel" else field
    has = [param.HasField(f"{field}_{a}") for a in "hw"]
    if field == "kernel" and param.HasField(square) and not all(has):
        return [param.kernel_size] * 2  # one of kernel_h and kernel_w by itself says nothing
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
class Pooling(Windowed):
    """MAX (a second top gives each maximum's index h·W + w), AVE, which divides by the window's
    area within the padded image, or STOCHASTIC (Zeiler & Fergus 2013), for elements >= 0 and
    without padding: in TRAIN each window's top is one of its elements x, chosen with probability
    x / Σx, in TEST its mean under these probabilities, Σx² / Σx (0 where Σx is not above 0).

    As Caffe's GPU kernel does, TRAIN takes the first element, row by row, at which the running
    sum reaches r·Σx, with r drawn from (0, 1]; where none does, which takes negative elements,
    the top is NaN. (BVLC Caffe has no STOCHASTIC on the CPU.)
    """

    num_bottom = (1, 1)
    num_top = (1, 2)

    def setup(self, bottom, top):
        param = self.layer_param.pooling_param
        self.max = param.pool == param.MAX
        self.stochastic = param.pool == param.STOCHASTIC
        self._can_run_again = not self.stochastic
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
        if self.stochastic and any(self.pad):
            raise self.fail("pool: STOCHASTIC goes with pad 0 only")
        self.several_tops = len(top) > 1
        self.index = Scratch(torch.int64)
        self._choose_way()

    def _choose_way(self) -> None:
        """What pools: PyTorch, which takes pads of up to half the kernel, or `by_hand`."""
        # Without a pad, the kernel may not be known yet: the bottom's size.
        self.padded = any(self.pad) and any(2 * p > k for p, k in zip(self.pad, self.kernel))
        self.by_hand: ByHand | None = None
        if self.stochastic:
            self.by_hand = (Chosen if self.phase == TRAIN else Expected)(self.index)
        elif self.padded:
            self.by_hand = (Largest if self.max else Average)(self.index)
        self.keeps_index = self.by_hand.keeps_index if self.by_hand else self.max
        reads_data = self.by_hand is not None and self.by_hand.reads_data
        self._backward_reads = Reads.ALL if reads_data else Reads.NOTHING
        self._selects = self.max and not self.by_hand and not self.several_tops

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
        if self.by_hand:
            self.by_hand.windows = Windows(self.kernel, self.stride, self.pad, self.out)
        reach = [(o - 1) * s + k for o, s, k in zip(self.out, self.stride, self.kernel)]
        if self.padded and num * channels * math.prod(reach) > MAX_COUNT:
            raise self.fail(f"pad {self.pad} makes more than {MAX_COUNT} elements of the bottom")
        in_windows = num * channels * math.prod((*self.out, *self.kernel))
        if self.stochastic and max(in_windows, num * channels * math.prod(reach)) > MAX_COUNT:
            raise self.fail(f"the windows hold more than {MAX_COUNT} elements of the bottom")
        for blob in top:
            blob.reshape(num, channels, *self.out)

    def _windows(self):
        if self.by_hand or self.several_tops:
            return None
        geometry = zip(self.kernel, self.stride, self.pad)
        return tuple(Window(k, s, edge=p) for k, s, p in geometry)

    def _reads_as_stored(self):
        return self.by_hand is None

    def _forget(self):
        self.index.release()

    def forward(self, bottom, top):
        if self.by_hand:
            self.by_hand.forward(bottom[0].read(), top[0].write())
        else:
            super().forward(bottom, top)
        if self.several_tops:
            top[1].write().copy_(self.index.tensor)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.keeps_index and top[0].count and not self.index.tensor.numel():
            raise self.fail("backward needs a forward pass before it, each time")
        if self.by_hand:
            self.by_hand.backward(top[0], bottom[0])
        else:
            super().backward(top, propagate_down, bottom)

    def compute(self, x, pad):
        if not self.max:
            return _aten.avg_pool2d(x, *self._average_geometry(pad))
        y, index = _aten.max_pool2d_with_indices(x, *self._max_geometry(pad))
        # Where it stays for long, in half the memory: no blob has more elements.
        self.index.tensor = index.int() if self._lean and self.phase == TRAIN else index
        return y

    def gradient(self, dy, x, pad, wanted):
        # PyTorch asks for the bottom's numbers, and looks at their shape alone.
        if not self.max:
            geometry = self._average_geometry(pad)
            _aten.avg_pool2d_backward.grad_input(dy, x, *geometry, grad_input=x)
            return x
        # CUDA's kernel takes the places to lie in the bottom's order, whether they do or not.
        order = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        self.index.tensor = self.index.tensor.long()
        index = self.index.tensor.contiguous(memory_format=order)
        _aten.max_pool2d_with_indices_backward.grad_input(
            dy, x, *self._max_geometry(pad), index, grad_input=x
        )
        return x

    def keep_whole(self, fold, shape):
        if self.max:
            self.index.tensor = self._whole_places(self.index.tensor.long(), fold, shape)

    def _whole_places(self, index: torch.Tensor, fold, shape) -> torch.Tensor:
        """Where in the whole bottom the maxima lie whose places in the folded one are `index`:
        windows that are equal have them at the same place within."""
        width, whole = folded_shape(shape, fold.bottom)[-1], shape[-1]
        down, right = (
            self._moved(axis, index.device) * stride
            for axis, stride in zip(fold.top.axes, self.stride)
        )
        places = unfold(index, fold.top)
        rows = places.div(width, rounding_mode="floor")
        moved = (down * whole).unsqueeze(1) + right
        return places.add_(rows, alpha=whole - width).add_(moved)

    @staticmethod
    def _moved(axis, device) -> torch.Tensor:
        """By how much each of the top's windows along an axis lies behind the one that stands for
        it where that is folded."""
        return torch.arange(axis.size, device=device) - fold_index.stand_ins(axis, device)

    def _max_geometry(self, pad):
        return self.kernel, self.stride, pad, [1, 1], self.ceil

    def _average_geometry(self, pad):
        counts_padding = True
        return self.kernel, self.stride, pad, self.ceil, counts_padding, None
