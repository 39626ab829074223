"""Convolution with any number of axes before the channels and of spatial axes behind them.

The library, and `convolve`, know one axis before them and one to three behind. All before become
one; without any behind, one of size 1 is put there; more than three are summed up from
convolutions of one less. Along an axis with a dilation of 0 all taps lie on one element: their sum.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad as pad_tensor

from . import convolve as library
from .convolve import Geometry

_MOST = 3  # spatial axes that the library knows


def convolve(x, weight, bias, geometry: Geometry) -> torch.Tensor:
    """Cross-correlation of x (…, C, spatial axes) with weight, plus a bias (K) or None; as many
    spatial axes as `geometry` has strides."""
    n = len(geometry.stride)
    if 0 in geometry.dilation:
        weight, geometry = _summed(weight, geometry)
    if x.dim() == n + 2 and 1 <= n <= _MOST:
        return library.convolve(x, weight, bias, geometry)
    y = _convolve(_rows(x, n), _taps(weight, n), bias, _at_least_one(geometry))
    return y.view(*x.shape[: x.dim() - n - 1], *y.shape[1 : n + 2])


def gradients(dy, x, weight, geometry: Geometry, wants: list[bool]):
    """The gradients of x, weight and bias from that of the result, None for those that `wants`
    leaves out. Where only x's is wanted, x's values do not matter."""
    n = len(geometry.stride)
    if 0 in geometry.dilation:
        dx, dweight, dbias = gradients(dy, x, *_summed(weight, geometry), wants)
        return dx, dweight.expand(weight.shape).clone() if wants[1] else None, dbias
    if x.dim() == n + 2 and 1 <= n <= _MOST:
        return library.gradients(dy, x, weight, geometry, wants)
    parts = _rows(dy, n), _rows(x, n), _taps(weight, n), _at_least_one(geometry), wants
    dx, dweight, dbias = (_deep_gradients if n > _MOST else library.gradients)(*parts)
    dx = dx.reshape(x.shape) if wants[0] else None
    return dx, dweight.reshape(weight.shape) if wants[1] else None, dbias


def _summed(weight, geometry: Geometry) -> tuple[torch.Tensor, Geometry]:
    """One tap for those that lie on one element."""
    axes = [2 + i for i, dilation in enumerate(geometry.dilation) if dilation == 0]
    dilation = [max(dilation, 1) for dilation in geometry.dilation]
    return weight.sum(axes, keepdim=True), geometry._replace(dilation=dilation)


def _rows(x: torch.Tensor, n: int) -> torch.Tensor:
    """(…, C, n spatial axes) as (N, C, spatial axes), at least one."""
    first = x.dim() - n - 1
    rows = x.reshape(x.shape[:first].numel(), *x.shape[first:])
    return rows if n else rows.unsqueeze(-1)


def _taps(weight: torch.Tensor, n: int) -> torch.Tensor:
    return weight if n else weight.unsqueeze(-1)


def _at_least_one(geometry: Geometry) -> Geometry:
    if geometry.stride:
        return geometry
    return geometry._replace(stride=[1], pad=[0], dilation=[1], output_pad=[0])


def _convolve(x, weight, bias, geometry: Geometry) -> torch.Tensor:
    if len(geometry.stride) <= _MOST:
        return library.convolve(x, weight, bias, geometry)
    sum_up = _deep_transposed if geometry.transposed else _deep
    y = sum_up(x, weight, geometry)
    return y if bias is None else y + bias.view(-1, *[1] * (y.dim() - 2))


def _inner(x, taps, geometry: Geometry) -> torch.Tensor:
    """All but the first spatial axis of x, at each place of that axis by itself."""
    names = ("stride", "pad", "dilation", "output_pad")
    less = geometry._replace(**{name: getattr(geometry, name)[1:] for name in names})
    places = x.movedim(2, 1)
    y = _convolve(places.flatten(0, 1), taps, None, less)
    return y.unflatten(0, places.shape[:2]).movedim(1, 2)


def _deep(x, weight, geometry: Geometry) -> torch.Tensor:
    stride, pad, dilation = geometry.stride[0], geometry.pad[0], geometry.dilation[0]
    x = pad_tensor(x, [0, 0] * (x.dim() - 3) + [pad, pad])
    last = x.shape[2] - dilation * (weight.shape[2] - 1)  # where a window may begin, excluded
    parts = (
        _inner(x[:, :, k * dilation : k * dilation + last : stride], weight[:, :, k], geometry)
        for k in range(weight.shape[2])
    )
    return sum(parts)  # type: ignore[return-value]


def _deep_transposed(x, weight, geometry: Geometry) -> torch.Tensor:
    stride, pad, dilation = geometry.stride[0], geometry.pad[0], geometry.dilation[0]
    taps, reach = weight.shape[2], stride * (x.shape[2] - 1) + 1
    whole = None
    for k in range(taps):
        part = _inner(x, weight[:, :, k], geometry)
        if whole is None:
            size = reach + dilation * (taps - 1)
            whole = part.new_zeros((*part.shape[:2], size, *part.shape[3:]))
        whole[:, :, k * dilation : k * dilation + reach : stride] += part
    assert whole is not None
    return whole[:, :, pad : whole.shape[2] - pad]


def _deep_gradients(dy, x, weight, geometry: Geometry, wants: list[bool]):
    """By PyTorch's record of the sums."""
    with torch.enable_grad():
        x, weight = x.detach().requires_grad_(wants[0]), weight.detach().requires_grad_(wants[1])
        inputs = [tensor for tensor, wanted in zip((x, weight), wants) if wanted]
        found: list = []
        if inputs:
            found += torch.autograd.grad(_convolve(x, weight, None, geometry), inputs, dy)
    dweight = found.pop() if wants[1] else None
    dx = found.pop() if wants[0] else None
    return dx, dweight, dy.sum([i for i in range(dy.dim()) if i != 1]) if wants[2] else None
