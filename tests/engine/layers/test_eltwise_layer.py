"""Eltwise. The numbers marked so are BVLC Caffe 1.0's."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern


@given(
    st.integers(2, 4),
    st.sampled_from(["SUM", "COEFF", "PROD", "UNSTABLE", "MAX"]),
)
@settings(max_examples=25, deadline=None)
def test_gradients_agree_with_differences(count, kind):
    arrays = list(distinct(count, 2, 3, 2))
    body = {
        "SUM": "",
        "COEFF": "coeff: [" + ", ".join(str(i - 1.5) for i in range(count)) + "]",
        "PROD": "operation: PROD",
        "UNSTABLE": "operation: PROD stable_prod_grad: false",
        "MAX": "operation: MAX",
    }[kind]
    check_gradients(Run("Eltwise", f"eltwise_param {{ {body} }}", *arrays), arrays)


def test_of_equal_maxima_the_gradient_goes_where_caffe_sends_it():
    a, b, c = [1, 2, 3, 3, -1], [1, 1, 3, 4, 0], [1, 2, 3, 4, 1]
    run = Run("Eltwise", "eltwise_param { operation: MAX }", a, b, c)
    np.testing.assert_array_equal(run.forward(), [1, 2, 3, 4, 1])
    # BVLC Caffe's
    expected = [[0, 3, 0, 0, 0], [-4, 0, -1, 6, 0], [0, 0, 0, 0, 2]]
    np.testing.assert_array_equal(run.backward([-4, 3, -1, 6, 2]), expected)


def test_stable_product_gradient_is_finite_at_zero():
    run = Run("Eltwise", "eltwise_param { operation: PROD }", [0.0, 2.0], [3.0, 4.0])
    run.forward()
    np.testing.assert_array_equal(run.backward([1, 1]), [[3, 4], [0, 2]])


def test_bottoms_of_two_shapes_are_refused_by_name_and_shape():
    message = r"'L' \(Eltwise\).*'b0' and 'b1'.*\(1, 2, 3, 3\) and \(1, 2, 4, 4\) differ"
    with pytest.raises(InputError, match=message):
        Run("Eltwise", "", pattern(1, 2, 3, 3), pattern(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("operation: PROD coeff: 1 coeff: 2", "coeff goes with operation: SUM"),
        ("coeff: 1", "1 coeffs for 2 bottoms"),
    ],
)
def test_coefficients_that_do_not_fit_are_refused(body, complaint):
    with pytest.raises(InputError, match=complaint):
        Run("Eltwise", f"eltwise_param {{ {body} }}", pattern(2), pattern(2))


def test_work_in_place_is_refused():
    with pytest.raises(InputError, match="cannot work in place"):
        Run("Eltwise", "", pattern(2), pattern(2), in_place=True)
