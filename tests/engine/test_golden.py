"""BVLC Caffe's stored answers (tests/conformance/make_golden.py): the engine gives them too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from tests.conformance import both, case_tools, scenarios
from tests.conformance.small import FLOOR, tolerance

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
LAYERS = sorted(path.stem for path in (GOLDEN / "layers").glob("*.npz"))
SOLVERS = sorted(path.stem for path in (GOLDEN / "solvers").glob("*.npz"))
WITHOUT_ANSWERS = {
    "Data", "DummyData", "HDF5Data", "HDF5Output", "ImageData", "Input", "MemoryData",
    "Parameter", "Python", "Silence", "WindowData",
}  # fmt: skip
"""They take no bottom, or give no top, or read files."""


@pytest.fixture(autouse=True)
def one_thread():
    """The nets are too small for several threads to do anything but wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stored(path):
    """[(arguments, {name: BVLC Caffe's array})] of one file."""
    with np.load(path) as file:
        cases = [(args, {}) for args in json.loads(file["cases"].tobytes())]
        for key in set(file.files) - {"cases"}:
            number, _, name = key.partition(" ")
            cases[int(number)][1][name] = file[key]
    return cases


def agree(expected, found, limit, floor):
    """The engine's results hold every array of BVLC Caffe's, and it is within tolerance."""
    assert expected
    both.compare(expected, {name: found.get(name) for name in expected}, limit, floor)


def test_every_layer_type_has_answers():
    types = set(caffe.layer_type_list()) - case_tools.BEYOND_BVLC
    assert set(LAYERS) | WITHOUT_ANSWERS == types
    assert sum(len(stored(GOLDEN / "layers" / f"{kind}.npz")) for kind in LAYERS) >= 300


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_gives_the_stored_answers(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for args, expected in stored(GOLDEN / "layers" / f"{kind}.npz"):
        arrays = case_tools.inputs({"bottoms": args["bottoms"], "seed": args["seed"]})
        found = scenarios.find("one_net")(args, arrays)
        agree(expected, found, tolerance, FLOOR)


@pytest.mark.parametrize("kind", SOLVERS)
def test_a_solver_gives_the_stored_parameters(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = stored(GOLDEN / "solvers" / f"{kind}.npz")
    assert len(cases) == 7
    for args, expected in cases:
        agree(expected, scenarios.find("training")(args, {}), 1e-4, floor=0.0)
