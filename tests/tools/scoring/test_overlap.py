"""Dice, precision and recall against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from tools.scoring.overlap import overlap

HISTS = arrays(np.int64, (3, 3), elements=st.integers(0, 5))


@settings(deadline=None)
@given(HISTS)
def test_each_measure_is_its_fraction(hist):
    found = overlap(hist)
    pixels = [(i, j) for i, j in np.ndindex(3, 3) for _ in range(hist[i, j])]
    for c in range(3):
        right = sum(i == j == c for i, j in pixels)
        truth, predicted = sum(i == c for i, _ in pixels), sum(j == c for _, j in pixels)
        for measure, above, below in (
            ("dice", 2 * right, truth + predicted),
            ("precision", right, predicted),
            ("recall", right, truth),
        ):
            value = found[measure][c]
            assert value == pytest.approx(above / below) if below else np.isnan(value)


@settings(deadline=None, max_examples=20)
@given(HISTS.filter(lambda hist: hist.sum() > 0))
def test_they_are_those_of_scikit_learn(hist):
    learned = pytest.importorskip("sklearn.metrics")
    truth, predicted = np.array([(i, j) for i, j in np.ndindex(3, 3) for _ in range(hist[i, j])]).T
    want = learned.precision_recall_fscore_support(
        truth, predicted, labels=[0, 1, 2], zero_division=np.nan
    )
    found = overlap(hist)
    np.testing.assert_allclose(found["precision"], want[0])
    np.testing.assert_allclose(found["recall"], want[1])
