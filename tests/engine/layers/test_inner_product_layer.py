"""InnerProduct."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern


@given(st.integers(-3, 2), st.booleans(), st.booleans())
@settings(max_examples=20, deadline=None)
def test_it_is_a_matrix_product_over_the_axes_from_axis_on(axis, transpose, bias):
    x = distinct(2, 3, 4)
    run = Run(
        "InnerProduct",
        f"inner_product_param {{ num_output: 5 axis: {axis} transpose: {str(transpose).lower()} "
        f"bias_term: {str(bias).lower()} }}",
        x,
    )
    check_gradients(run, [x])
    lead = x.shape[: axis % 3]
    weight = run.layer.blobs[0].data
    inputs = int(np.prod(x.shape[axis % 3 :]))
    assert weight.shape == ((inputs, 5) if transpose else (5, inputs))
    expected = x.reshape(*lead, inputs) @ (weight if transpose else weight.T)
    if bias:
        expected = expected + run.layer.blobs[1].data
    run.set(x)
    np.testing.assert_allclose(run.forward(), expected, rtol=1e-4, atol=1e-4)


def test_another_number_of_inputs_is_refused():
    run = Run("InnerProduct", "inner_product_param { num_output: 2 }", pattern(2, 3))
    run.bottom[0].reshape(2, 4)
    with pytest.raises(InputError, match=r"set up for 3 inputs.*\(2, 4\)"):
        run.forward()
