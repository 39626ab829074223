"""Convolution and its gradients, each in the way that is fastest where it runs.

On the CPU, convolutions with 3×3 weights of many channels are computed by Winograd's minimal
filtering, and their results have the channels last in memory, which pooling is several times
faster with. All others are the library's, whose gradient of weights wants the channels first.
In bfloat16, GPUs multiply with the channels last; the others' order is left to cuDNN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .. import settings
from . import precision, winograd

# The overload itself: to look it up at each call takes as long as a small layer.
_convolution_backward = torch.ops.aten.convolution_backward.default

# Measured on two cores with AVX2: fewer tiles do not pay for the weights' transformation, smaller
# products not for the tiles'.
_FEWEST_TILES = 100
_FEWEST_OUTPUTS = 64
_SMALLEST_PRODUCT = 128 * 128
_FEWEST_CHANNELS = 16


class Geometry(NamedTuple):
    """The arguments that ATen's convolution and convolution_backward have in common."""

    stride: list[int]
    pad: list[int]
    dilation: list[int]
    transposed: bool
    output_pad: list[int]
    groups: int


def _channels_last(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> bool:
    if weight.shape[0] < _FEWEST_OUTPUTS or not settings.winograd():
        return False
    stride, pad, dilation, transposed, _, groups = geometry
    if x.device.type != "cpu" or transposed or groups != 1 or weight.shape[2:] != (3, 3):
        return False
    if list(stride) != [1, 1] or list(dilation) != [1, 1]:
        return False
    rows, columns = winograd.tiles(*(n + 2 * p - 2 for n, p in zip(x.shape[2:], pad)))
    return x.shape[0] * rows * columns >= _FEWEST_TILES


def _by_winograd(weight: torch.Tensor) -> bool:
    """Whether it pays to transform the tiles, of those that have their channels last."""
    return weight.shape[0] * weight.shape[1] >= _SMALLEST_PRODUCT


def _channels_first(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x.contiguous() if weight.shape[0] >= _FEWEST_OUTPUTS else x


def _rounds(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> bool:
    """Whether this one is computed in bfloat16: scores, for one, are few outputs, whose rounding
    the loss would see and whose products take little time."""
    return precision.rounds(x) and not geometry.transposed and weight.shape[0] >= _FEWEST_OUTPUTS


def _rough(tensor: torch.Tensor) -> torch.Tensor:
    last = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
    return tensor.to(torch.bfloat16, memory_format=last)


def convolve(x, weight, bias, geometry: Geometry) -> torch.Tensor:
    """Cross-correlation of x (N, C, spatial axes) with weight, plus a bias (K) or None."""
    if _rounds(x, weight, geometry):
        y = torch.convolution(_rough(x), _rough(weight), None, *geometry)
        if bias is None:
            return y.float()
        return torch.add(y, bias.view(-1, *[1] * (y.dim() - 2)))  # in float32, as the bias is
    if not _channels_last(x, weight, geometry):
        return torch.convolution(_channels_first(x, weight), weight, bias, *geometry)
    if _by_winograd(weight):
        return winograd.convolve(x, weight, bias, geometry.pad)
    x = x.contiguous(memory_format=torch.channels_last)
    return torch.convolution(x, weight, bias, *geometry)


def gradients(dy, x, weight, geometry: Geometry, wants: list[bool]):
    """The gradients of x, weight and bias from that of the result, None for those that `wants`
    leaves out. Where only x's is wanted, x's values do not matter."""
    outputs = [weight.shape[1] * geometry.groups if geometry.transposed else weight.shape[0]]
    if _rounds(x, weight, geometry):
        rough = [_rough(t) for t in (dy, x, weight)]
        dx, dweight, _ = _convolution_backward(*rough, outputs, *geometry, [*wants[:2], False])
        dx = dx.float() if wants[0] else None
        # As the weights lie, so that it becomes their diff as it is.
        first = torch.contiguous_format
        dweight = dweight.to(torch.float32, memory_format=first) if wants[1] else None
        return dx, dweight, dy.sum([i for i in range(dy.dim()) if i != 1]) if wants[2] else None
    if not _channels_last(x, weight, geometry):
        x, dy = _channels_first(x, weight), _channels_first(dy, weight)
        return _convolution_backward(dy, x, weight, outputs, *geometry, wants)
    last = torch.channels_last
    dx, dweight = None, None
    wants_x, wants_weight, wants_bias = wants
    if wants_x and _by_winograd(weight):
        dx, wants_x = winograd.bottom_gradient(dy, weight, geometry.pad), False
    if wants_weight and weight.shape[1] >= _FEWEST_CHANNELS:
        dweight, wants_weight = winograd.weight_gradient(dy, x, geometry.pad), False
    if wants_x or wants_weight:
        x, dy = x.contiguous(memory_format=last), dy.contiguous(memory_format=last)
        found = _convolution_backward(
            dy, x, weight, outputs, *geometry, [wants_x, wants_weight, False]
        )
        dx, dweight = found[0] if wants_x else dx, found[1] if wants_weight else dweight
    return dx, dweight, dy.sum((0, 2, 3)) if wants_bias else None
