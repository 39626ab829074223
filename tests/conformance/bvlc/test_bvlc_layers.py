"""Random small nets of one layer each: outputs within 1e-4, gradients within 1e-3."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.conformance import both, case_tools, report
from tests.conformance.small import FLOOR, tolerance

case_tools.load_strategies()
CASES = 50
"""Of each layer type, that both sides accept."""
# Compared by test_bvlc_mechanics.py, test_bvlc_parameter_layer.py and test_bvlc_data_layers.py:
# they take no bottom, or are written by a user, or write files.
ELSEWHERE = {"DummyData", "Input", "Parameter", "Python", "Silence"}
ELSEWHERE |= {"Data", "HDF5Data", "HDF5Output", "ImageData", "MemoryData", "WindowData"}


@pytest.mark.skipif(both.BVLC_ON_BOTH_SIDES, reason="BVLC Caffe has more layers than the engine")
def test_every_layer_of_the_engine_is_compared():
    theirs, ours = both.run_both("layer_types")
    types = set(theirs["types"])
    assert set(ours["types"]) == types | case_tools.BEYOND_BVLC and len(types) == 61
    assert types <= set(case_tools.STRATEGIES) | ELSEWHERE, "write a strategy in a cases*.py"


@pytest.mark.parametrize("layer_type", sorted(case_tools.STRATEGIES))
def test_random_nets_of_one_layer_agree(layer_type):
    if layer_type not in both.run("engine", "layer_types")["types"]:
        pytest.skip(f"the engine has no {layer_type} layer")
    tried = {"compared": 0, "refused": 0}

    @case_tools.drawing(3 * CASES)  # some are refused by both
    @given(case_tools.STRATEGIES[layer_type])
    def check(one):
        if tried["compared"] == CASES:
            return
        args = case_tools.arguments(layer_type, one)
        results = both.both_or_neither("one_net", args, case_tools.inputs(one))
        tried["refused" if results is None else "compared"] += 1
        if results is None:
            return
        errors = both.compare(*results, tolerance, FLOOR)
        parts = {"outputs": "data ", "gradients": ("diff ", "gradient ")}
        report.record_parts("one layer", f"{layer_type}, ", errors, parts)

    check()
    assert tried["compared"] == CASES, f"too few cases that BVLC Caffe accepts: {tried}"
