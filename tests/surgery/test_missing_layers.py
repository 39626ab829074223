"""Which layers could never learn, and what they are filled with."""

import numpy as np
import pytest
from google.protobuf import text_format

from caffe.proto import caffe_pb2
from surgery.fillers import dead_layers, msra

CHAIN = """
layer { name: "a" type: "Convolution" bottom: "data" top: "a" }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "drop" type: "Dropout" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" }
layer { name: "side" type: "Convolution" bottom: "data" top: "side" }
layer { name: "sum" type: "Eltwise" bottom: "b" bottom: "side" top: "sum" }
layer { name: "up" type: "Deconvolution" bottom: "sum" top: "up" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "up" bottom: "label" top: "loss" }
"""


def dead(text, zero):
    return dead_layers(text_format.Parse(text, caffe_pb2.NetParameter()), set(zero))


@pytest.mark.parametrize(
    "zero, expected",
    [
        (["b"], []),
        (["b", "side"], []),
        (["a"], ["a"]),
        (["a", "b"], ["a"]),
        (["a", "b", "side"], ["a"]),
        (["b", "up"], ["b"]),
        ([], []),
    ],
)
def test_a_layer_of_zeros_is_dead_under_a_relu_or_another_layer_of_zeros(zero, expected):
    assert dead(CHAIN, zero) == expected


def test_a_relu_behind_a_dropout_or_a_scale_counts_too():
    between = """
    layer { name: "a" type: "Convolution" bottom: "data" top: "a" }
    layer { name: "s" type: "Scale" bottom: "a" top: "s" }
    layer { name: "d" type: "Dropout" bottom: "s" top: "s" }
    layer { name: "r" type: "ReLU" bottom: "s" top: "r" }
    """
    assert dead(between, ["a"]) == ["a"]


def test_a_relu_behind_a_sum_leaves_the_layer_alive():
    residual = """
    layer { name: "a" type: "Convolution" bottom: "data" top: "a" }
    layer { name: "s" type: "Eltwise" bottom: "a" bottom: "data" top: "s" }
    layer { name: "r" type: "ReLU" bottom: "s" top: "s" }
    """
    assert dead(residual, ["a"]) == []


def test_msra_has_the_deviation_of_its_fan_in():
    weights = msra((200, 50, 3, 3), seed=0, name="fc6")
    assert weights.dtype == np.float32
    assert weights.std() == pytest.approx(np.sqrt(2 / 450), rel=0.02)
    assert abs(weights.mean()) < 0.001


def test_msra_numbers_depend_on_seed_and_name_only():
    known = [0.46776217, -0.2615512, -0.053275846, 0.061191127, -0.56222278, 0.32621112]
    assert np.allclose(msra((2, 3, 1, 1), 7, "fc6").ravel(), known, rtol=1e-6, atol=0)
    assert not np.array_equal(msra((2, 3), 7, "fc6"), msra((2, 3), 8, "fc6"))
    assert not np.array_equal(msra((2, 3), 7, "fc6"), msra((2, 3), 7, "fc7"))
