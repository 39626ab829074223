"""Convolution with 3×3 weights, stride 1, in a quarter of the multiplications.

Winograd's minimal filtering F(4×4, 3×3) (Lavin & Gray 2015, "Fast Algorithms for Convolutional
Neural Networks"): a tile of 6×6 elements and the weights are evaluated as polynomials at the
points 0, ±a, ±b, ∞ along each axis, multiplied there, 36 products for 16 sums of 9, and
interpolated. With a = 1/√2, b = √2 (and not 1 and 2) the rounding errors are those of the plain
sum: the tests measure them against float64.

Tensors are float32 of shape (N, C, H, W) and their channels are best last in memory, as those of
the results are. A value that is not finite makes its whole tile of results NaN.
"""

from __future__ import annotations

import math

import torch

from . import device

A, B = 0.5**0.5, 2.0**0.5
_AA, _BB = A * A, B * B
TILE, SEEN = 4, 6
"""Results of a tile, and elements of the bottom it sees, along each axis."""
_AT_ONCE = 256
"""Tiles worked on at once: their 36 values per channel should stay in the cache."""


def _weight_values() -> torch.Tensor:
    """(36, 9): what weights 3×3 are at the points, divided by the product of the differences to
    the other points."""
    points = [0.0, A, -A, B, -B]
    rows = []
    for p in points:
        others = 1.0
        for q in points:
            others *= p - q if q != p else 1.0
        rows.append([1 / others, p / others, p * p / others])
    rows.append([0.0, 0.0, 1.0])
    one = torch.tensor(rows, dtype=torch.float64)
    return torch.einsum("ia,jb->ijab", one, one).reshape(SEEN**2, 9).float()


_WEIGHT_VALUES = _weight_values()


def _see(d, out) -> None:
    """Six elements along an axis at the points: Bᵀd, d and out indexed by 0 ... 5."""
    add = torch.add
    even, odd = add(d[4], d[2], alpha=-_BB), add(d[3], d[1], alpha=-_BB)
    add(even, odd, alpha=A, out=out[1])
    add(even, odd, alpha=-A, out=out[2])
    add(d[4], d[2], alpha=-_AA, out=even)
    add(d[3], d[1], alpha=-_AA, out=odd)
    add(even, odd, alpha=B, out=out[3])
    add(even, odd, alpha=-B, out=out[4])
    add(d[4], d[2], alpha=-_AA - _BB, out=out[0]).add_(d[0], alpha=_AA * _BB)
    add(d[5], d[3], alpha=-_AA - _BB, out=out[5]).add_(d[1], alpha=_AA * _BB)


def _interpolate(m, out) -> None:
    """Four sums along an axis from their values m at the points: Aᵀm."""
    even, odd = m[1] + m[2], m[1] - m[2]
    even_b, odd_b = m[3] + m[4], m[3] - m[4]
    torch.add(m[0], even, out=out[0]).add_(even_b)
    torch.mul(odd, A, out=out[1]).add_(odd_b, alpha=B)
    torch.mul(even, _AA, out=out[2]).add_(even_b, alpha=_BB)
    torch.add(m[5], odd, alpha=A**3, out=out[3]).add_(odd_b, alpha=B**3)


def _spread(y, out) -> None:
    """Four gradients along an axis at the points: A·y, the adjoint of `_interpolate`."""
    out[0].copy_(y[0])
    out[5].copy_(y[3])
    for point, square, k in ((A, _AA, 1), (B, _BB, 3)):
        even, odd = torch.add(y[0], y[2], alpha=square), torch.add(y[1], y[3], alpha=square)
        torch.add(even, odd, alpha=point, out=out[k])
        torch.add(even, odd, alpha=-point, out=out[k + 1])


def tiles(height: int, width: int) -> tuple[int, int]:
    """How many tiles lie side by side over a top of this size."""
    return -(-height // TILE), -(-width // TILE)


def _strips(height: int, width: int):
    """Rows of tiles to work on at once: (first row of tiles, rows of tiles, tiles in a row)."""
    rows, columns = tiles(height, width)
    step = max(1, _AT_ONCE // columns)
    for first in range(0, step if device.imagines() else rows, step):  # all use the same room
        yield first, min(step, rows - first), columns


class _Room:
    """Memory that each strip uses again, by name."""

    def __init__(self, like: torch.Tensor):
        self._like = like
        self._flat: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        count = math.prod(shape)
        if name not in self._flat or self._flat[name].numel() < count:
            self._flat[name] = self._like.new_empty(count)
        return self._flat[name][:count].view(shape)


def _part(image: torch.Tensor, top: int, left: int, into: torch.Tensor) -> torch.Tensor:
    """Copy the part of `image` (H, W, C) that begins at (top, left) into `into`, with zeros where
    it sticks out."""
    height, width, _ = into.shape
    rows, columns, _ = image.shape
    part = image[max(top, 0) : min(top + height, rows), max(left, 0) : min(left + width, columns)]
    inside = into[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
    if inside.shape != into.shape:
        into.zero_()
    inside.copy_(part)
    return into


def _seen(image: torch.Tensor, pad, strip, room: _Room) -> torch.Tensor:
    """What the tiles of a strip see of `image` (H, W, C), at the points: (36, tiles, C)."""
    first, rows, columns = strip
    channels = image.shape[2]
    height, width = rows * TILE + 2, columns * TILE + 2
    into = room("part", height, width, channels)
    part = _part(image, first * TILE - pad[0], -pad[1], into)
    across = room("across", SEEN, height, columns, channels)
    _see([part[:, j : j + width - 5 : TILE] for j in range(SEEN)], across)
    both = room("both", SEEN, SEEN, rows, columns, channels)
    _see([across[:, i : i + height - 5 : TILE] for i in range(SEEN)], both)
    return both.view(SEEN**2, rows * columns, channels)


def convolve(x, weight, bias, pad) -> torch.Tensor:
    """Cross-correlation of x (N, C, H, W), padded by `pad` (rows, columns) zeros, with weight
    (K, C, 3, 3), and a bias (K) or None: (N, K, H + 2·pad - 2, W + 2·pad - 2)."""
    count, _, *size = x.shape
    height, width = (n + 2 * p - 2 for n, p in zip(size, pad))
    outputs, room = weight.shape[0], _Room(x)
    values = (_WEIGHT_VALUES @ weight.reshape(-1, 9).t()).view(SEEN**2, outputs, -1)
    made = x.new_empty(count, height, width, outputs)
    for image, y in zip(x.permute(0, 2, 3, 1), made):
        for strip in _strips(height, width):
            first, rows, columns = strip
            at_points = room("at points", SEEN**2, rows * columns, outputs)
            torch.bmm(_seen(image, pad, strip, room), values.transpose(1, 2), out=at_points)
            down = room("down", TILE, SEEN, rows, columns, outputs)
            _interpolate(at_points.view(SEEN, SEEN, rows, columns, outputs), down)
            found = room("found", rows, TILE, columns, TILE, outputs)
            _interpolate(down.transpose(0, 1), found.permute(3, 1, 0, 2, 4))
            place = y[first * TILE : (first + rows) * TILE]
            found = found.view(rows * TILE, columns * TILE, outputs)[: len(place), :width]
            torch.add(found, bias, out=place) if bias is not None else place.copy_(found)
    return made.permute(0, 3, 1, 2)


def bottom_gradient(dy, weight, pad) -> torch.Tensor:
    """The gradient of `convolve`'s x from that of its result."""
    turned = weight.flip(2, 3).transpose(0, 1)
    return convolve(dy, turned, None, [2 - p for p in pad])


def weight_gradient(dy, x, pad) -> torch.Tensor:
    """The gradient (K, C, 3, 3) of `convolve`'s weight from that of its result."""
    outputs, height, width = dy.shape[1:]
    channels = x.shape[1]
    total, room = x.new_zeros(SEEN**2, outputs, channels), _Room(x)
    for image, gradient in zip(x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)):
        for strip in _strips(height, width):
            first, rows, columns = strip
            seen = _seen(image, pad, strip, room)
            into = room("gradients", rows * TILE, columns * TILE, outputs)
            part = _part(gradient, first * TILE, 0, into).view(rows, TILE, columns, TILE, outputs)
            across = room("gradients across", SEEN, rows, TILE, columns, outputs)
            _spread(part.permute(3, 0, 1, 2, 4), across)
            at_points = room("at points", SEEN, SEEN, rows, columns, outputs)
            _spread(across.permute(2, 0, 1, 3, 4), at_points)
            at_points = at_points.view(SEEN**2, rows * columns, outputs)
            torch.baddbmm(total, at_points.transpose(1, 2), seen, out=total)
    found = (_WEIGHT_VALUES.t() @ total.view(SEEN**2, -1)).view(3, 3, outputs, channels)
    return found.permute(2, 3, 0, 1).contiguous()
