"""Input and DummyData."""

import numpy as np
import pytest

from caffe.errors import InputError
from tests.helpers.layer_runs import Run


def test_input_gives_one_shape_to_all_or_one_to_each():
    one = Run("Input", "input_param { shape { dim: 1 dim: 3 } }", tops=2)
    assert [blob.shape for blob in one.top] == [(1, 3)] * 2
    each = Run("Input", "input_param { shape { dim: 1 } shape { dim: 2 } }", tops=2)
    assert [blob.shape for blob in each.top] == [(1,), (2,)]
    with pytest.raises(InputError, match="2 shapes for 3 tops"):
        Run("Input", "input_param { shape { dim: 1 } shape { dim: 2 } }", tops=3)


def test_input_keeps_the_shape_and_the_data_that_the_user_gave():
    run = Run("Input", "input_param { shape { dim: 2 } }")
    run.top[0].reshape(3)
    run.top[0].data[...] = 4
    np.testing.assert_array_equal(run.forward(), [4, 4, 4])


def test_dummy_data_fills_constants_once_and_everything_else_each_time():
    run = Run(
        "DummyData",
        "dummy_data_param { shape { dim: 20 } data_filler { value: 3 } "
        'data_filler { type: "gaussian" } }',
        tops=2,
    )
    run.forward()
    assert (run.top[0].data == 3).all()
    run.top[0].data[0] = 8
    first = run.top[1].data.copy()
    run.forward()
    assert run.top[0].data[0] == 8
    assert (run.top[1].data != first).any()


def test_dummy_data_takes_the_older_four_numbers():
    run = Run("DummyData", "dummy_data_param { num: 1 channels: 2 height: 3 width: 4 }", tops=2)
    assert [blob.shape for blob in run.top] == [(1, 2, 3, 4)] * 2


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("shape { dim: 1 } num: 1", "not both"),
        ("num: 1 channels: 2", "has 0 height for 3 tops"),
        ("shape { dim: 1 } shape { dim: 1 }", "2 shapes for 3 tops"),
        ('shape { dim: 1 } data_filler { type: "gausian" }', "'gaussian'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(body, complaint):
    with pytest.raises(InputError, match=complaint):
        Run("DummyData", f"dummy_data_param {{ {body} }}", tops=3).forward()
