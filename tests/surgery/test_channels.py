"""The first layer's weights for any channels: the colours keep theirs, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest

from surgery import channels
from surgery.errors import SurgeryError

BLUE, GREEN, RED = 0, 1, 2


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_channels_get_the_weights_of_the_colours_they_are():
    weights = numbered(2, 3, 3, 3)
    made, told = channels.fit(weights, (2, 4, 3, 3), ("red", "nir", "green", "blue"))
    for place, colour in ((0, RED), (2, GREEN), (3, BLUE)):
        np.testing.assert_array_equal(made[:, place], weights[:, colour])
    np.testing.assert_allclose(made[:, 1], weights.mean(axis=1), rtol=1e-6)
    assert made.dtype == np.float32 and "mean over channels" in told


def test_new_channels_may_start_at_zero():
    weights = numbered(2, 3, 3, 3)
    made, told = channels.fit(weights, (2, 4, 3, 3), ("red", "nir", "green", "blue"), "zero")
    assert not made[:, 1].any() and told == "conv1_1, and zeros"
    np.testing.assert_array_equal(made[:, 0], weights[:, RED])


@pytest.mark.parametrize("names", [("", ""), ("nir",), ("",) * 7])
def test_channels_of_no_known_colour_all_get_the_mean(names):
    weights = numbered(2, 3, 3, 3)
    made, _ = channels.fit(weights, (2, len(names), 3, 3), names)
    for place in range(len(names)):
        np.testing.assert_allclose(made[:, place], weights.mean(axis=1), rtol=1e-6)


def test_three_channels_in_another_order_are_put_in_order():
    weights = numbered(2, 3, 3, 3)
    made, told = channels.fit(weights, (2, 3, 3, 3), ("red", "green", "blue"))
    np.testing.assert_array_equal(made, weights[:, ::-1])
    assert told == "conv1_1, its channels put in order"


def test_names_of_another_number_are_refused():
    with pytest.raises(SurgeryError, match="2x3x3x3.*4 channels are named red, blue"):
        channels.fit(numbered(2, 3, 3, 3), (2, 4, 3, 3), ("red", "blue"))
    with pytest.raises(SurgeryError, match="B, G, R are needed"):
        channels.fit(numbered(2, 5, 3, 3), (2, 4, 3, 3), ("red", "blue", "", ""))


def test_a_mean_is_put_into_the_order_of_pretrained_nets():
    names = ("red", "green", "blue", "nir")
    assert channels.colours_of((1, 2, 3, 4), names) == (3, 2, 1)
    assert channels.colours_of((1, 2), ("nir", "red")) is None
    assert channels.colours_of((1, 2, 3), None) == (1, 2, 3)
