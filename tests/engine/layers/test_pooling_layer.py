"""Pooling. The numbers marked so are BVLC Caffe 1.0's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_runs import Run, check_gradients, distinct, pattern

from caffe.errors import InputError
from caffe.layers.pooling import pooled_size

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
        ("kernel_size: 2 pool: STOCHASTIC", "use MAX or AVE"),
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
