"""Random small nets of one layer each: outputs within 1e-4, gradients within 1e-3."""

from __future__ import annotations

import importlib
from pathlib import Path

import both
import case_tools
import pytest
import report
from hypothesis import HealthCheck, Phase, given, settings

for _file in sorted(Path(__file__).parent.glob("cases*.py")):
    importlib.import_module(_file.stem)  # fills case_tools.STRATEGIES

CASES = 50
"""Of each layer type, that both sides accept."""
# Values are about 1 by construction: an error is relative to the largest value of its blob, or to
# this where even that is smaller (a gradient that all but cancels is rounding noise in both).
FLOOR = 1e-2

# Derandomised: what is red on one machine is red on all.
conformance = settings(
    max_examples=3 * CASES,  # some are refused by both
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


def tolerance(name):
    return 1e-4 if name.startswith("data ") else 1e-3


# Both refuse to be asked for a gradient of these (test_bvlc_row_layers.py asks otherwise).
NO_GRADIENT = {"Accuracy", "ArgMax", "BatchReindex", "Embed", "Filter", "Threshold"}
# Compared by test_bvlc_mechanics.py, test_bvlc_parameter_layer.py and test_bvlc_data_layers.py:
# they take no bottom, or are written by a user, or write files.
ELSEWHERE = {"DummyData", "Input", "Parameter", "Python", "Silence"}
ELSEWHERE |= {"Data", "HDF5Data", "HDF5Output", "ImageData", "MemoryData", "WindowData"}


@pytest.mark.skipif(both.BVLC_ON_BOTH_SIDES, reason="BVLC Caffe has more layers than the engine")
def test_every_layer_of_the_engine_is_compared():
    theirs, ours = both.run_both("layer_types")
    types = set(ours["types"])
    assert types == set(theirs["types"]) and len(types) == 61
    assert types <= set(case_tools.STRATEGIES) | ELSEWHERE, "write a strategy in a cases*.py"


@pytest.mark.parametrize("layer_type", sorted(case_tools.STRATEGIES))
def test_random_nets_of_one_layer_agree(layer_type):
    if layer_type not in both.run("engine", "layer_types")["types"]:
        pytest.skip(f"the engine has no {layer_type} layer")
    tried = {"compared": 0, "refused": 0}

    @conformance
    @given(case_tools.STRATEGIES[layer_type])
    def check(one):
        if tried["compared"] == CASES:
            return
        args = {"prototxt": case_tools.prototxt(one), "phase": one["phase"], "seed": one["seed"]}
        args["backward"] = one.get("backward", layer_type not in NO_GRADIENT)
        args["positive_params"] = one.get("positive_params", False)
        results = both.both_or_neither("one_net", args, case_tools.inputs(one))
        tried["refused" if results is None else "compared"] += 1
        if results is None:
            return
        errors = both.compare(*results, tolerance, FLOOR)
        for kind, prefix in (("outputs", "data "), ("gradients", ("diff ", "gradient "))):
            some = {k: v for k, v in errors.items() if k.startswith(prefix)}
            if some:
                report.record("one layer", f"{layer_type}, {kind}", some)

    check()
    assert tried["compared"] == CASES, f"too few cases that BVLC Caffe accepts: {tried}"
