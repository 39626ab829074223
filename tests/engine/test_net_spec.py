"""Nets written in Python; expected texts are what BVLC Caffe 1.0's NetSpec gives."""

from __future__ import annotations

import pytest

import caffe
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2, text


def same(net, expected: str) -> None:
    assert net == text.parse(expected, caffe_pb2.NetParameter())


def test_assigned_names_name_tops_and_layers():
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module="m", layer="C", ntop=2, param_str="{'a': 1}")
    n.conv = L.Convolution(n.data, kernel_size=3, num_output=4, param=[dict(lr_mult=1)])
    n.relu = L.ReLU(n.conv, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu, n.label, loss_param=dict(ignore_label=255, normalize=False))
    same(
        n.to_proto(),
        """
        layer { name: "data" type: "Python" top: "data" top: "label"
          python_param { module: "m" layer: "C" param_str: "{'a': 1}" } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 }
          convolution_param { num_output: 4 kernel_size: 3 } }
        layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss"
          loss_param { ignore_label: 255 normalize: false } }
        """,
    )


def test_anonymous_tops_are_named_by_type_and_number():
    n = caffe.NetSpec()
    hidden = L.Convolution(L.Input(shape=dict(dim=[1, 2])), num_output=3)
    n.b = L.Convolution(hidden)
    n.z = L.ReLU(L.Convolution(n.b), in_place=True)
    same(
        n.to_proto(),
        """
        layer { name: "Input1" type: "Input" top: "Input1"
          input_param { shape { dim: 1 dim: 2 } } }
        layer { name: "Convolution1" type: "Convolution" bottom: "Input1" top: "Convolution1"
          convolution_param { num_output: 3 } }
        layer { name: "b" type: "Convolution" bottom: "Convolution1" top: "b" }
        layer { name: "Convolution2" type: "Convolution" bottom: "b" top: "Convolution2" }
        layer { name: "z" type: "ReLU" bottom: "Convolution2" top: "Convolution2" }
        """,
    )


def test_name_sets_the_layers_name_and_not_its_tops():
    top = L.Convolution(L.Input(name="zz"), name="cc", kernel_size=[3, 5])
    same(
        top.to_proto(),
        """
        layer { name: "zz" type: "Input" top: "Input1" }
        layer { name: "cc" type: "Convolution" bottom: "Input1" top: "Convolution1"
          convolution_param { kernel_size: 3 kernel_size: 5 } }
        """,
    )


def test_layers_without_tops_are_written_where_they_were_assigned():
    n = caffe.NetSpec()
    n.a, n.b = L.DummyData(ntop=2)
    n.quiet = L.Silence(n.b, ntop=0)
    n["block/relu"] = L.ReLU(n.a)
    same(
        n.to_proto(),
        """
        layer { name: "a" type: "DummyData" top: "a" top: "b" }
        layer { name: "quiet" type: "Silence" bottom: "b" }
        layer { name: "block/relu" type: "ReLU" bottom: "a" top: "block/relu" }
        """,
    )


def test_layer_fields_take_lists_dicts_and_constants():
    top = L.Pooling(
        L.Input(),
        pool=P.Pooling.AVE,
        include=dict(phase=caffe.TEST),
        exclude=[dict(stage=["a", "b"]), dict(min_level=1)],
        loss_weight=3,
        propagate_down=(True,),
        transform_param=dict(mean_value=[1.5, 2]),
    )
    same(
        top.to_proto(),
        """
        layer { name: "Input1" type: "Input" top: "Input1" }
        layer { name: "Pooling1" type: "Pooling" bottom: "Input1" top: "Pooling1" loss_weight: 3
          include { phase: TEST } exclude { stage: "a" stage: "b" } exclude { min_level: 1 }
          propagate_down: true transform_param { mean_value: 1.5 mean_value: 2 }
          pooling_param { pool: AVE } }
        """,
    )


def test_of_two_names_for_a_top_the_last_one_holds():
    n = caffe.NetSpec()
    n.a = L.Input()
    n.b = n.a
    same(n.to_proto(), 'layer { name: "b" type: "Input" top: "b" }')


def test_a_net_deeper_than_pythons_stack_is_written():
    top = L.Input()
    for _ in range(3000):
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 3001


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: L.Convolution(L.Input(), kernl_size=3).to_proto(),
            AttributeError,
            "no field 'kernl_size'; did you mean 'kernel_size'",
        ),
        (
            lambda: L.ReLU(L.Input(), relu_param=dict(negativ_slope=1)).to_proto(),
            AttributeError,
            "ReLUParameter has no field 'negativ_slope'; did you mean 'negative_slope'",
        ),
        (
            lambda: L.Convolution(L.Input(), num_output="3").to_proto(),
            TypeError,
            "ConvolutionParameter.num_output = '3'",
        ),
        (
            lambda: L.Convolution(L.Input(), num_output=-1).to_proto(),
            ValueError,
            "ConvolutionParameter.num_output = -1",
        ),
        (lambda: L.ReLU(3), TypeError, "ReLU input 0 is not a Top"),
        (lambda: L.ReLU(L.Data(ntop=2)), TypeError, "ReLU input 0 is not a Top"),
        (lambda: L.ReLU(in_place=True), TypeError, "ReLU in place must have one input"),
        (lambda: P.Pooling.MAXX, AttributeError, "no constant 'MAXX' .it has: MAX, AVE"),
        (lambda: P.Poling, AttributeError, "'Poling'"),
        (lambda: caffe.NetSpec().conv, KeyError, "no top 'conv'"),
        (lambda: setattr(caffe.NetSpec(), "a", 3), TypeError, "'a' can only be a layer's top"),
        (lambda: caffe.to_proto(3), TypeError, "to_proto takes tops"),
    ],
)
def test_mistakes_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_attributes_that_are_missing_are_missing():
    assert not hasattr(caffe.NetSpec(), "conv") and not hasattr(L, "__file__")
