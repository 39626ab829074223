"""Ways to pool that PyTorch has no kernel for: pads of more than half the kernel, by way of a copy
that is padded, and stochastic pooling.

Each is told of the `windows` before its passes, and works on whole blobs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad as pad_tensor

from ..compute import rng
from ._common import Scratch

_aten = torch.ops.aten


@dataclass(frozen=True)
class Windows:
    """Along rows and columns: what a window spans, its stride, the padding, how many there are."""

    kernel: list[int]
    stride: list[int]
    pad: list[int]
    out: list[int]

    def padding(self, shape) -> list[int]:
        """`pad_tensor`'s amounts that make all windows fit: left, right, top, bottom."""
        amounts = []
        for i in (1, 0):
            reach = (self.out[i] - 1) * self.stride[i] + self.kernel[i]
            # A negative amount cuts off rows that no window looks at.
            amounts += [self.pad[i], reach - self.pad[i] - shape[2 + i]]
        return amounts

    def areas(self, shape, device) -> torch.Tensor:
        """Each window's area within the padded image, (out_h, out_w)."""
        sides = []
        for i in (0, 1):
            starts = torch.arange(self.out[i], device=device) * self.stride[i]
            ends = (starts + self.kernel[i]).clamp(max=shape[2 + i] + 2 * self.pad[i])
            sides.append((ends - starts).float())
        return torch.outer(*sides)

    def elements(self, x: torch.Tensor) -> torch.Tensor:
        """Each window's elements, row by row, along a new last axis; 0 outside the bottom."""
        x = pad_tensor(x, self.padding(x.shape))
        for axis, size, stride in zip((2, 3), self.kernel, self.stride):
            x = x.unfold(axis, size, stride)
        return x.flatten(4)

    def places(self, x: torch.Tensor) -> torch.Tensor:
        """Index h·W + w + 1 of each window's elements (1, 1, out…, k), 0 outside the bottom."""
        height, width = x.shape[2:]
        places = torch.arange(1, height * width + 1, device=x.device)
        return self.elements(places.view(1, 1, height, width))


class ByHand:
    """`index` is where the places of chosen elements go, h·W + w of the top's shape (int64)."""

    windows: Windows
    keeps_index = False
    reads_data = False
    """Whether backward reads the blobs' data."""

    def __init__(self, index: Scratch):
        self.index = index

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> None:
        raise NotImplementedError

    def backward(self, top, bottom) -> None:
        """For ways that keep the index: each diff goes to where its element was."""
        flat, dy = bottom.write_diff().zero_().flatten(2), top.read_diff()
        flat.scatter_add_(2, self.index.tensor.flatten(2), dy.flatten(2))


class Largest(ByHand):
    """pool: MAX with large pads."""

    keeps_index = True

    def forward(self, x, y):
        windows, index = self.windows, self.index(y.shape, y.device)
        padded = pad_tensor(x, windows.padding(x.shape), value=float("-inf"))
        _aten.max_pool2d_with_indices.out(
            padded, windows.kernel, windows.stride, [0, 0], [1, 1], False, out=y, indices=index
        )
        width = padded.shape[3]
        row = index.div(width, rounding_mode="floor").sub_(windows.pad[0])
        index.remainder_(width).sub_(windows.pad[1]).add_(row, alpha=x.shape[3])


class Average(ByHand):
    """pool: AVE with large pads."""

    def forward(self, x, y):
        padded = pad_tensor(x, self.windows.padding(x.shape))
        _aten.avg_pool2d.out(padded, *self._geometry(), out=y)
        y.div_(self.windows.areas(x.shape, y.device))

    def backward(self, top, bottom):
        windows, shape, dy = self.windows, bottom.shape, top.read_diff()
        left, right, above, below = windows.padding(shape)
        # PyTorch asks for the padded bottom's numbers, and looks at their shape alone.
        padded = dy.new_empty(*shape[:2], shape[2] + above + below, shape[3] + left + right)
        dy = dy / windows.areas(shape, dy.device)
        spread = _aten.avg_pool2d_backward(dy, padded, *self._geometry())
        bottom.write_diff().copy_(pad_tensor(spread, [-left, -right, -above, -below]))

    def _geometry(self):
        return self.windows.kernel, self.windows.stride, [0, 0], False, True, 1


class Chosen(ByHand):
    """pool: STOCHASTIC in TRAIN."""

    keeps_index = True

    def __init__(self, index: Scratch):
        super().__init__(index)
        self.draws = Scratch()

    def forward(self, x, y):
        sums = self.windows.elements(x).cumsum(4)
        places = self.windows.places(x).expand(sums.shape)
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


class Expected(ByHand):
    """pool: STOCHASTIC in TEST."""

    reads_data = True

    def forward(self, x, y):
        windows = self.windows.elements(x)
        total = windows.sum(4)
        torch.div(windows.square().sum(4), total, out=y).masked_fill_(total <= 0, 0)

    def backward(self, top, bottom):
        """The derivative of Σx² / Σx: (2x - Σx² / Σx) / Σx."""
        x, y, dy, dx = bottom.read(), top.read(), top.read_diff(), bottom.write_diff()
        windows = self.windows.elements(x)
        total = windows.sum(4)
        scale = (dy / total).masked_fill_(total <= 0, 0).unsqueeze(4)
        slopes = (2 * windows - y.unsqueeze(4)).mul_(scale)
        spread = dx.new_zeros((*x.shape[:2], x.shape[2] * x.shape[3] + 1))
        spread.index_add_(2, self.windows.places(x).flatten(), slopes.flatten(2))
        dx.copy_(spread[:, :, 1:].reshape(dx.shape))
