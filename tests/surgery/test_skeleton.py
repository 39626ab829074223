"""Nets without their data."""

import pytest
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from prototxt.skeleton import build, read_prototxt, without_data
from tests.helpers.surgery_nets import small_train_net


def inputs(text):
    """top -> shape of every Input layer that stands for a data layer of the net in `text`."""
    net = without_data(text_format.Parse(text, caffe_pb2.NetParameter()))
    return {
        top: list(shape.dim)
        for layer in net.layer
        if layer.type == "Input"
        for top, shape in zip(layer.top, layer.input_param.shape)
    }


def test_a_net_is_built_though_its_data_layer_cannot_be():
    net = build(text_format.Parse(small_train_net(), caffe_pb2.NetParameter()), "small")
    assert tuple(net.blobs["data"].shape) == (1, 3, 64, 64)
    assert tuple(net.blobs["label"].shape) == (1, 1, 64, 64)


@pytest.mark.skipif(not hasattr(caffe, "engine"), reason="BVLC Caffe aborts on a wrong net")
def test_a_net_that_cannot_be_built_is_named_by_its_own_file():
    text = small_train_net().replace('"ReLU"', '"RELU"')
    with pytest.raises(ValueError, match="^mine.prototxt: .*RELU") as caught:
        build(text_format.Parse(text, caffe_pb2.NetParameter()), "mine.prototxt")
    assert caught.value.exit_code == 2


def test_the_mean_says_how_many_channels_there_are():
    assert inputs(small_train_net(mean="1, 2, 3, 4"))["data"] == [1, 4, 64, 64]


def test_colour_depth_and_label_get_their_channels():
    text = """layer { name: "data" type: "Python" top: "color" top: "depth" top: "label"
      python_param { module: "m" layer: "L" param_str: "{'mean': (1, 2, 3, 4)}" } }
    layer { name: "c" type: "Convolution" bottom: "color" top: "c"
      convolution_param { num_output: 1 kernel_size: 3 pad: 100 } }"""
    assert {top: shape[1] for top, shape in inputs(text).items()} == (
        {"color": 3, "depth": 1, "label": 1}
    )


def test_what_a_loss_compares_with_has_one_channel_whatever_its_name():
    text = """layer { name: "d" type: "Data" top: "data" top: "truth" }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "truth" top: "loss" }"""
    assert inputs(text) == {"data": [1, 3, 224, 224], "truth": [1, 1, 224, 224]}


def test_param_str_runs_no_code(tmp_path):
    text = small_train_net().replace("{'folder'", "__import__('os').mkdir('%s') or {'folder'")
    assert inputs(text % (tmp_path / "ran"))["data"] == [1, 3, 64, 64]
    assert not (tmp_path / "ran").exists()


def test_every_committed_net_has_an_image_and_a_label(root):
    paths = sorted((root / "prototxt" / "nets").rglob("train.prototxt"))
    if not paths:
        pytest.skip("no net is generated")
    for path in paths:
        found = inputs(path.read_text())
        assert found["label"] == [1, 1, 64, 64], path
        assert all(shape[2:] == [64, 64] for shape in found.values()), path


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no layers"),
        ('layers { name: "a" type: RELU }', "V1"),
        ('layer { nam: "a" }', "1:.*nam.*Did you mean 'name'"),
    ],
)
def test_what_is_no_net_is_named(tmp_path, text, words):
    path = tmp_path / "bad.prototxt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"bad.prototxt:.*{words}") as caught:
        read_prototxt(str(path))
    assert caught.value.exit_code == 2
