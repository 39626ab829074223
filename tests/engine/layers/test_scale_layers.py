"""Scale and Bias."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

SHAPE = (2, 3, 4, 2)


def spread(small, axis):
    return small.reshape(small.shape + (1,) * (len(SHAPE) - axis - small.ndim))


@given(st.integers(0, 3), st.integers(-1, 4), st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_parameters_are_spread_from_axis_over_num_axes(axis, num_axes, bias, negative):
    num_axes = min(num_axes, 4 - axis)
    stop = 4 if num_axes == -1 else axis + num_axes
    given_axis = axis - 4 if negative else axis
    body = f"axis: {given_axis} num_axes: {num_axes}"
    x = distinct(*SHAPE)
    run = Run("Scale", f"scale_param {{ {body} bias_term: {str(bias).lower()} }}", x)
    assert [b.shape for b in run.layer.blobs] == [SHAPE[axis:stop]] * (1 + bias)
    np.testing.assert_array_equal(run.forward(), x)  # the scale starts at 1, the bias at 0
    check_gradients(run, [x])
    expected = x * spread(run.layer.blobs[0].data, axis)
    if bias:
        expected = expected + spread(run.layer.blobs[1].data, axis)
    run.set(x)
    np.testing.assert_allclose(run.forward(), expected, rtol=1e-5, atol=1e-6)
    shift = Run("Bias", f"bias_param {{ {body} }}", x)
    check_gradients(shift, [x])


@pytest.mark.parametrize(("small", "axis"), [((3,), 1), ((2, 3), 0), ((), 0), ((), 3), (SHAPE, 0)])
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_the_small_blob_may_be_a_bottom(kind, small, axis):
    arrays = [distinct(*SHAPE), distinct(*small, seed=1)]
    run = Run(kind, f"{kind.lower()}_param {{ axis: {axis} }}", *arrays)
    assert not run.layer.blobs
    check_gradients(run, arrays)


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
@pytest.mark.parametrize("small", [(), (3,)])
def test_in_place_gives_the_same_numbers(kind, small):
    arrays = [distinct(*SHAPE), distinct(3, seed=1)][: 1 + bool(small)]
    results = []
    for in_place in (False, True):
        run = Run(kind, "", *arrays, in_place=in_place)
        if run.layer.blobs:
            run.layer.blobs[0].data[...] = [2, 3, 4]
        y = run.forward()
        diffs = run.backward(pattern(*SHAPE))
        results.append([y, *diffs, *[b.diff.copy() for b in run.layer.blobs]])
    for apart, within in zip(*results):
        np.testing.assert_array_equal(apart, within)


def test_a_fixed_scale_in_place_passes_the_gradient_down():
    run = Run("Scale", "scale_param { filler { value: 0.01 } }", pattern(1, 3, 2), in_place=True)
    run.layer.param_propagate_down = [False]
    np.testing.assert_allclose(run.forward(), 0.01 * pattern(1, 3, 2))
    np.testing.assert_allclose(run.backward(np.ones((1, 3, 2)))[0], 0.01)
    assert not run.layer.blobs[0].diff.any()


def test_parameter_diffs_add_up_for_a_batch_of_one():
    # BVLC Caffe 1.0 overwrites the scale's diff when all axes before `axis` are 1, so that
    # iter_size > 1 loses gradients there.
    run = Run("Scale", "", pattern(1, 3, 2))
    run.forward()
    run.backward(np.ones((1, 3, 2)))
    once = run.layer.blobs[0].diff.copy()
    run.backward(np.ones((1, 3, 2)))
    np.testing.assert_allclose(run.layer.blobs[0].diff, 2 * once)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"scale of shape \(4,\) does not fit \(2, 3, 4, 2\)"):
        Run("Scale", "", pattern(*SHAPE), pattern(4))
    with pytest.raises(InputError, match="num_axes 4 at axis 1"):
        Run("Scale", "scale_param { num_axes: 4 }", pattern(*SHAPE))
