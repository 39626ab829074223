"""ReLU, Sigmoid, TanH, Power, Dropout."""

import numpy as np
import pytest

from caffe.compute import rng
from caffe.core.layer import TRAIN
from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

BODIES = [
    ("ReLU", ""),
    ("ReLU", "relu_param { negative_slope: 0.25 }"),
    ("Sigmoid", ""),
    ("TanH", ""),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 3 }"),
    ("Power", "power_param { power: 1 scale: -2 shift: 1 }"),
    ("Power", "power_param { power: 0 }"),
    ("Dropout", ""),
]


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_gradients_agree_with_differences(kind, body):
    x = distinct(3, 4)
    check_gradients(Run(kind, body, x), [x])


@pytest.mark.parametrize("phase", [TRAIN, 1])
@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_in_place_gives_the_same_numbers(kind, body, phase):
    x, diff = distinct(3, 4), pattern(3, 4)
    results = []
    for in_place in (False, True):
        rng.set_random_seed(5)
        run = Run(kind, body, x, phase=phase, in_place=in_place)
        results.append((run.forward(), *run.backward(diff)))
    for apart, within in zip(*results):
        np.testing.assert_array_equal(apart, within)


def test_relu_has_no_gradient_at_zero():
    run = Run("ReLU", "", np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(run.forward(), [0, 0, 2])
    np.testing.assert_array_equal(run.backward(np.ones(3))[0], [0, 0, 1])


def test_dropout_drops_its_ratio_and_keeps_the_mean():
    rng.set_random_seed(0)
    run = Run("Dropout", "dropout_param { dropout_ratio: 0.3 }", np.ones(20000), phase=TRAIN)
    y = run.forward()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.7)}
    # 0.3 of 20000, within four standard deviations
    assert abs((y == 0).mean() - 0.3) < 4 * (0.3 * 0.7 / 20000) ** 0.5
    np.testing.assert_array_equal(run.backward(np.full(20000, 2.0))[0], 2 * y)
    assert (run.forward() != y).any()


def test_dropout_of_ratio_0_is_the_identity_and_draws_nothing():
    rng.set_random_seed(0)
    before = rng.get_state() or rng.generator() and rng.get_state()
    run = Run("Dropout", "dropout_param { dropout_ratio: 0 }", pattern(4, 5), phase=TRAIN)
    np.testing.assert_array_equal(run.forward(), pattern(4, 5))
    np.testing.assert_array_equal(run.backward(pattern(4, 5))[0], pattern(4, 5))
    assert rng.get_state() == before


def test_dropout_of_everything_is_refused():
    with pytest.raises(InputError, match="dropout_ratio 1 "):
        Run("Dropout", "dropout_param { dropout_ratio: 1 }", pattern(2, 2), phase=TRAIN)


@pytest.mark.parametrize("ratio", [1, 2, -0.5])
def test_no_ratio_matters_where_nothing_is_dropped(ratio):
    run = Run("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}", pattern(2, 2))
    np.testing.assert_array_equal(run.forward(), pattern(2, 2))
