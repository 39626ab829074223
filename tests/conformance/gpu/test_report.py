"""What CONFORMANCE_GPU_REPORT and CONFORMANCE_GPU_QUICK make of a run."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.gpu import sides

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """lines() -> what is in the report."""
    path = tmp_path / "report.jsonl"
    monkeypatch.setattr(sides, "REPORT", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def test_each_array_is_a_line_with_its_deviation_and_limit(lines):
    one = {"data a": np.array([1.0, 2.0]), "note": "x"}
    sides.assert_agree(one, {"data a": np.array([1.0, 2.002]), "note": "x"}, lambda name: 0.01)
    (line,) = lines()
    assert line["test"].endswith("test_each_array_is_a_line_with_its_deviation_and_limit")
    assert line["what"] == "data a" and line["limit"] == 0.01
    assert line["deviation"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("got", "deviation"),
    [
        ({"a": np.array([1.0, 3.0])}, 0.5),
        ({"a": np.array([1.0, np.nan])}, None),
        ({"a": np.ones(3)}, None),
        ({"b": np.ones(2)}, None),
    ],
)
def test_a_comparison_that_fails_is_a_line_too(lines, got, deviation):
    with pytest.raises(AssertionError):
        sides.assert_agree({"a": np.array([1.0, 2.0])}, got, 0.1)
    assert lines()[0]["deviation"] == deviation


@pytest.mark.slow
def test_a_run_adds_lines_as_it_goes_and_one_for_each_test_that_failed(tmp_path):
    file = tmp_path / "report.jsonl"
    file.write_text("what was there\n")
    env = {**os.environ, "CONFORMANCE_GPU": "", "CONFORMANCE_GPU_QUICK": "1"}
    env["CONFORMANCE_GPU_REPORT"] = str(file)
    env["PYTHONPATH"] = os.pathsep.join(str(ROOT / name) for name in ("", "engine", "data_layers"))
    env["PYTEST_ADDOPTS"] = "-p no:cacheprovider"
    code = (
        "import sys, pytest\n"
        "def broken(*args): raise RuntimeError('the pass failed\\nsecond line')\n"
        "from tests.conformance.gpu import test_on_gpu_solvers as t; t.on_cpu_and_gpu = broken\n"
        "sys.exit(pytest.main(['-q', '-o', 'addopts=', t.__file__, '-k', 'SGD']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    kept, line = file.read_text().splitlines()
    line = json.loads(line)
    assert kept == "what was there"
    assert line["test"].endswith("test_training_agrees[SGD]")
    assert line["what"] == "failed: RuntimeError: the pass failed"
    assert line["deviation"] is None and line["limit"] is None


@pytest.mark.parametrize(("quick", "cases"), [("", 50), ("0", 50), ("1", 4)])
def test_the_quick_part_is_fewer_cases(monkeypatch, quick, cases):
    monkeypatch.setenv("CONFORMANCE_GPU", "emulated")
    monkeypatch.setenv("CONFORMANCE_GPU_QUICK", quick)
    found = runpy.run_path(sides.__file__)
    assert found["CASES"] == cases and found["WHOLE"]
