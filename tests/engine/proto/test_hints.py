"""Which names are held out to those who misspell one."""

from __future__ import annotations

import pytest

import caffe
from caffe.proto import caffe_pb2
from caffe.proto.hints import did_you_mean, near
from caffe.proto.mistakes import unknown_type

TYPES = {
    "convolution": "Convolution",
    "RELU": "ReLU",
    "relu": "ReLU",
    "Softmaxwithloss": "SoftmaxWithLoss",
    "Inner_Product": "InnerProduct",
    "Conv": "Convolution",
    "Deconv": "Deconvolution",
    "Pool": "Pooling",
    "SoftmaxLoss": "SoftmaxWithLoss",
    "BatchNormalization": "BatchNorm",
    "Dense": "InnerProduct",
    "Convolutoin": "Convolution",
    "Elwise": "Eltwise",
}
FIELDS = {
    ("ConvolutionParameter", "numoutput"): ["num_output"],
    ("ConvolutionParameter", "num_outputs"): ["num_output"],
    ("ConvolutionParameter", "kernel"): ["kernel_size", "kernel_h", "kernel_w"],
    ("ConvolutionParameter", "hole"): [],
    ("LayerParameter", "convolution_parm"): ["convolution_param"],
    ("LayerParameter", "conv_param"): ["convolution_param"],
    ("LayerParameter", "interp_param"): [],
    ("LayerParameter", "permute_param"): [],
    ("PoolingParameter", "ceil_mode"): [],
    ("SolverParameter", "step_size"): ["stepsize"],
    ("SolverParameter", "lr"): ["base_lr"],
}


@pytest.mark.parametrize("word", TYPES)
def test_a_type_that_is_all_but_right_is_found(word):
    assert near(word, caffe.layer_type_list()) == [TYPES[word]]


@pytest.mark.parametrize(
    "word", ["BN", "Permute", "Interp", "Upsample", "Foo", "", "X", "Loss", "GELU", "CReLU"]
)
def test_a_far_type_is_not_held_out(word):
    assert near(word, caffe.layer_type_list()) == []


@pytest.mark.parametrize(("message", "word"), FIELDS)
def test_fields_are_found_alike(message, word):
    fields = getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name
    assert near(word, fields) == FIELDS[message, word]


def test_several_names_are_listed_and_more_than_three_are_none():
    assert (
        did_you_mean("soft", ["Softer", "Softmax", "x"]) == "; did you mean 'Softer' or 'Softmax'?"
    )
    assert did_you_mean("abc", ["abcd", "abce", "abcf", "abcg"]) == ""


@pytest.mark.parametrize("word", ["Relu6", "RoIPooling", "AXPY", "permute"])
def test_a_type_of_another_caffe_is_known_in_any_case(word):
    assert "it is a type of " in unknown_type(word, caffe.layer_type_list())


@pytest.mark.parametrize(
    "message, word, meant",
    [("LayerParameter", "input", "bottom"), ("DropoutParameter", "ratio", "dropout_ratio"),
     ("ReLUParameter", "slope", "negative_slope"), ("ConvolutionParameter", "padding", "pad")],
)  # fmt: skip
def test_what_others_call_a_field_is_known(message, word, meant):
    assert near(word, getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name) == [meant]
