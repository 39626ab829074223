"""Pooling: the largest, the average or a randomly chosen element of each window."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import pad as pad_tensor

from ..compute import fold_index, rng
from ..compute.fold_index import is_channels_last
from ..compute.folding import Window, folded_shape, like, unfold
from ..core.blob import MAX_COUNT
from ..core.layer import TRAIN, Layer
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
        self._repeats = not self.stochastic
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
        self.draws = Scratch()

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
        self._can_mask = self.max and self.direct and not self.several_tops
        reach = [(o - 1) * s + k for o, s, k in zip(self.out, self.stride, self.kernel)]
        if not self.direct and num * channels * math.prod(reach) > MAX_COUNT:
            raise self.fail(f"pad {self.pad} makes more than {MAX_COUNT} elements of the bottom")
        in_windows = num * channels * math.prod((*self.out, *self.kernel))
        if self.stochastic and max(in_windows, num * channels * math.prod(reach)) > MAX_COUNT:
            raise self.fail(f"the windows hold more than {MAX_COUNT} elements of the bottom")
        for blob in top:
            blob.reshape(num, channels, *self.out)

    def _read_backward(self, bottom, top):
        if self._masks:
            return top
        return [] if self.max and self.direct else [*bottom, *top]

    def _windows(self):
        if not self.direct or self.stochastic or self.several_tops:
            return None
        geometry = zip(self.kernel, self.stride, self.pad)
        return tuple(Window(k, s, edge=p) for k, s, p in geometry)

    def forward(self, bottom, top):
        if self.direct and not self.stochastic:
            self._direct(bottom, top)
        elif self.max:
            x, y = bottom[0].read(), top[0].write()
            self._max_padded(x, y, self.index(y.shape, y.device))
        elif self.stochastic:
            x, y = bottom[0].read(), top[0].write()
            self._choose(x, y) if self.phase == TRAIN else self._expect(x, y)
        else:
            padded = pad_tensor(bottom[0].read(), self._padding(bottom[0].shape))
            y = top[0].write()
            _aten.avg_pool2d.out(padded, self.kernel, self.stride, [0, 0], False, True, 1, out=y)
            y.div_(self._areas(bottom[0].shape, y.device))
        if len(top) > 1:
            top[1].write().copy_(self.index.tensor)
        if self.max and self.direct and self._lean:
            self._keep_less()

    def _keep_less(self) -> None:
        """No places of the maxima where there is no backward pass, else in half the memory."""
        if self.phase == TRAIN:
            self.index.tensor = self.index.tensor.int()  # no blob has more elements
        else:
            self.index.release()

    def _direct(self, bottom, top) -> None:
        fold = self._fold_now(0, bottom[0])
        x = bottom[0].take(fold.bottom if fold else None)
        if self.max:
            y, self.index.tensor = _aten.max_pool2d_with_indices(x, *self._torch_geometry())
        else:
            y = _aten.avg_pool2d(x, *self._average_geometry())
        top[0].give(y, fold.top if fold else None)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        if self.direct and not self.stochastic:
            self._direct_backward(top, bottom)
        elif self.max or (self.stochastic and self.phase == TRAIN):
            flat, dy = bottom[0].write_diff().zero_().flatten(2), top[0].read_diff()
            flat.scatter_add_(2, self.index.tensor.flatten(2), dy.flatten(2))
        elif self.stochastic:
            x, y, dy = bottom[0].read(), top[0].read(), top[0].read_diff()
            self._expect_backward(x, y, dy, bottom[0].write_diff())
        else:
            shape, dy = bottom[0].shape, top[0].read_diff()
            padded = pad_tensor(bottom[0].read(), self._padding(shape))
            spread = _aten.avg_pool2d_backward(
                dy / self._areas(shape, dy.device), padded, self.kernel, self.stride, [0, 0],
                False, True, 1,
            )  # fmt: skip
            dx = pad_tensor(spread, [-amount for amount in self._padding(shape)])
            bottom[0].write_diff().copy_(dx)

    def _direct_backward(self, top, bottom) -> None:
        if self.max and not self.index.tensor.numel():
            raise self.fail("backward needs a forward pass before it, each time")
        self.index.tensor = self.index.tensor.long()
        made = self._made.get(0)
        fold = made if self._lean else None
        if self.max and made is not None and fold is None:
            self.index.tensor = self._whole_places(self.index.tensor, made, bottom[0].shape)
            self._made[0] = None
        dy = top[0].take_diff(fold.top if fold else None)
        if self._masks:
            y = top[0].take(fold.top if fold else None)
            dy = _aten.threshold_backward(dy, y, 0)
        # PyTorch asks for the bottom's numbers, and looks at their shape alone.
        dx = like(dy, folded_shape(bottom[0].shape, fold.bottom if fold else None))
        if self.max:
            # CUDA's kernel takes the places to lie in the bottom's order, whether they do or not.
            order = torch.channels_last if is_channels_last(dx) else torch.contiguous_format
            index = self.index.tensor.contiguous(memory_format=order)
            _aten.max_pool2d_with_indices_backward.grad_input(
                dy, dx, *self._torch_geometry(), index, grad_input=dx
            )
        else:
            _aten.avg_pool2d_backward.grad_input(dy, dx, *self._average_geometry(), grad_input=dx)
        if self._lean:
            self.index.release()
        bottom[0].give_diff(dx, fold.bottom if fold else None)

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

    def _torch_geometry(self):
        return self.kernel, self.stride, self.pad, [1, 1], self.ceil

    def _average_geometry(self):
        counts_padding = True
        return self.kernel, self.stride, self.pad, self.ceil, counts_padding, None

    def _padding(self, shape) -> list[int]:
        """`pad_tensor`'s amounts that make all windows fit: left, right, top, bottom."""
        amounts = []
        for i in (1, 0):
            reach = (self.out[i] - 1) * self.stride[i] + self.kernel[i]
            # A negative amount cuts off rows that no window looks at.
            amounts += [self.pad[i], reach - self.pad[i] - shape[2 + i]]
        return amounts

    def _areas(self, shape, device) -> torch.Tensor:
        """Each window's area within the padded image, (out_h, out_w)."""
        sides = []
        for i in (0, 1):
            starts = torch.arange(self.out[i], device=device) * self.stride[i]
            ends = (starts + self.kernel[i]).clamp(max=shape[2 + i] + 2 * self.pad[i])
            sides.append((ends - starts).float())
        return torch.outer(*sides)

    def _max_padded(self, x, y, index):
        padded = pad_tensor(x, self._padding(x.shape), value=float("-inf"))
        _aten.max_pool2d_with_indices.out(
            padded, self.kernel, self.stride, [0, 0], [1, 1], False, out=y, indices=index
        )
        width = padded.shape[3]
        row = index.div(width, rounding_mode="floor").sub_(self.pad[0])
        index.remainder_(width).sub_(self.pad[1]).add_(row, alpha=x.shape[3])

    def _elements(self, x: torch.Tensor) -> torch.Tensor:
        """Each window's elements, row by row, along a new last axis; 0 outside the bottom."""
        x = pad_tensor(x, self._padding(x.shape))
        for axis, size, stride in zip((2, 3), self.kernel, self.stride):
            x = x.unfold(axis, size, stride)
        return x.flatten(4)

    def _places(self, x: torch.Tensor) -> torch.Tensor:
        """Index h·W + w + 1 of each window's elements (1, 1, out…, k), 0 outside the bottom."""
        height, width = x.shape[2:]
        places = torch.arange(1, height * width + 1, device=x.device)
        return self._elements(places.view(1, 1, height, width))

    def _choose(self, x, y) -> None:
        sums = self._elements(x).cumsum(4)
        places = self._places(x).expand(sums.shape)
        total = sums.gather(4, places.argmax(4, keepdim=True))  # at the last one that is inside
        draws = self.draws(y.shape, y.device)
        draws.uniform_(generator=rng.generator(y.device)).neg_().add_(1)  # (0, 1]: 0 is no chance
        # A GPU's running sums may rise by rounding where nothing is added.
        reached = (sums >= draws.unsqueeze(4) * total).logical_and_(places > 0)
        chosen = reached.byte().argmax(4, keepdim=True)
        index = self.index(y.shape, y.device)
        index.copy_(places.gather(4, chosen).squeeze(4)).sub_(1)
        y.copy_(x.flatten(2).gather(2, index.flatten(2)).view(y.shape))
        y.masked_fill_(~reached.any(4), float("nan"))

    def _expect(self, x, y) -> None:
        windows = self._elements(x)
        total = windows.sum(4)
        torch.div(windows.square().sum(4), total, out=y).masked_fill_(total <= 0, 0)

    def _expect_backward(self, x, y, dy, dx) -> None:
        """The derivative of Σx² / Σx: (2x - Σx² / Σx) / Σx."""
        windows = self._elements(x)
        total = windows.sum(4)
        scale = (dy / total).masked_fill_(total <= 0, 0).unsqueeze(4)
        slopes = (2 * windows - y.unsqueeze(4)).mul_(scale)
        spread = dx.new_zeros((*x.shape[:2], x.shape[2] * x.shape[3] + 1))
        spread.index_add_(2, self._places(x).flatten(), slopes.flatten(2))
        dx.copy_(spread[:, :, 1:].reshape(dx.shape))
