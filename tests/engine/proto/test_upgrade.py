"""Older nets and solvers brought up to the current schema, as BVLC Caffe 1.0 has them.

The expected nets are what BVLC Caffe 1.0 stores for these prototxts.
"""

from __future__ import annotations

import logging

import pytest

from caffe.errors import InputError
from caffe.proto import caffe_pb2, text
from caffe.proto.upgrade import V1_TYPES

INPUT = """
layer {
  name: "input" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 20 dim: 20 } }
}
"""
DIMS = 'input: "data" input_dim: 2 input_dim: 3 input_dim: 20 input_dim: 20\n'


def same(old: str, new: str) -> None:
    expected = text.parse(new, caffe_pb2.NetParameter())
    assert text.parse_net(old) == expected


def refused(content: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        text.parse_net(content, "net.prototxt")


def test_v0_padding_is_folded_into_the_convolution_that_reads_it():
    same(
        DIMS
        + 'layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "pad" }'
        + 'layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 5 stride: 2'
        + '  biasterm: false weight_filler { type: "gaussian" std: 0.01 }'
        + '  blobs_lr: 1 weight_decay: 0.5 } bottom: "pad" top: "c" }',
        INPUT
        + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c"'
        + "  param { lr_mult: 1 decay_mult: 0.5 } convolution_param { num_output: 4 pad: 2"
        + "  kernel_size: 5 stride: 2 bias_term: false"
        + '  weight_filler { type: "gaussian" std: 0.01 } } }',
    )


def test_v0_fields_move_into_the_message_of_their_layers_type():
    same(
        'layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.2 k: 2 } }'
        'layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 } }'
        'layers { layer { name: "d" type: "dropout" dropout_ratio: 0.3 } }'
        'layers { layer { name: "i" type: "innerproduct" num_output: 5 } }'
        'layers { layer { name: "c" type: "concat" concat_dim: 0 } }'
        'layers { layer { name: "x" type: "images" source: "s" batchsize: 3 rand_skip: 4'
        "  shuffle_images: true new_height: 5 scale: 2 meanfile: 'm' cropsize: 6 mirror: true } }",
        'layer { name: "n" type: "LRN" lrn_param { local_size: 3 alpha: 0.1 beta: 0.2 k: 2 } }'
        'layer { name: "p" type: "Pooling"'
        "  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }"
        'layer { name: "d" type: "Dropout" dropout_param { dropout_ratio: 0.3 } }'
        'layer { name: "i" type: "InnerProduct" inner_product_param { num_output: 5 } }'
        'layer { name: "c" type: "Concat" concat_param { concat_dim: 0 } }'
        'layer { name: "x" type: "ImageData" image_data_param { source: "s" batch_size: 3'
        "  rand_skip: 4 shuffle: true new_height: 5 }"
        "  transform_param { scale: 2 mean_file: 'm' crop_size: 6 mirror: true } }",
    )


def test_a_v0_field_that_does_not_apply_is_dropped_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, logger="caffe"):
        same(
            'layers { layer { name: "r" type: "relu" kernelsize: 3 } }',
            'layer { name: "r" type: "ReLU" }',
        )
    assert "layer 'r' of type 'relu': field 'kernelsize' does not apply" in caplog.text


def test_an_unknown_v0_type_is_refused():
    refused('layers { layer { name: "r" type: "frob" } }', "layer 'r' has unknown V0 type 'frob'")


def test_v0_padding_before_another_layer_is_refused():
    refused(
        DIMS + 'layers { layer { name: "p" type: "padding" } bottom: "data" top: "p" }'
        'layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }',
        "layer 'r' of V0 type 'relu' reads padding layer 'p'; only conv and pool may",
    )


def test_v1_layers_as_oxfords_vgg_has_them():
    same(
        DIMS + 'layers { name: "conv1_1" type: CONVOLUTION bottom: "data" top: "conv1_1"'
        "  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0"
        "  convolution_param { num_output: 64 pad: 1 kernel_size: 3 } }"
        'layers { name: "prob" type: SOFTMAX bottom: "conv1_1" top: "prob" }',
        INPUT + 'layer { name: "conv1_1" type: "Convolution" bottom: "data" top: "conv1_1"'
        "  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
        "  convolution_param { num_output: 64 pad: 1 kernel_size: 3 } }"
        'layer { name: "prob" type: "Softmax" bottom: "conv1_1" top: "prob" }',
    )


def test_v1_shared_parameters_become_param_messages():
    same(
        'layers { name: "a" type: DECONVOLUTION param: "w" param: "b" blob_share_mode: PERMISSIVE'
        "  blobs_lr: 3 loss_weight: 2 include { phase: TEST } exclude { stage: 'x' } }",
        'layer { name: "a" type: "Deconvolution" param { name: "w" share_mode: PERMISSIVE'
        '  lr_mult: 3 } param { name: "b" } loss_weight: 2 include { phase: TEST }'
        "  exclude { stage: 'x' } }",
    )


def test_v1_data_layers_hand_their_transform_over():
    same(
        'layers { name: "d" type: DATA data_param { source: "s" scale: 0.5 crop_size: 3'
        "  mirror: true mean_file: 'm' } }",
        'layer { name: "d" type: "Data" data_param { source: "s" }'
        "  transform_param { scale: 0.5 crop_size: 3 mirror: true mean_file: 'm' } }",
    )


def test_v1_type_names_are_caffes():
    names = caffe_pb2.V1LayerParameter.LayerType
    expected = {
        "NONE": "",
        "RELU": "ReLU",
        "BNLL": "BNLL",
        "LRN": "LRN",
        "MVN": "MVN",
        "TANH": "TanH",
        "IM2COL": "Im2col",
        "ARGMAX": "ArgMax",
        "ABSVAL": "AbsVal",
        "HDF5_OUTPUT": "HDF5Output",
        "SOFTMAX_LOSS": "SoftmaxWithLoss",
        "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
        "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
        "INNER_PRODUCT": "InnerProduct",
    }
    assert {name: V1_TYPES[names.Value(name)] for name in expected} == expected
    assert len(V1_TYPES) == len(names.keys())


def test_both_generations_in_one_net_are_refused():
    refused('layers { name: "a" type: RELU } layer { name: "b" }', "has both 'layers'")


def test_input_shapes_come_before_input_dims_and_the_layer_before_all_others():
    same(
        'layer { name: "r" type: "ReLU" bottom: "b" top: "r" } input: "a" input: "b"'
        "input_shape { dim: 1 dim: 2 } input_shape { dim: 3 } input_dim: 5",
        'layer { name: "input" type: "Input" top: "a" top: "b"'
        "  input_param { shape { dim: 1 dim: 2 } shape { dim: 3 } } }"
        'layer { name: "r" type: "ReLU" bottom: "b" top: "r" }',
    )


def test_inputs_without_a_shape_vanish():
    same('input: "a"', "")


def test_too_few_input_dims_are_refused():
    refused(DIMS + 'input: "label"', "2 input fields need 8 input_dim fields, not 4")


def test_batch_norm_loses_its_three_params_and_no_others():
    same(
        'layer { type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }'
        'layer { type: "BatchNorm" param { lr_mult: 0 } }'
        'layer { type: "Scale" param { } param { } param { } }',
        'layer { type: "BatchNorm" } layer { type: "BatchNorm" param { lr_mult: 0 } }'
        'layer { type: "Scale" param { } param { } param { } }',
    )


def test_a_current_net_is_left_as_it_is():
    net = INPUT + 'layer { name: "r" type: "ReLU" relu_param { negative_slope: 0.1 } }'
    same(net, net)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type_becomes_type(old, new):
    solver = text.parse_solver(f"solver_type: {old}")
    assert solver.type == new and not solver.HasField("solver_type")


def test_both_type_and_solver_type_are_refused():
    with pytest.raises(InputError, match="has both 'type' and the older 'solver_type'"):
        text.parse_solver('type: "Adam" solver_type: SGD')


def test_nets_within_a_solver_are_upgraded():
    solver = text.parse_solver('net_param { layers { name: "r" type: RELU } }')
    assert solver.net_param.layer[0].type == "ReLU"
