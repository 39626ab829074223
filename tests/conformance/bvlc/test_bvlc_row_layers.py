"""Gradients of BatchReindex, Embed and Filter, which refuse a net with force_backward: here a
learnable layer below asks for them, and a loss above gives them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given

from tests.conformance import both, case_tools, report
from tests.conformance.bvlc.test_bvlc_layers import CASES
from tests.conformance.nets import layer, net
from tests.conformance.small import FLOOR, tolerance

WHOLE = "scale_param { axis: 0 num_axes: -1 bias_term: true }"


def learnable_net(one, kind):
    """Inputs, a Scale as large as each (none for row numbers and selectors), the layer, a loss."""
    shapes = [dims for _, dims in one["bottoms"]]
    layers = []
    for i, dims in enumerate(shapes):
        sizes = " ".join(f"dim: {n}" for n in dims)
        layers.append(layer(f"bottom{i}", "Input", more=f"input_param {{ shape {{ {sizes} }} }}"))
    bottoms = [f"bottom{i}" for i in range(len(shapes))]
    scaled = 0 if kind == "Embed" else len(shapes) - 1
    for i in range(scaled):
        layers.append(layer(f"scaled{i}", "Scale", bottoms[i], more=WHOLE))
        bottoms[i] = f"scaled{i}"
    tops = [f"top{i}" for i in range(one["tops"])]
    links = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
    layers.append(f'layer {{ name: "it" {" ".join(links)} {one["layer"]} }}')
    squares = "reduction_param { operation: SUMSQ } loss_weight: 0.5"
    layers += [layer(f"loss{i}", "Reduction", top, more=squares) for i, top in enumerate(tops)]
    return net(*layers)


@pytest.mark.parametrize("kind", ["BatchReindex", "Embed", "Filter"])
def test_gradients_of_layers_that_choose_rows_agree(kind):
    @case_tools.drawing(3 * CASES)
    @given(case_tools.STRATEGIES[kind])
    def check(one):
        inputs = case_tools.inputs(one)
        # BVLC Caffe divides by the number of chosen rows.
        assume(kind != "Filter" or np.any(list(inputs.values())[-1]))
        args = {"prototxt": learnable_net(one, kind), "phase": one["phase"], "seed": one["seed"]}
        errors = both.compare(*both.run_both("one_net", args, inputs), tolerance, FLOOR)
        some = {k: v for k, v in errors.items() if k.startswith(("diff ", "gradient "))}
        assert some
        report.record("one layer", f"{kind}, gradients", some)

    check()
