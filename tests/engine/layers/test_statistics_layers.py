"""MVN, Reduction."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

MVN = [
    "",
    "mvn_param { across_channels: true }",
    "mvn_param { normalize_variance: false }",
    "mvn_param { normalize_variance: false across_channels: true }",
]
OPERATIONS = {
    "SUM": lambda x: x.sum(-1),
    "ASUM": lambda x: abs(x).sum(-1),
    "SUMSQ": lambda x: (x * x).sum(-1),
    "MEAN": lambda x: x.mean(-1),
}


@pytest.mark.parametrize("body", MVN)
def test_mvn_gradients_agree_with_differences(body):
    x = distinct(2, 2, 3, 3)
    check_gradients(Run("MVN", body, x), [x])


@pytest.mark.parametrize("body", MVN)
def test_mvn_in_place_gives_the_same_numbers(body):
    x, dy = distinct(2, 2, 3, 3), pattern(2, 2, 3, 3)
    results = []
    for in_place in (False, True):
        run = Run("MVN", body, x, in_place=in_place)
        results.append((run.forward(), *run.backward(dy)))
    for apart, within in zip(*results):
        np.testing.assert_array_equal(apart, within)


def test_mvn_divides_by_the_standard_deviation_plus_eps():
    x = pattern(2, 2, 2, 2)
    y = Run("MVN", "mvn_param { across_channels: true eps: 0.5 }", x).forward()
    rows = x.reshape(2, 8).astype(np.float64)
    wanted = (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 0.5)
    np.testing.assert_allclose(y.reshape(2, 8), wanted, rtol=1e-6)
    # BVLC Caffe's numbers
    np.testing.assert_allclose(y.ravel()[:3], [-1.407238, 0.469079, -0.603102], rtol=2e-6)


def test_mvns_eps_counts_in_the_gradient_as_it_does_in_caffe():
    run = Run("MVN", "mvn_param { across_channels: true eps: 0.5 }", pattern(2, 2, 2, 2))
    run.forward()
    (dx,) = run.backward((np.arange(16) % 5 - 1.5).reshape(2, 2, 2, 2))
    # BVLC Caffe's numbers
    wanted = [-0.211241, -0.242306, 0.19666, 0.165595, 0.60456, -0.296701, -0.327766, 0.1112]
    np.testing.assert_allclose(dx[0].ravel(), wanted, atol=2e-6)


def test_mvn_gives_a_smaller_bottom_four_axes():
    run = Run("MVN", "mvn_param { across_channels: true }", pattern(2, 3))
    y = run.forward()
    assert y.shape == (2, 3, 1, 1)
    # BVLC Caffe's numbers
    wanted = [-1.162476, 1.278724, -0.116248, 1.224745, 0, -1.224745]
    np.testing.assert_allclose(y.ravel(), wanted, atol=2e-6)
    # One number alone is its own mean, and has no gradient.
    run = Run("MVN", "", pattern(3, 4))
    assert not run.forward().any()
    assert not run.backward(pattern(3, 4, 1, 1))[0].any()


def test_mvn_follows_its_bottoms_shape():
    run = Run("MVN", "", distinct(1, 2, 3, 3))
    run.forward()
    run.bottom[0].reshape(2, 1, 2, 4)
    run.bottom[0].data[...] = distinct(2, 1, 2, 4)
    y = run.forward().reshape(2, 8)
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(1), 1, rtol=1e-5)
    assert run.backward(pattern(2, 1, 2, 4))[0].shape == (2, 1, 2, 4)


def test_mvn_takes_four_axes_at_most():
    with pytest.raises(InputError, match="at most 4 axes; its shape is \\(1, 1, 1, 2, 2\\)"):
        Run("MVN", "", pattern(1, 1, 1, 2, 2))


@given(
    operation=st.sampled_from(sorted(OPERATIONS)),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    coeff=st.sampled_from([1, 0.5, -2]),
    data=st.data(),
)
def test_reduction_makes_one_number_of_all_axes_from_its_axis_on(operation, shape, coeff, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = distinct(*shape)
    body = f"reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}"
    kept = shape[:axis] if axis else []
    y = Run("Reduction", body, x).forward()
    wanted = coeff * OPERATIONS[operation](x.reshape(*kept, -1).astype(np.float64))
    assert y.shape == tuple(kept)
    # What cancels in a sum leaves the rounding of its addends.
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6 * max(1, np.abs(coeff * x).sum()))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reduction_gradients_agree_with_differences(operation, axis):
    x = distinct(2, 3, 2)
    body = f"reduction_param {{ operation: {operation} axis: {axis} coeff: -1.5 }}"
    check_gradients(Run("Reduction", body, x), [x])


def test_the_absolute_value_has_no_gradient_at_zero():
    run = Run("Reduction", "reduction_param { operation: ASUM }", np.array([-2.0, 0.0, 3.0]))
    assert run.forward() == 5
    np.testing.assert_array_equal(run.backward(2)[0], [-2, 0, 2])


def test_reduction_needs_an_axis_that_is_there():
    with pytest.raises(InputError, match="axis 2 is out of range"):
        Run("Reduction", "reduction_param { axis: 2 }", pattern(2, 2))
    with pytest.raises(InputError, match="axis 0 is out of range"):
        Run("Reduction", "", np.zeros(()))
    with pytest.raises(InputError, match="cannot work in place"):
        Run("Reduction", "", pattern(2, 2), in_place=True)
