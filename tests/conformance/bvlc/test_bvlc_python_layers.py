"""Python layers: what they are told, when, and what becomes of what they do."""

from __future__ import annotations

import pytest

from tests.conformance.nets import FORCED, conv, data, ip, layer, net
from tests.conformance.small import agree


def python(name, kind, bottom, top=None, more=""):
    module = "tests.conformance.python_layers"
    param = f'python_param {{ module: "{module}" layer: "{kind}" param_str: "{name}\'s" }}'
    return layer(name, "Python", bottom, top, f"{param} {more}")


PYTHON_NETS = {
    "with a parameter": net(
        data(2, 3, 6), python("w", "Weighted", "data"), ip("score", "w"), head=FORCED
    ),
    "with a fixed parameter": net(
        data(2, 3, 6),
        layer("a", "InnerProduct", "data", more="inner_product_param { num_output: 6 axis: 2 }"),
        python("w", "Weighted", "a", more="param { lr_mult: 0 }"),
        python("loss", "HalfSquare", "w", more="loss_weight: 1"),
    ),
    "as a loss": net(
        data(2, 3, 6),
        layer("a", "InnerProduct", "data", more="inner_product_param { num_output: 6 axis: 2 }"),
        python("loss", "HalfSquare", "a", more="loss_weight: 0.5"),
    ),
    "in place": net(
        data(2, 3, 6), python("w", "Weighted", "data", "data"), ip("score", "data"), head=FORCED
    ),
    "with a parameter shared by name": net(
        data(2, 3, 6),
        python("w", "Weighted", "data", more='param { name: "w" }'),
        python("v", "Weighted", "w", more='param { name: "w" }'),
        head=FORCED,
    ),
}


@pytest.mark.parametrize("what", PYTHON_NETS)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_python_layers_are_called_alike(what, phase):
    sizes = [[2, 3, 6], [4, 3, 6], [4, 3, 6]]
    args = {"prototxt": PYTHON_NETS[what], "phase": phase, "sizes": sizes}
    agree(f"Python layer {what}", "python_layer_calls", args)


def test_a_python_layer_that_is_a_data_layer_is_called_alike():
    text = net(python("source", "Source", [], ["data", "more"]), conv("a", "data"), head=FORCED)
    args = {"prototxt": text, "reads": ["data", "a"], "times": 3}
    agree("Python layer as data layer", "data_layer_calls", args)
