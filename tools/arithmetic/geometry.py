"""Where a layer's outputs lie in the image: sizes, strides, starts and receptive fields.

Everything is along one spatial axis. A window is a kernel of K taps, d apart (dilation), moved by
a stride S over a map of I points padded by P on either side. Equations are those of Kamran &
Sabbir 2018, "Efficient Yet Deep Convolutional Neural Networks for Semantic Segmentation",
sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections import namedtuple
from fractions import Fraction

import numpy as np

MAX_PHASES = 4096

Grid = namedtuple("Grid", "stride start")
Grid.__doc__ = """The places of a map's points, in pixels of the input: point i has its centre at
start + i * stride, the input's first pixel being 0. Both are Fractions."""

INPUT = Grid(Fraction(1), Fraction(0))
"""The Grid of the input itself."""


def dilated_kernel(kernel, dilation=1):
    """What a dilated kernel spans: K' = K + (K - 1)(d - 1) (equation 3)."""
    return kernel + (kernel - 1) * (dilation - 1)


def conv_size(size, kernel, stride=1, pad=0, dilation=1):
    """Output size of a convolution: O = (I + 2P - K') / S + 1 (equation 1), the quotient cut off
    towards 0 as Caffe has it: 1 where the kernel is longer than the padded input by less than a
    stride. Below 1 if it is longer by more.
    """
    room = size + 2 * pad - dilated_kernel(kernel, dilation)
    return (room // stride if room >= 0 else -(-room // stride)) + 1


def deconv_size(size, kernel, stride=1, pad=0, dilation=1):
    """Output size of a deconvolution, equation 1 solved for I: S(O - 1) + K' - 2P."""
    return stride * (size - 1) + dilated_kernel(kernel, dilation) - 2 * pad


def pool_size(size, kernel, stride=1, pad=0, ceil=True):
    """Output size of Caffe's pooling: equation 1, rounded up unless `ceil` is false.

    Where there is padding, a last window that would start beyond the input and its leading
    padding is left out (Caffe 1.0, PoolingLayer::Reshape).
    """
    room = size + 2 * pad - kernel
    count = (-(-room // stride) if ceil else room // stride) + 1
    if pad and (count - 1) * stride >= size + pad:
        count -= 1
    return count


def receptive_field(windows):
    """(size, stride) in input pixels after a chain of convolutions and poolings.

    windows: (kernel, stride, dilation) of each, the first layer's first. The general form: from
    r = j = 1, every layer makes r += (K' - 1) j, then j *= S.

    For n layers of 3x3 with stride 1 this is 2n + 1, which is what the paper says around equation
    2: 3x3, then 5x5, growing linearly. As printed, with r on both sides, equation 2 would instead
    give 3, 7, 15, ...; it agrees with the text if the right-hand side's r_{n-1} is read as the
    layer's number n. For 3x3 layers with dilations 1, 2, 4, ... 2^i it is 2^(i+2) - 1 (equation 4,
    from Yu & Koltun 2016).
    """
    size = jump = 1
    for kernel, stride, dilation in windows:
        size += (dilated_kernel(kernel, dilation) - 1) * jump
        jump *= stride
    return size, jump


def conv_grid(grid, kernel, stride=1, pad=0, dilation=1):
    """The Grid of a convolution's or pooling's output, from its bottom's.

    Centre to centre, as Caffe's coord_map.py has it: the first window's centre is point
    (K' - 1)/2 - P of the bottom.
    """
    first = Fraction(dilated_kernel(kernel, dilation) - 1, 2) - pad
    return Grid(grid.stride * stride, grid.start + first * grid.stride)


def deconv_grid(grid, kernel, stride=1, pad=0, dilation=1):
    """The Grid of a deconvolution's output, `conv_grid` inverted: the stride is divided."""
    fine = grid.stride / stride
    first = Fraction(dilated_kernel(kernel, dilation) - 1, 2) - pad
    return Grid(fine, grid.start - first * fine)


def crop_grid(grid, offset):
    """The Grid of a map that leaves out the first `offset` points."""
    return Grid(grid.stride, grid.start + offset * grid.stride)


def conv_reach(low, high, kernel, stride=1, pad=0, dilation=1):
    """The first and last point of the bottom that outputs `low` to `high` of a convolution see.

    Numbers or float64 arrays; the bottom has no borders here. Where low > high nothing is seen.
    """
    return low * stride - pad, high * stride - pad + dilated_kernel(kernel, dilation) - 1


def deconv_reach(low, high, kernel, stride=1, pad=0, dilation=1):
    """The same for a deconvolution, which sees one point in `stride` outputs.

    Output o is a sum over the bottom's points x with o = S x + d t - P for a tap t. For a dilated
    kernel this is a bound. An output that lies between all taps sees nothing: (inf, -inf).
    """
    last = dilated_kernel(kernel, dilation) - 1
    low, high = np.ceil((low + pad - last) / stride), np.floor((high + pad) / stride)
    nothing = low > high
    return np.where(nothing, np.inf, low), np.where(nothing, -np.inf, high)


def phases(count):
    """Points 0 to count - 1 as float64, but no more than MAX_PHASES of them."""
    return np.arange(min(count, MAX_PHASES), dtype=np.float64)


def widest(low, high):
    """How many points the widest of the spans `low` to `high` holds; 0 if all are empty."""
    return int(max(np.max(high - low) + 1, 0))
