"""fc6 and fc7 with fewer outputs than VGG's."""

import numpy as np
import pytest

from surgery.narrow import narrowed, spaced


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("count", "kept", "expected"),
    [(8, 2, [0, 4]), (8, 3, [0, 2, 5]), (4, 4, [0, 1, 2, 3]), (4, 9, [0, 1, 2, 3])],
)
def test_kept_outputs_are_evenly_spaced(count, kept, expected):
    assert spaced(count, kept).tolist() == expected


@pytest.mark.parametrize("as_stored", [(8, 3 * 4), (8, 3, 2, 2), (1, 1, 8, 3 * 4)])
def test_fc6_keeps_whole_outputs_with_their_biases(as_stored):
    weights = numbered(8, 3, 2, 2)
    (few, bias), words = narrowed("fc6", [weights.reshape(as_stored), numbered(8)], (2, 3, 2, 2))
    assert np.array_equal(few.reshape(2, 3, 2, 2), weights[[0, 4]])
    assert bias.tolist() == [0, 4] and words == "2 of 8 outputs"


def test_a_narrow_pair_answers_as_the_wide_one_whose_other_outputs_are_0():
    draw = np.random.RandomState(1)
    six, seven, x = draw.randn(8, 5), draw.randn(8, 8), draw.randn(5)
    kept = [0, 2, 4, 6]
    (narrow6, _), _ = narrowed("fc6", [six, np.zeros(8)], (4, 5, 1, 1))
    (narrow7, _), _ = narrowed("fc7", [seven, np.zeros(8)], (4, 4, 1, 1))
    hidden = np.zeros(8)
    hidden[kept] = np.maximum(six @ x, 0)[kept]
    np.testing.assert_allclose(narrow7 @ np.maximum(narrow6 @ x, 0), (seven @ hidden)[kept])


@pytest.mark.parametrize(
    ("layer", "shape"), [("score_fr", (2, 5, 1, 1)), ("fc6", (8, 5, 1, 1)), ("fc7", (9, 5, 1, 1))]
)
def test_other_layers_and_layers_that_are_not_narrower_stay_as_they_are(layer, shape):
    weights, bias = numbered(8, 5), numbered(8)
    (same, still), words = narrowed(layer, [weights, bias], shape)
    assert same is weights and still is bias and words == ""
