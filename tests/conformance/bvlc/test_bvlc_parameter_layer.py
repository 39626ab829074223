"""The Parameter layer, which takes no bottom: its top is its parameter."""

from __future__ import annotations

import pytest

from tests.conformance.nets import FORCED, data, ip, layer, net
from tests.conformance.small import LABEL, LOSS, agree, values

MATRIX = "parameter_param { shape { dim: 2 dim: 5 } }"
SUMSQ = layer(
    "loss", "Reduction", "sum", more="reduction_param { operation: SUMSQ } loss_weight: 1"
)
SUM = layer("sum", "Eltwise", ["data", "p"], more="eltwise_param { coeff: 1 coeff: -2 }")

NETS = {
    "by itself": net(layer("p", "Parameter", more=MATRIX), head=FORCED),
    "a scalar": net(layer("p", "Parameter"), head=FORCED),
    "read once": net(data(2, 5), layer("p", "Parameter", more=MATRIX), SUM, SUMSQ),
    "read twice": net(
        data(2, 5),
        layer("p", "Parameter", more=MATRIX),
        SUM,
        layer("more", "Eltwise", ["sum", "p"], more="eltwise_param { operation: PROD }"),
        SUMSQ.replace('"sum"', '"more"'),
    ),
    "frozen": net(
        data(2, 5), layer("p", "Parameter", more=MATRIX + " param { lr_mult: 0 }"), SUM, SUMSQ
    ),
    "shared by name": net(
        data(2, 5),
        layer("p", "Parameter", more=MATRIX + ' param { name: "w" }'),
        layer("q", "Parameter", more=MATRIX + ' param { name: "w" }'),
        SUM.replace('"p"', '"q"'),
        layer("more", "Eltwise", ["sum", "p"]),
        SUMSQ.replace('"sum"', '"more"'),
    ),
}


@pytest.mark.parametrize("what", NETS)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_nets_with_a_parameter_layer_agree(what, phase):
    inputs = {"data": values(2, 5)} if '"Input"' in NETS[what] else {}
    agree(f"Parameter {what}", "one_net", {"prototxt": NETS[what], "phase": phase}, inputs)


def test_a_parameter_layers_gradient_is_replaced_and_not_added_to_in_both():
    args = {"prototxt": NETS["read twice"], "phase": "TRAIN"}
    agree("Parameter, twice", "accumulated_gradients", args, {"data": values(2, 5)})


@pytest.mark.parametrize("solver", [[], ["iter_size: 2"], ["momentum: 0.9", "weight_decay: 0.1"]])
def test_training_a_parameter_layer_agrees(solver):
    text = net(
        data(2, 5),
        LABEL,
        layer("p", "Parameter", more=MATRIX),
        SUM,
        ip("score", "sum"),
        LOSS,
    )
    lines = ["base_lr: 0.05", 'lr_policy: "fixed"', *solver]
    agree("Parameter, training", "training", {"prototxt": text, "solver": lines, "steps": 5})
