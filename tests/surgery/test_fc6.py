"""fc6 as a smaller, dilated kernel, and more input channels."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from surgery import channels, fc6


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_fc6_keeps_the_taps_at_rows_and_columns_0_3_6():
    weights = numbered(2, 3 * 49)
    small, words = fc6.fit(weights, (2, 3, 3, 3))
    kernel = weights.reshape(2, 3, 7, 7)
    for i, row in enumerate((0, 3, 6)):
        for j, column in enumerate((0, 3, 6)):
            assert np.array_equal(small[:, :, i, j], kernel[:, :, row, column])
    assert words == "decimated"


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_a_decimated_kernel_answers_as_the_large_one_with_its_other_taps_at_0(kept, step, inputs):
    size = (kept - 1) * step + 1
    weights = numbered(2, inputs, size, size)
    small = fc6.decimate(weights, (2, inputs, kept, kept))
    spread = np.zeros_like(weights)
    spread[:, :, ::step, ::step] = small
    kept_taps = np.zeros((size, size))
    kept_taps[::step, ::step] = 1
    assert np.array_equal(spread, weights * kept_taps)


def test_flat_takes_the_first_numbers_in_memory_order():
    small, words = fc6.fit(numbered(2, 3 * 49), (2, 3, 3, 3), "flat")
    assert np.array_equal(small.ravel(), np.arange(54))
    assert words == "truncated"


@pytest.mark.parametrize("mode", sorted(fc6.MODES))
def test_every_mode_only_reshapes_a_7x7_target(mode):
    whole, words = fc6.fit(numbered(2, 3 * 49), (2, 3, 7, 7), mode)
    assert np.array_equal(whole.ravel(), np.arange(294))
    assert words == "copied"


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (2, 2, 3, 3), (2, 3, 5, 5), (2, 3, 9, 9)])
def test_decimate_names_both_shapes_where_they_do_not_fit(shape):
    with pytest.raises(ValueError, match="layer fc6: .*2x147.*" + "x".join(map(str, shape))):
        fc6.decimate(numbered(2, 147), shape)


def test_an_unknown_mode_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="decimate, flat"):
        fc6.fit(numbered(2, 147), (2, 3, 3, 3), "mean")


def test_the_depth_channel_is_the_mean_of_the_colours():
    weights = numbered(2, 3, 3, 3)
    wide, _ = channels.fit(weights, (2, 4, 3, 3))
    assert np.array_equal(wide[:, :3], weights)
    assert np.allclose(wide[:, 3], weights.mean(axis=1))


def test_widening_to_fewer_channels_is_refused():
    with pytest.raises(ValueError, match="2x3x3x3.*2x2x3x3"):
        channels.fit(numbered(2, 3, 3, 3), (2, 2, 3, 3))
