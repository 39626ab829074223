"""Parameter: a blob that is learned, as a layer's top."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.engine import InputError
from tests.helpers.layer_runs import Run, pattern
from tests.helpers.net_texts import data, layer

PARAM = "parameter_param { shape { dim: 2 dim: 3 } }"
NET = (
    data(2, 3)
    + layer("p", "Parameter", more=PARAM)
    + layer("difference", "Eltwise", ["data", "p"], more="eltwise_param { coeff: 1 coeff: -1 }")
    + layer("loss", "Reduction", "difference", more="reduction_param { operation: SUMSQ } "
            "loss_weight: 1")
)  # fmt: skip
SETTINGS = 'net: "net.prototxt" base_lr: 0.25 lr_policy: "fixed" display: 0'


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3, 4, 5)])
def test_the_top_has_the_parameters_shape_and_is_zero_at_first(shape):
    dims = " ".join(f"dim: {d}" for d in shape)
    run = Run("Parameter", f"parameter_param {{ shape {{ {dims} }} }}")
    assert run.top[0].shape == run.layer.blobs[0].shape == shape
    np.testing.assert_array_equal(run.forward(), np.zeros(shape))


def test_top_and_parameter_are_one_memory(make):
    net = make(NET)
    net.params["p"][0].data[...] = pattern(2, 3)
    np.testing.assert_array_equal(net.blobs["p"].data, pattern(2, 3))
    net.blobs["p"].diff[...] = pattern(2, 3)
    np.testing.assert_array_equal(net.params["p"][0].diff, pattern(2, 3))


def test_the_gradient_is_what_the_readers_make_of_it(make):
    net = make(NET)
    net.blobs["data"].data[...] = pattern(2, 3)
    net.params["p"][0].data[...] = 1
    assert net.forward()["loss"] == np.square(pattern(2, 3) - 1).sum()
    net.backward()
    np.testing.assert_array_equal(net.params["p"][0].diff, -2 * (pattern(2, 3) - 1))


def test_a_second_backward_replaces_the_gradient(make):
    net = make(NET)
    net.blobs["data"].data[...] = pattern(2, 3)
    for _ in range(2):
        net.forward()
        net.backward()
    np.testing.assert_array_equal(net.params["p"][0].diff, -2 * pattern(2, 3))


def test_a_step_moves_the_parameter_against_its_gradient(make_solver):
    solver = make_solver(NET, SETTINGS)
    solver.net.blobs["data"].data[...] = pattern(2, 3)
    solver.net.params["p"][0].data[...] = 1
    solver.step(1)
    expected = 1 + 0.25 * 2 * (pattern(2, 3) - 1)
    np.testing.assert_array_equal(solver.net.params["p"][0].data, expected)


def test_a_parameter_of_learning_rate_zero_stays(make_solver):
    solver = make_solver(NET.replace(PARAM, PARAM + " param { lr_mult: 0 }"), SETTINGS)
    solver.net.blobs["data"].data[...] = pattern(2, 3)
    solver.net.params["p"][0].data[...] = 1
    solver.step(2)
    assert (solver.net.params["p"][0].data == 1).all()


def test_a_stored_parameter_comes_back(make, tmp_path):
    net = make(NET)
    net.params["p"][0].data[...] = pattern(2, 3)
    net.save(str(tmp_path / "x.caffemodel"))
    other = make(NET)
    other.copy_from(str(tmp_path / "x.caffemodel"))
    other.forward()
    np.testing.assert_array_equal(other.blobs["p"].data, pattern(2, 3))


def test_a_stored_parameter_of_another_shape_is_refused(make, tmp_path):
    make(NET).save(str(tmp_path / "x.caffemodel"))
    other = make(layer("p", "Parameter", more="parameter_param { shape { dim: 7 } }"))
    with pytest.raises(InputError, match=r"x\.caffemodel.*layer 'p'.*2.*3.*7"):
        other.copy_from(str(tmp_path / "x.caffemodel"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (data(2) + layer("p", "Parameter", "data", more=PARAM), "takes 0 bottom blobs, is given 1"),
        (layer("p", "Parameter", (), ["p", "q"], more=PARAM), "takes 1 top blobs, is given 2"),
        (layer("p", "Parameter", more=PARAM + " blobs { shape { dim: 3 } data: [1, 2, 3] }"),
         r"the parameter comes with shape \(3,\); needs \(2, 3\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, text, words):
    with pytest.raises(InputError, match=rf"layer 'p' \(Parameter\): {words}") as error:
        make(text)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
