"""Sizes, strides, starts and receptive fields: the paper's equations, and by counting."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from tools.arithmetic import geometry

KERNEL = st.integers(1, 7)
STRIDE = st.integers(1, 4)
PAD = st.integers(0, 5)
DILATION = st.integers(1, 4)
SIZE = st.integers(1, 40)


def taps(kernel, dilation):
    return [t * dilation for t in range(kernel)]


@given(SIZE, KERNEL, STRIDE, PAD, DILATION)
def test_equation_1_counts_the_windows_inside_the_padded_input(size, kernel, stride, pad, dilation):
    last = taps(kernel, dilation)[-1]
    assume(last < size + 2 * pad)
    windows = [o for o in range(100) if o * stride + last < size + 2 * pad]
    assert geometry.conv_size(size, kernel, stride, pad, dilation) == len(windows)


def test_a_kernel_longer_than_the_input_by_less_than_a_stride_has_one_window():
    assert [geometry.conv_size(3, 4, stride) for stride in (1, 2, 3)] == [0, 1, 1]
    assert geometry.conv_size(3, 6, 3) == 0


@given(SIZE, KERNEL, STRIDE, PAD)
def test_caffes_pooling_goes_on_until_a_window_reaches_the_end(size, kernel, stride, pad):
    assume(pad < kernel <= size + 2 * pad)
    count = 1
    while (count - 1) * stride + kernel < size + 2 * pad:
        count += 1
    if pad and (count - 1) * stride >= size + pad:  # the last one would hold only padding
        count -= 1
    assert geometry.pool_size(size, kernel, stride, pad) == count


@given(SIZE, KERNEL, STRIDE)
def test_pooling_can_round_down_as_a_convolution_does(size, kernel, stride):
    assume(kernel <= size)
    rounded_down = geometry.pool_size(size, kernel, stride, ceil=False)
    assert rounded_down == geometry.conv_size(size, kernel, stride)


def test_the_papers_maps_halve_rounding_up():
    sizes = [geometry.conv_size(500, 3, 1, 100)]
    while sizes[-1] > 22:
        sizes.append(geometry.pool_size(sizes[-1], 2, 2))
    assert sizes == [698, 349, 175, 88, 44, 22]
    assert geometry.conv_size(22, 7) == geometry.conv_size(22, 3, dilation=3) == 16
    # Section 3.2: a 3x3 convolution keeps the size, a pooling halves it.
    assert geometry.conv_size(224, 3, 1, 1) == 224 and geometry.conv_size(224, 2, 2) == 112


@given(SIZE, KERNEL, STRIDE, PAD, DILATION)
def test_a_deconvolution_undoes_a_convolutions_size(size, kernel, stride, pad, dilation):
    large = geometry.deconv_size(size, kernel, stride, pad, dilation)
    assume(large >= 1)
    assert geometry.conv_size(large, kernel, stride, pad, dilation) == size


@given(KERNEL, DILATION)
def test_equation_3_is_the_reach_of_the_taps(kernel, dilation):
    assert geometry.dilated_kernel(kernel, dilation) == taps(kernel, dilation)[-1] + 1


def test_fc6_keeps_vggs_footprint():
    assert geometry.dilated_kernel(3, 3) == geometry.dilated_kernel(7, 1) == 7


@given(st.integers(1, 20))
def test_equation_2_as_the_text_has_it_is_linear(n):
    assert geometry.receptive_field([(3, 1, 1)] * n) == (2 * n + 1, 1)


@given(st.integers(0, 12))
def test_equation_4_holds_for_doubling_dilations(i):
    chain = [(3, 1, 2**k) for k in range(i + 1)]
    assert geometry.receptive_field(chain)[0] == 2 ** (i + 2) - 1


CHAIN = st.lists(st.tuples(KERNEL, STRIDE, PAD, DILATION), max_size=4)


@pytest.mark.slow
@given(CHAIN, st.integers(-3, 3))
def test_the_general_form_is_what_following_the_taps_back_finds(chain, output):
    seen = {output}
    for kernel, stride, pad, dilation in reversed(chain):
        seen = {p * stride - pad + t for p in seen for t in taps(kernel, dilation)}
    low = high = output
    grid = geometry.INPUT
    for window in reversed(chain):
        low, high = geometry.conv_reach(low, high, *window)
    for window in chain:
        grid = geometry.conv_grid(grid, *window)
    assert (low, high) == (min(seen), max(seen))
    size, jump = geometry.receptive_field([(k, s, d) for k, s, _, d in chain])
    assert (high - low + 1, jump) == (size, grid.stride)
    # The place of a point is the centre of what it sees.
    assert grid.start + output * grid.stride == Fraction(low + high, 2)


@given(KERNEL, STRIDE, PAD, st.integers(-9, 9), st.integers(0, 5))
def test_a_deconvolutions_outputs_see_what_it_spreads_to_them(kernel, stride, pad, low, more):
    outputs = range(low, low + more + 1)
    seen = [x for x in range(-99, 99) if any(0 <= o + pad - stride * x < kernel for o in outputs)]
    found = geometry.deconv_reach(float(low), float(low + more), kernel, stride, pad)
    assert found == ((min(seen), max(seen)) if seen else (np.inf, -np.inf))


@given(KERNEL, STRIDE, PAD, DILATION)
def test_a_deconvolutions_places_are_the_convolutions_inverted(kernel, stride, pad, dilation):
    window = (kernel, stride, pad, dilation)
    grid = geometry.Grid(Fraction(3), Fraction(-7, 2))
    there = geometry.conv_grid(grid, *window)
    assert geometry.deconv_grid(there, *window) == grid


def test_a_crop_moves_the_start():
    grid = geometry.Grid(Fraction(16), Fraction(-183, 2))
    assert geometry.crop_grid(grid, 5) == (16, Fraction(-23, 2))


@pytest.mark.parametrize(
    "spans, size",
    [([(0, 3), (2, 6)], 5), ([(np.inf, -np.inf), (1, 1)], 1), ([(np.inf, -np.inf)], 0)],
)
def test_the_widest_span_counts(spans, size):
    low, high = (np.array(side, float) for side in zip(*spans))
    assert geometry.widest(low, high) == size


def test_phases_are_limited():
    assert geometry.phases(3).tolist() == [0, 1, 2]
    assert len(geometry.phases(10**12)) == geometry.MAX_PHASES
