"""What PyTorch's library takes for itself on the CPU while it computes a convolution: copies in
its own order of elements, and the bottom's windows as columns.

Found by PyTorch's profiler on processors with AVX2; others' differ where the library has other
kernels for them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

_BYTES = 4  # of a float32
_FEWEST_CHANNELS = 8
"""Of a bottom that is reordered."""
_PARTIAL_SUMS = 4
"""Arrays of the weights' size that the gradient of dilated weights is summed up in."""


class Buffers(NamedTuple):
    """Bytes of the blocks that are taken for one result."""

    before: list[int]
    """Given back before the result is made."""
    beside: list[int]
    """Given back after it."""
    idle: int = 0
    """Bytes of `before` that are not touched."""


NONE = Buffers([], [])


def of(name: str, args, made) -> list[Buffers]:
    """The buffers of each tensor of the results `made` of an operation of ATen, on the CPU."""
    if name == "convolution":
        return [_forward(*args)]
    if name == "convolution_backward":
        return _backward(*args)
    return [NONE] * len(made)


def _library_orders(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether what the library computes with has an order of its own."""
    if x.dim() != 4 or x.is_contiguous(memory_format=torch.channels_last):
        return False
    return weight.shape[2:].numel() > 1 or torch.get_num_threads() > 1


def _forward(x, weight, bias, stride, pad, dilation, transposed, output_pad, groups) -> Buffers:
    if not _library_orders(x, weight):
        return NONE
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    result = x.shape[0] * outputs * _BYTES
    for i in range(2):
        extent = dilation[i] * (weight.shape[2 + i] - 1) + 1
        if transposed:
            size = (x.shape[2 + i] - 1) * stride[i] - 2 * pad[i] + extent
        else:
            size = (x.shape[2 + i] + 2 * pad[i] - extent) // stride[i] + 1
        result *= max(size + output_pad[i], 0)
    if x.shape[1] // groups < _FEWEST_CHANNELS and not transposed:
        return Buffers([], [result])
    if transposed:
        return Buffers([x.nbytes, weight.nbytes], [result, result] if groups == 1 else [])
    return Buffers([x.nbytes, weight.nbytes], [result])


def _backward(dy, x, weight, outputs, stride, pad, dilation, transposed, output_pad, groups, wants):
    found = [NONE, NONE, NONE]
    if not _library_orders(dy, weight):
        return found
    if wants[0]:
        found[0] = Buffers([dy.nbytes, weight.nbytes], [x.nbytes])
    if wants[1] and (transposed or max(dilation) > 1):
        places = x if transposed else dy
        columns = math.prod(weight.shape[1:]) * math.prod(places.shape[2:]) * _BYTES
        sums = _PARTIAL_SUMS * weight.nbytes + columns
        used = min(_PARTIAL_SUMS, torch.get_num_threads())
        found[1] = Buffers([sums], [weight.nbytes], (_PARTIAL_SUMS - used) * weight.nbytes)
    elif wants[1]:
        found[1] = Buffers([dy.nbytes, x.nbytes], [weight.nbytes])
    return found
