"""Photographs in fewer bytes, coefficient for coefficient what they were."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tools.gpu.jpeg_codes import code_lengths, optimised


def picture(width=37, height=29, mode="RGB"):
    """A smooth picture with some noise."""
    random = np.random.RandomState(3)
    y, x = np.mgrid[:height, :width]
    base = 90 + 60 * np.sin(x / 7) + 50 * np.cos(y / 5)
    array = base[..., None] + random.randn(height, width, 3) * 9
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8)).convert(mode)


def jpeg(image, **how):
    stream = io.BytesIO()
    image.save(stream, "JPEG", **how)
    return stream.getvalue()


def pixels(data):
    return np.array(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [30, 95])
def test_a_photograph_is_shorter_and_decodes_to_the_same_pixels(mode, sampling, quality):
    before = jpeg(picture(mode=mode), quality=quality, subsampling=sampling)
    after = optimised(before)
    assert len(after) < len(before)
    assert np.array_equal(pixels(after), pixels(before))


def test_the_codes_are_as_good_as_libjpegs():
    image = picture(160, 120)
    assert abs(len(optimised(jpeg(image))) - len(jpeg(image, optimize=True))) <= 20


@pytest.mark.parametrize(
    "data",
    [
        jpeg(picture(), progressive=True),
        jpeg(picture(), restart_marker_blocks=2),
        jpeg(picture(), optimize=True)[:300],
        b"no picture",
        b"",
    ],
    ids=["progressive", "restarts", "cut short", "no JPEG", "empty"],
)
def test_what_is_of_another_kind_stays_as_it_is(data):
    assert optimised(data) == data


@given(st.lists(st.integers(0, 1 << 30), min_size=256, max_size=256).filter(any))
def test_codes_are_prefix_codes_of_at_most_16_bits(counts):
    lengths = code_lengths(np.array(counts))
    assert ((lengths > 0) == (np.array(counts) > 0)).all() and lengths.max() <= 16
    used = lengths[lengths > 0]
    assert (0.5**used).sum() < 1  # below 1: the code of ones alone stays free


def test_codes_of_very_uneven_counts_are_cut_to_16_bits():
    counts = np.zeros(256, np.int64)
    counts[:30] = [2**k for k in range(30)]
    lengths = code_lengths(counts)
    assert lengths.max() == 16 and lengths[29] == 1
    assert (0.5 ** lengths[:30]).sum() < 1
