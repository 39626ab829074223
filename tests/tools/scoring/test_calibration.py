"""The expected calibration error against its definition, pixel by pixel."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.tools.scoring import plain
from tools.scoring.calibration import BINS, Calibration


def drawn(seed, shape, classes=4, spread=3.0):
    """(truth with void, prediction, scores) of an image."""
    rng = np.random.RandomState(seed)
    scores = (spread * rng.randn(classes, *shape)).astype(np.float32)
    truth = rng.choice([*range(classes), 255], shape)
    return truth, scores.argmax(0), scores


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=3), st.floats(0, 20))
def test_the_error_is_the_definition(seeds, spread):
    found, pixels = Calibration(), []
    for seed in seeds:
        truth, prediction, scores = drawn(seed, (5, 6), spread=spread)
        found.add(truth, prediction, scores)
        for y, x in np.ndindex(truth.shape):
            if truth[y, x] < 4:
                powers = [math.exp(s - scores[:, y, x].max()) for s in scores[:, y, x]]
                # Where the definition cuts a bin, rounding may not decide.
                confidence = round(max(powers) / sum(powers), 6)
                pixels.append((confidence, truth[y, x] == prediction[y, x]))
    if pixels:
        assert found.scores()["ece"] == pytest.approx(plain.ece(pixels), abs=2e-6)
        assert sum(one["pixels"] for one in found.scores()["bins"]) == len(pixels)


def test_a_net_that_is_sure_and_right_has_no_error_and_one_that_is_wrong_all():
    scores = np.zeros((2, 3, 3), np.float32)
    scores[1] = 100
    for truth, error in ((1, 0.0), (0, 1.0)):
        found = Calibration()
        found.add(np.full((3, 3), truth), np.ones((3, 3), int), scores)
        assert found.scores()["ece"] == error
        assert [one["pixels"] for one in found.scores()["bins"]] == [0] * (BINS - 1) + [9]


def test_void_alone_has_no_error():
    found = Calibration()
    found.add(np.full((3, 3), 255), np.ones((3, 3), int), np.zeros((2, 3, 3), np.float32))
    assert math.isnan(found.scores()["ece"])


def test_parts_add_up_to_the_whole_to_the_bit():
    images = [drawn(seed, (40, 50)) for seed in range(4)]
    whole, parts = Calibration(), [Calibration(), Calibration()]
    for number, image in enumerate(images):
        whole.add(*image)
        parts[number % 2].add(*image)
    parts[1].take(json.loads(json.dumps(parts[0].state())))
    assert parts[1].scores() == whole.scores()
