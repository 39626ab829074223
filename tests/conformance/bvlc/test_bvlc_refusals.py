"""What BVLC Caffe refuses, the engine refuses too, as an error of the input (exit code 2)."""

from __future__ import annotations

import pytest

from tests.conformance import both, report
from tests.conformance.nets import conv, data, ip, layer, net
from tests.conformance.small import X, values

REFUSED = {
    "sharing between other shapes": net(
        data(2, 6),
        ip("a", "data", 4, 'param { name: "w" }'),
        ip("b", "data", 5, 'param { name: "w" }'),
    ),
    "lr_mult given twice, differing": net(
        data(2, 4),
        ip("a", "data", 4, 'param { name: "w" lr_mult: 1 }'),
        ip("b", "a", 4, 'param { name: "w" lr_mult: 2 }'),
    ),
    "decay_mult given twice, differing": net(
        data(2, 4),
        ip("a", "data", 4, 'param { name: "w" decay_mult: 1 }'),
        ip("b", "a", 4, 'param { name: "w" decay_mult: 2 }'),
    ),
    "unknown bottom": net(X, conv("a", "nowhere")),
    "bottom made later": net(conv("a", "data"), X),
    "a top made twice": net(X, conv("a", "data", top="x"), conv("b", "data", top="x")),
    "unknown layer type": net(X, layer("a", "Convolutoin", "data")),
    "unknown field": net(X, layer("a", "ReLU", "data", more="relu_parm { }")),
    "too many params": net(X, conv("a", "data", more="param { } param { } param { }")),
    "too few bottoms": net(X, layer("a", "Eltwise", "data")),
    "too many bottoms": net(X, layer("a", "ReLU", ["data", "data"])),
    "include and exclude": net(
        X, conv("a", "data", more="include { phase: TEST } exclude { phase: TRAIN }")
    ),
    "propagate_down of another length": net(
        X, conv("a", "data", more="propagate_down: true propagate_down: true")
    ),
    "loss_weight of another length": net(
        X, conv("a", "data", more="loss_weight: 1 loss_weight: 1")
    ),
    "kernel larger than the padded bottom": net(X, conv("a", "data", kernel=9)),
    "no kernel size": net(
        X, layer("a", "Convolution", "data", more="convolution_param { num_output: 1 }")
    ),
    "no outputs": net(
        X, layer("a", "Convolution", "data", more="convolution_param { kernel_size: 1 }")
    ),
    "group that does not divide": net(
        X,
        layer(
            "a",
            "Convolution",
            "data",
            more="convolution_param { num_output: 4 kernel_size: 1 group: 2 }",
        ),
    ),
    "Eltwise of other shapes": net(X, conv("a", "data"), layer("b", "Eltwise", ["data", "a"])),
    "Concat of other shapes": net(X, conv("a", "data"), layer("b", "Concat", ["data", "a"])),
    "Crop beyond the bottom": net(
        X, conv("a", "data"), layer("b", "Crop", ["data", "a"], more="crop_param { offset: 5 }")
    ),
    "pad as large as the kernel": net(
        X, layer("a", "Pooling", "data", more="pooling_param { kernel_size: 2 pad: 2 }")
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_both_refuse(what):
    inputs = {"data": values(2, 3, 6, 6)} if X in REFUSED[what] else {}
    args = {"prototxt": REFUSED[what], "phase": "TRAIN"}
    assert both.both_or_neither("one_net", args, inputs) is None, "both accept it"
    report.record("net", "refused by both")
