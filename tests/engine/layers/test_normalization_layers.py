"""LRN and BatchNorm. The numbers marked so are BVLC Caffe 1.0's."""

import numpy as np
import pytest

from caffe.core.layer import TRAIN
from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

# lrn_param: the first two channels' first row, and their gradient; BVLC Caffe's
NORMALIZED = {
    "local_size: 3 alpha: 0.5 beta: 0.7 k: 2": (
        [[-1.2392555, 1.1047630], [0.5209394, -0.5209394]],
        [[-0.2294713, 0.4412334], [-0.2040387, 0.3330468]],
    ),
    "local_size: 3 alpha: 0.5 beta: 0.7 norm_region: WITHIN_CHANNEL": (
        [[-1.4079517, 1.0559638], [0.9517402, -0.9517402]],
        [[0.1196758, -0.0897568], [0.0805318, -0.0805318]],
    ),
}


@pytest.mark.parametrize(("param", "expected"), NORMALIZED.items())
def test_lrn_is_caffes(param, expected):
    x = pattern(1, 4, 2, 2)
    run = Run("LRN", f"lrn_param {{ {param} }}", x)
    np.testing.assert_allclose(run.forward()[0, :2, 0], expected[0], rtol=1e-5)
    diff = run.backward(pattern(1, 4, 2, 2))[0]
    np.testing.assert_allclose(diff[0, :2, 0], expected[1], atol=1e-6)
    check_gradients(run, [x])


def test_lrn_refuses_an_even_size():
    with pytest.raises(InputError, match="local_size 4 must be odd"):
        Run("LRN", "lrn_param { local_size: 4 }", pattern(1, 4, 2, 2))


def test_batch_norm_gathers_statistics_as_caffe_does():
    body = "batch_norm_param { moving_average_fraction: 0.9 }"
    run = Run("BatchNorm", body, pattern(2, 2, 3), phase=TRAIN)
    run.forward()
    y = run.forward()
    # BVLC Caffe's, after two passes
    np.testing.assert_allclose(y[0, 0], [-1.3085591, 0.8898203, -0.3663965], rtol=1e-5)
    expected = [[0.3166666, 1.9], [23.1166687, 26.6], [1.9]]
    for blob, values in zip(run.layer.blobs, expected):
        np.testing.assert_allclose(blob.data, values, rtol=1e-5)
    assert [spec.lr_mult for spec in run.layer.layer_param.param] == [0, 0, 0]


def test_batch_norm_in_test_uses_what_it_gathered():
    x = pattern(2, 2, 3)
    run = Run("BatchNorm", "", x)
    for blob, values in zip(run.layer.blobs, [[2, 4], [8, 32], [2]]):
        blob.data[...] = values
    mean, variance = np.array([[[1], [2]]]), np.array([[[4], [16]]])
    np.testing.assert_allclose(run.forward(), (x - mean) / np.sqrt(variance), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        run.backward(np.ones(x.shape))[0][0], [[0.5] * 3, [0.25] * 3], rtol=1e-4
    )


@pytest.mark.parametrize("in_place", [False, True])
def test_batch_norm_gradients_are_those_of_its_definition(in_place):
    x, dy = distinct(3, 2, 4).astype(np.float64), pattern(3, 2, 4).astype(np.float64)

    def objective(values):
        mean = values.mean((0, 2), keepdims=True)
        return ((values - mean) / np.sqrt(values.var((0, 2), keepdims=True) + 1e-5) * dy).sum()

    run = Run("BatchNorm", "", x, phase=TRAIN, in_place=in_place)
    run.forward()
    diff = run.backward(dy)[0]
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = 1e-5
        rise = (objective(x + step) - objective(x - step)) / 2e-5
        np.testing.assert_allclose(diff[place], rise, rtol=1e-3, atol=1e-3)


def test_batch_norm_refuses_to_have_its_statistics_learned():
    with pytest.raises(InputError, match="set lr_mult: 0"):
        Run("BatchNorm", "param { lr_mult: 1 }", pattern(2, 2))
