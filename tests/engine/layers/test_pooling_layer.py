"""Pooling. The numbers marked so are BVLC Caffe 1.0's."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import caffe
from caffe.core.blob import Blob
from caffe.errors import InputError
from caffe.layers import create, pooling
from caffe.layers.pooling import pooled_size
from caffe.proto import caffe_pb2
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

# (size, kernel, stride, pad): windows rounded up, rounded down; BVLC Caffe's
SIZES = {
    (7, 2, 2, 0): (4, 3),
    (8, 2, 2, 0): (4, 4),
    (7, 3, 2, 1): (4, 4),
    (8, 3, 2, 1): (5, 4),
    (6, 3, 2, 2): (4, 4),
    (5, 2, 3, 1): (2, 2),
    (4, 3, 3, 2): (2, 2),
    (4, 4, 4, 3): (2, 2),
    (3, 3, 1, 0): (1, 1),
    (349, 2, 2, 0): (175, 174),
    (175, 2, 2, 0): (88, 87),
}


@pytest.mark.parametrize(("geometry", "expected"), SIZES.items())
def test_windows_are_counted_as_caffe_counts_them(geometry, expected):
    assert (pooled_size(*geometry, True), pooled_size(*geometry, False)) == expected


# kernel, stride, pad: maxima of floor(x / 3), their indices, averages of x, and the averages'
# gradient's first row, for x = pattern(1, 1, 5, 4) and top diff pattern(...); BVLC Caffe's
VALUES = {
    (3, 2, 1): (
        [[1, 2, 2], [1, 2, 0], [1, 2, 0]],
        [[1, 3, 3], [9, 14, 7], [12, 14, 15]],
        [[-1 / 9, 4 / 3, 7 / 6], [1 / 3, 11 / 9, -1 / 6], [5 / 9, 10 / 9, -1 / 6]],
        [-4 / 9, -1 / 9, 1 / 3, 1 / 6],
    ),
    (4, 3, 3): (
        [[-2, 2, 2], [1, 2, 2], [1, 2, 0]],
        [[0, 3, 3], [12, 3, 3], [12, 14, 15]],
        [[-0.25, 0.25, 0.375], [-0.125, 1.0625, 0.3125], [0.0625, 0.6875, -0.0625]],
        [0.4375, 0.3125, 0.3125, 0.125],
    ),
    (2, 2, 0): (
        [[1, 2], [1, 2], [1, 0]],
        [[1, 3], [9, 14], [17, 18]],
        [[-0.25, 2.75], [0.75, 1], [1.5, -1]],
        [-1, -1, 0.75, 0.75],
    ),
}


@pytest.mark.parametrize(("geometry", "expected"), VALUES.items())
def test_maxima_indices_and_averages_are_caffes(geometry, expected):
    maxima, indices, averages, gradient = expected
    body = "kernel_size: {} stride: {} pad: {}".format(*geometry)
    x = pattern(1, 1, 5, 4)
    run = Run("Pooling", f"pooling_param {{ {body} }}", np.floor(x / 3), tops=2)
    np.testing.assert_array_equal(run.forward()[0, 0], maxima)
    np.testing.assert_array_equal(run.top[1].data[0, 0], indices)
    run = Run("Pooling", f"pooling_param {{ pool: AVE {body} }}", x)
    np.testing.assert_allclose(run.forward()[0, 0], averages, atol=1e-6)
    (diff,) = run.backward(pattern(*run.top[0].shape))
    np.testing.assert_allclose(diff[0, 0, 0], gradient, atol=1e-6)


@given(
    st.sampled_from(["MAX", "AVE"]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from(["CEIL", "FLOOR"]),
)
@settings(max_examples=40, deadline=None)
def test_gradients_agree_with_differences(pool, kernel, stride, pad, mode):
    pad = [min(p, k - 1) for p, k in zip(pad, kernel)]
    body = " ".join(
        f"{field}_h: {h} {field}_w: {w}"
        for field, (h, w) in (("kernel", kernel), ("stride", stride), ("pad", pad))
    )
    x = distinct(2, 2, 5, 6)
    try:
        run = Run("Pooling", f"pooling_param {{ pool: {pool} round_mode: {mode} {body} }}", x)
    except InputError as err:
        assert "leaves a window outside" in str(err)
        assert mode == "CEIL" and any(s > k for s, k in zip(stride, kernel))
        return
    check_gradients(run, [x])


def test_global_pooling_takes_the_whole_image_at_every_size():
    run = Run("Pooling", "pooling_param { pool: AVE global_pooling: true }", pattern(2, 3, 4, 5))
    np.testing.assert_allclose(
        run.forward(), pattern(2, 3, 4, 5).mean((2, 3), keepdims=True), atol=1e-6
    )
    run.bottom[0].reshape(2, 3, 6, 2)
    run.set(pattern(2, 3, 6, 2))
    np.testing.assert_allclose(
        run.forward(), pattern(2, 3, 6, 2).mean((2, 3), keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "needs a kernel_size"),
        ("kernel_size: 2 pad: 1 pool: STOCHASTIC", "STOCHASTIC goes with pad 0"),
        ("kernel_size: 50000 stride: 50000 pool: STOCHASTIC", "more than 2147483647 elements"),
        ("kernel_size: 2 pad: 2", "must be smaller than the kernel"),
        ("kernel_size: 2 global_pooling: true", "give no kernel"),
        ("global_pooling: true stride: 2", "pad 0 and stride 1"),
        ("kernel_h: 2", "both kernel_h and kernel_w"),
        ("kernel_size: 2 stride: 3", "leaves a window outside"),
        ("kernel_size: 60000 pad: 59999 stride: 100000000", "pad .* more than 2147483647 elements"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(body, complaint):
    with pytest.raises(InputError, match=complaint):
        Run("Pooling", f"pooling_param {{ {body} }}", pattern(1, 1, 6, 6))


STOCHASTIC = "pooling_param { pool: STOCHASTIC %s }"


def expectation(x, geometry):
    """Σx² / Σx of each window, by loops; windows are cut off at the bottom's end."""
    kernel, stride, ceil = geometry
    sizes = [pooled_size(size, kernel, stride, 0, ceil) for size in x.shape[2:]]
    y = np.zeros((*x.shape[:2], *sizes))
    for n, c, h, w in np.ndindex(*y.shape):
        rows, columns = (slice(i * stride, i * stride + kernel) for i in (h, w))
        window = x[n, c, rows, columns].astype(np.float64)
        y[n, c, h, w] = (window**2).sum() / window.sum() if window.any() else 0
    return y


@pytest.mark.parametrize("geometry", [(2, 2, True), (3, 2, True), (3, 2, False), (3, 1, True)])
def test_stochastic_pooling_in_test_is_the_mean_under_its_probabilities(geometry):
    x = np.maximum(pattern(2, 3, 6, 7), 0)
    x[0, 0] = 0  # windows without any probability
    body = "kernel_size: {} stride: {} round_mode: {}".format(
        *geometry[:2], "CEIL" if geometry[2] else "FLOOR"
    )
    run = Run("Pooling", STOCHASTIC % body, x)
    np.testing.assert_allclose(run.forward(), expectation(x, geometry), rtol=1e-5)
    (diff,) = run.backward(np.ones(run.top[0].shape))
    assert np.isfinite(diff).all() and not diff[0, 0].any()
    positive = distinct(2, 3, 6, 7) + 20
    check_gradients(Run("Pooling", STOCHASTIC % body, positive), [positive])


def test_stochastic_pooling_in_train_chooses_by_the_elements_sizes():
    x = np.tile(np.array([[1, 0, 2], [5, 0, 0], [0, 2, 0]], np.float32), (3000, 1, 1, 1))
    run = Run("Pooling", STOCHASTIC % "kernel_size: 3", x, phase=caffe.TRAIN)
    y = run.forward().ravel()
    (diff,) = run.backward(np.full(run.top[0].shape, 7))
    assert set(y) == {1, 2, 5}
    # The gradient goes to the chosen element alone.
    np.testing.assert_array_equal((diff * x).sum((1, 2, 3)), 7 * y)
    assert set(diff.ravel()) == {0, 7}
    shares, expected = (diff[:, 0] > 0).mean(0), x[0, 0] / 10
    errors = 4 * np.sqrt(expected * (1 - expected) / len(x))
    assert (np.abs(shares - expected) <= errors).all()


def test_stochastic_pooling_draws_anew_and_the_seed_decides():
    x = distinct(2, 3, 7, 7) + 20
    run = Run("Pooling", STOCHASTIC % "kernel_size: 3 stride: 2", x, phase=caffe.TRAIN)
    caffe.set_random_seed(4)
    first, second = run.forward(), run.forward()
    caffe.set_random_seed(4)
    np.testing.assert_array_equal(run.forward(), first)
    assert (first != second).any()


def test_stochastic_pooling_of_windows_cut_off_by_the_bottoms_end_stays_inside():
    x = distinct(2, 2, 4, 5) + 20
    run = Run("Pooling", STOCHASTIC % "kernel_size: 3 stride: 3", x, phase=caffe.TRAIN)
    last = x[:, :, 3:, 3:].reshape(2, 2, -1)
    for _ in range(20):
        y = run.forward()
        assert (y[:, :, 1, 1, None] == last).any(2).all()


def test_stochastic_pooling_of_windows_without_positive_elements():
    x = np.stack([np.zeros((1, 2, 2)), [[[1, -8], [1, -8]]]]).astype(np.float32)
    run = Run("Pooling", STOCHASTIC % "global_pooling: true", x)
    np.testing.assert_array_equal(run.forward().ravel(), [0, 0])
    run = Run("Pooling", STOCHASTIC % "global_pooling: true", x, phase=caffe.TRAIN)
    assert run.forward()[0, 0, 0, 0] == 0
    x[1] = [[-4, -1], [-1, -1]]  # no running sum reaches r times the whole unless r is large
    run = Run("Pooling", STOCHASTIC % "global_pooling: true", x, phase=caffe.TRAIN)
    found = [run.forward()[1].item() for _ in range(50)]
    assert np.isnan(found).any()
    assert {value for value in found if not np.isnan(value)} <= {-4, -1}


def test_maxima_are_placed_in_the_order_in_memory_of_the_gradient(monkeypatch):
    """CUDA's kernel does not look at the order that the places lie in."""
    param = caffe_pb2.LayerParameter(name="pool", type="Pooling")
    param.pooling_param.kernel_size = param.pooling_param.stride = 2
    pool, bottom, top = create(param, caffe.TRAIN), Blob(1, 3, 4, 6), Blob()
    pool.setup([bottom], [top])
    pool.reshape([bottom], [top])
    seen, wrapped = [], pooling._aten
    backward = SimpleNamespace(
        grad_input=lambda *args, grad_input: (
            seen.append([args[-1].stride(), args[1].stride()]),
            wrapped.max_pool2d_with_indices_backward.grad_input(*args, grad_input=grad_input),
        )
    )
    aten = SimpleNamespace(
        max_pool2d_with_indices=wrapped.max_pool2d_with_indices,
        max_pool2d_with_indices_backward=backward,
    )
    monkeypatch.setattr(pooling, "_aten", aten)
    orders = torch.contiguous_format, torch.channels_last
    for first, second in itertools.product(orders, repeat=2):
        bottom.give(torch.randn(1, 3, 4, 6).contiguous(memory_format=first))
        pool.forward([bottom], [top])
        top.give_diff(torch.ones(1, 3, 2, 3).contiguous(memory_format=second))
        pool.backward([top], [True], [bottom])
        places, gradient = seen[-1]
        assert (places[1] == 1) == (gradient[1] == 1) == (second == torch.channels_last)
        assert bottom.diff.sum() == 18
