"""What is said of names of other Caffes, of the older format, and of what stands elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe
from caffe.errors import InputError
from caffe.proto import caffe_pb2, forks, text


def said_of(content: str) -> str:
    with pytest.raises(InputError) as caught:
        text.parse_net(content, "n")
    return str(caught.value)


def said_of_type(name: str, tmp_path) -> str:
    (tmp_path / "n.prototxt").write_text(f'layer {{ name: "a" type: "{name}" top: "a" }}')
    with pytest.raises(InputError) as caught:
        caffe.Net(str(tmp_path / "n.prototxt"), caffe.TEST)
    return str(caught.value)


FIELDS = {
    "convolution_param { hole: 2 }": "it is a field of DeepLab v1; take dilation",
    "pooling_param { ceil_mode: false }": "take round_mode: CEIL (the default) or FLOOR",
    "interp_param { height: 3 }": "it is a field of DeepLab, PSPNet and caffe-tvg",
    "permute_param { order: 0 }": "it is a field of SSD",
    "bn_param { bn_mode: INFERENCE }": "it is a field of SegNet, ENet and PSPNet",
    "loss_param { class_weighting: 1 }": "it is a field of SegNet and ENet",
    "transform_param { crop_width: 3 }": "it is a field of DeepLab v2; take crop_size",
    "blobs_lr: 1": "of the older format's layers { }; write param { lr_mult: … }",
    "weight_decay: 1": "of the older format's layers { }; write param { decay_mult: … }",
    "lr_mult: 1": "has no field 'lr_mult'",
    "negative_slope: 1": "it is a field of relu_param",
    "kernel_w: 1": "it is a field of convolution_param or pooling_param",
}


@pytest.mark.parametrize("fields", FIELDS)
def test_a_field_is_told_where_it_comes_from(fields):
    message = said_of(f"layer {{ {fields} }}")
    assert message.startswith("n:1: ") and FIELDS[fields] in message and "mean" not in message


TYPES = {
    "Interp": "has the unknown type 'Interp'; it is a type of DeepLab, PSPNet and caffe-tvg",
    "BN": "it is a type of SegNet, ENet and PSPNet; take BatchNorm and a Scale behind it",
    "Permute": "it is a type of SSD",
    "ReLU6": "take Clip with min: 0 max: 6",
    "DepthwiseConvolution": "take Convolution with group as large as num_output",
    "RELU": "has the older format's type 'RELU'; in layer { } it is type: \"ReLU\"",
    "SOFTMAX_LOSS": 'in layer { } it is type: "SoftmaxWithLoss"',
    "convolution": "did you mean 'Convolution'?",
    "Conv": "did you mean 'Convolution'?",
    "Nothing": "has the unknown type 'Nothing'; known: AbsVal",
    "": 'has no type; say type: "Name"',
}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_told_where_it_comes_from(tmp_path, name):
    assert TYPES[name] in said_of_type(name, tmp_path)


MIXED = {
    'layers { type: "ReLU" }': 'the older format: write type: RELU, or layer { type: "ReLU" }',
    "layers { type: ReLU }": 'the older format: write type: RELU, or layer { type: "ReLU" }',
    'layers { type: "RELU" }': "has the value RELU: write it without quotes",
    "layers { type: INTERP }": "has no type INTERP; it is a type of DeepLab, PSPNet",
    "layers { type: DENSE_CRF }": "has no type DENSE_CRF; it is a type of DeepLab",
    "layers { type: IMAGE_SEG_DATA }": "it is a type of DeepLab and PSPNet",
    "layers { type: BATCH_NORM }": 'BATCH_NORM; newer types need layer { type: "Name" }',
    "layers { type: CONVOLUTOIN }": "did you mean 'CONVOLUTION'?",
    "layers { batch_norm_param { } }": 'the older format; write layer { type: "Name" }',
    "layer { type: RELU }": 'RELU is the older format\'s type; in layer { } write type: "ReLU"',
    "layer { type: ReLU }": 'ReLU is a string: write it in quotes, "ReLU"',
    "layer { name: conv1 }": 'conv1 is a string: write it in quotes, "conv1"',
    'layer { include { phase: "TEST" } }': "Phase has the value TEST: write it without quotes",
    "layer { pooling_param { pool: ave } }": "has no value 'ave'; it knows MAX, AVE, STOCHASTIC",
    "base_lr: 1": "is this a solver's file?",
}


@pytest.mark.parametrize("content", MIXED)
def test_formats_that_are_mixed_up_are_told_apart(content):
    assert MIXED[content] in said_of(content)


def test_a_net_given_as_a_solver_is_recognised():
    with pytest.raises(InputError, match="is this a net's file"):
        text.parse_solver('layer { name: "x" }', "s")


def test_the_table_of_forks_names_nothing_that_is_there():
    file = Path(forks.__file__).parent / "forks.tsv"
    rows = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    assert len({tuple(row[:3]) for row in rows}) == len(rows) > 100
    for kind, message, name, of, _ in rows:
        assert of and kind in ("type", "field")
        if kind == "type":
            assert name not in caffe.layer_type_list()
        else:
            assert name not in getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name
