"""Which layers a file of weights leaves without any."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe
from tools.common import missing
from tools.common.cli import UserError
from tools.common.nets import read_net

CONV = "convolution_param { num_output: 2 kernel_size: 1 %s }"
INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 '
    "dim: 4 } } }\n"
)
FIXED = "param { lr_mult: 0 } "


def layer(name, kind, more=""):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "data" top: "{name}" {more} }}\n'


BILINEAR = "bias_term: false weight_filler { type: 'bilinear' }"


@pytest.fixture
def left(tmp_path, monkeypatch):
    """left(layers) -> those that the weights of a net of one convolution, `conv`, lack."""
    monkeypatch.chdir(tmp_path)
    Path("small.prototxt").write_text(INPUT + layer("conv", "Convolution", CONV % ""))
    caffe.Net("small.prototxt", caffe.TEST).save("small.caffemodel")

    def found(layers):
        Path("net.prototxt").write_text(INPUT + layer("conv", "Convolution", CONV % "") + layers)
        net = caffe.Net("net.prototxt", caffe.TEST)
        return missing.without(read_net("net.prototxt"), "small.caffemodel", list(net.params))[0]

    return found


@pytest.mark.parametrize(
    "layers, lacks",
    [
        ("", []),
        (layer("a", "InnerProduct", "inner_product_param { num_output: 2 }"), ["a"]),
        (layer("a", "BatchNorm"), ["a"]),
        (layer("a", "BatchNorm", FIXED * 3), ["a"]),
        (layer("a", "Scale", "scale_param { filler { type: 'constant' } }"), ["a"]),
        (layer("a", "Scale", FIXED + "scale_param { filler { type: 'constant' value: 2 } }"), []),
        (layer("a", "Deconvolution", FIXED + CONV % "bias_term: false"), ["a"]),
        (layer("a", "Deconvolution", FIXED + CONV % "weight_filler { type: 'bilinear' }"), ["a"]),
        (layer("a", "Deconvolution", FIXED * 2 + CONV % "weight_filler { type: 'bilinear' }"), []),
        (layer("a", "Deconvolution", FIXED + CONV % BILINEAR), []),
        (layer("a", "Deconvolution", FIXED + CONV % "weight_filler { type: 'xavier' }"), ["a"]),
        (layer("a", "Deconvolution", CONV % "weight_filler { type: 'bilinear' }"), ["a"]),
        (layer("a", "PReLU", "include { phase: TRAIN }"), []),
        (layer("a", "ReLU") + layer("b", "Pooling", "pooling_param { kernel_size: 2 }"), []),
    ],
)
def test_a_layer_without_weights_is_found_unless_it_fills_itself(left, layers, lacks):
    assert left(layers) == lacks


@pytest.mark.parametrize("form", ["caffemodel", "h5"])
def test_parameters_that_layers_share_are_needed_once(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    both = 'param { name: "w" } param { name: "b" } ' + CONV % ""
    Path("net.prototxt").write_text(
        INPUT + layer("a", "Convolution", both) + layer("b", "Convolution", both)
    )
    net = caffe.Net("net.prototxt", caffe.TEST)
    (net.save_hdf5 if form == "h5" else net.save)(f"w.{form}")
    proto = read_net("net.prototxt")
    missing.check_weights(proto, "net.prototxt", f"w.{form}")
    assert missing.without(proto, f"w.{form}", list(net.params))[0] == []


def test_before_a_net_is_made_its_layers_are_told_by_their_types(left):
    layers = (
        layer("batch", "BatchNorm") + layer("scale", "Scale") + layer("bias", "Bias")
        + layer("prelu", "PReLU") + layer("up", "Deconvolution", CONV % "")
        + layer("ip", "InnerProduct", "inner_product_param { num_output: 2 }")
        + layer("embed", "Embed", "embed_param { num_output: 2 input_dim: 2 }")
        + layer("two", "Scale", 'bottom: "data" scale_param { axis: 0 }') + layer("relu", "ReLU")
        + 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 1 } } }\n'
        + layer("train", "PReLU", "include { phase: TRAIN }")
        + layer("test", "PReLU", "include { phase: TEST }")
        + layer("not test", "PReLU", "exclude { phase: TEST }")
    )  # fmt: skip
    made = left(layers)
    assert ["conv", *made] == missing.learned(read_net("net.prototxt"), caffe.TEST)
    assert "test" in made and "train" not in made


def test_both_refusals_are_one_line(left):
    left(layer("a", "PReLU"))
    proto = read_net("net.prototxt")
    with pytest.raises(UserError, match="small.caffemodel: has no weights for a of net.prototxt"):
        missing.check_weights(proto, "net.prototxt", "small.caffemodel")
    proto.layer[1].name = "other"
    with pytest.raises(UserError, match="for no layer of x: it has conv, and the net needs other"):
        missing.check_weights(proto, "x", "small.caffemodel")
