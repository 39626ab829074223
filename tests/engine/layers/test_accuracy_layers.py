"""Accuracy and ArgMax. The numbers marked so are BVLC Caffe 1.0's."""

import numpy as np
import pytest

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, pattern


@pytest.mark.parametrize(
    ("body", "share", "per_class"),
    [
        ("ignore_label: 255", 0, [0, 0, 0, 0]),
        ("ignore_label: 255 top_k: 2", 0.2, [0, 0.5, 0, 0]),
    ],
)
def test_classes_that_tie_with_the_label_count_as_better(body, share, per_class):
    scores = np.floor(pattern(2, 4, 3) / 2)
    labels = np.array([[0, 1, 3], [2, 255, 1]])
    run = Run("Accuracy", f"accuracy_param {{ {body} }}", scores, labels, tops=2)
    np.testing.assert_allclose(run.forward(), share)  # BVLC Caffe's
    np.testing.assert_allclose(run.top[1].data, per_class)


def test_it_is_the_share_of_labels_with_the_highest_score():
    scores = np.random.default_rng(0).standard_normal((2, 5, 6))
    labels = np.random.default_rng(1).integers(0, 4, (2, 6))
    run = Run("Accuracy", "", scores, labels, tops=2)
    right = scores.argmax(1) == labels
    np.testing.assert_allclose(run.forward(), right.mean())
    for c in range(5):
        of_class = right[labels == c]
        np.testing.assert_allclose(run.top[1].data[c], of_class.mean() if len(of_class) else 0)


def test_more_classes_than_there_are_cannot_be_the_best():
    with pytest.raises(InputError, match="top_k 6 is more than the 5 classes"):
        Run("Accuracy", "accuracy_param { top_k: 6 }", pattern(2, 5), pattern(2))


def test_none_is_among_the_best_0():
    assert Run("Accuracy", "accuracy_param { top_k: 0 }", pattern(2, 5), np.zeros(2)).forward() == 0


def test_accuracy_has_no_gradient():
    run = Run("Accuracy", "", pattern(2, 5), np.zeros(2))
    run.forward()
    with pytest.raises(InputError, match="has no gradient"):
        run.backward(1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("top_k: 3 out_max_val: true", [[[3, 1, 2], [3, 3, 2]]]),
        ("top_k: 3 axis: 1", [[3, 1, 2]]),
        ("top_k: 3 axis: 1 out_max_val: true", [[3, 3, 2]]),
    ],
)
def test_argmax_gives_the_later_of_equal_elements_first(body, expected):
    run = Run("ArgMax", f"argmax_param {{ {body} }}", [[1, 3, 2, 3, 0]])
    np.testing.assert_array_equal(run.forward(), expected)  # BVLC Caffe's
