"""The stage `conformance`, on small suites of its own kind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.processes import environment
from tools.benchmark.sides import driver_name
from tools.common.cli import Failure
from tools.gpu import conformance
from tools.gpu.conformance_table import main_figure, markdown

HEAD = """
import json, os, pytest, time
def told(what, deviation, limit=1e-3):
    with open(os.environ["CONFORMANCE_GPU_REPORT"], "a") as file:
        line = {"test": "this", "what": what, "deviation": deviation, "limit": limit}
        file.write(json.dumps(line) + "\\n")
    assert deviation is not None and deviation <= limit
"""
GOOD = """
def test_layers_agree():
    told("data", 1e-6); told("diff", 2e-4); told("bias", 0.0, 0.0)
def test_on_the_right_side():
    assert os.environ["CONFORMANCE_GPU"] == "emulated"
    assert os.environ["CONFORMANCE_GPU_QUICK"] == "1"
"""
FAR = 'def test_nets_agree(): told("score", None)\n'
CRASH = """
def test_that_ends_its_process(): told("x", 1e-9); os.kill(os.getpid(), 9)
def test_after_it(): told("y", 1e-9)
"""
LOST = """
def test_that_breaks_the_gpu():
    with open("broken", "w") as file: file.write(str(os.getpid()))
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
def test_after_it():
    assert open("broken").read() != str(os.getpid())
    told("y", 1e-9)
"""
SKIPS = 'def test_of_databases(): pytest.skip("lmdb is not installed")\n'
SLOW = "def test_one(): told('x', 0.0)\ndef test_two(): time.sleep(60)\n"


@pytest.fixture
def suite(tmp_path, monkeypatch, root):
    """`run(until, name=text…)` runs the stage on such test files until the test `until` has ended;
    gives its results, and the text of the Failure that it raised, or None."""
    monkeypatch.setattr(conformance, "ROOT", tmp_path)
    monkeypatch.setattr(conformance, "SUITE", Path("suite"))
    for name, value in environment(root).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "suite").mkdir()
    (tmp_path / "scratch").mkdir()

    def run(until=None, **files):
        for name, text in files.items():
            (tmp_path / "suite" / f"test_on_gpu_{name}.py").write_text(HEAD + text)
        told = []
        job = SimpleNamespace(
            gpu=None,
            folder=tmp_path / "scratch",
            left=lambda: 0 if until in outcomes(told) else 60,
            say=lambda line: None,
            result=lambda kind, **values: told.append({"kind": kind, **values}),
            cut_off=lambda: told.append({"kind": "told the runner"}),
        )
        try:
            conformance.run(job)
        except Failure as failure:
            return told, str(failure)
        return told, None

    return run


def outcomes(told):
    return {r["test"].rpartition("::")[2]: r["outcome"] for r in told if r["kind"] == "test"}


@pytest.mark.slow
def test_the_comparison_nearest_to_its_limit_is_shown_per_kind_of_test(suite):
    told, error = suite(layers=GOOD, nets=SKIPS)
    assert error is None
    assert outcomes(told) == {
        "test_layers_agree": "passed",
        "test_on_the_right_side": "passed",
        "test_of_databases": "skipped",
    }
    text = markdown(told)
    assert "| layers agree | 1 | 0 | 0 | 3 | 2.0e-04 | 1e-03 | diff |" in text
    assert "\nSkipped: lmdb is not installed.\n" in text
    assert main_figure(told).startswith("3 of 3 tests, 0 failed; 3 comparisons, the nearest at 0.2")


@pytest.mark.slow
def test_a_comparison_beyond_its_limit_fails_the_stage(suite):
    told, error = suite(layers=GOOD, nets=FAR)
    assert error == "1 of 3 tests failed: test_nets_agree"
    assert "| nets agree | 0 | 1 | 0 | 1 | inf | 1e-03 | score |" in markdown(told)
    assert "Failed: 1." in markdown(told)


@pytest.mark.slow
@pytest.mark.parametrize("text", [CRASH, LOST], ids=["ended process", "lost GPU"])
def test_a_test_that_takes_its_process_along_costs_no_other_test(suite, text):
    told, error = suite(layers=text, solvers=GOOD)
    found = outcomes(told)
    assert len(found) == 4 and found.pop("test_after_it") == "passed"
    assert list(found.values()).count("failed") == 1 and error.startswith("1 of 4 tests failed")


@pytest.mark.slow
def test_a_file_that_cannot_be_collected_fails_the_stage_and_costs_no_other(suite):
    told, error = suite(layers="import no_such_module\n", nets=GOOD)
    assert error == "suite/test_on_gpu_layers.py cannot be collected"
    assert len(outcomes(told)) == 2 and "No module named 'no_such_module'" in markdown(told)


def test_where_the_time_is_over_the_tests_that_have_ended_stand(suite):
    told, error = suite(until="test_one", layers=SLOW)
    assert error is None and outcomes(told) == {"test_one": "passed"}
    assert told[-2:] == [
        {"kind": "cut", "test": "suite/test_on_gpu_layers.py::test_two"},
        {"kind": "told the runner"},
    ]
    assert "The time was over in suite/test_on_gpu_layers.py::test_two." in markdown(told)


@pytest.mark.slow
def test_tests_that_compare_nothing_fail_the_stage(suite):
    _, error = suite(layers="def test_nothing(): pass\n")
    assert error == "no test has told a comparison"


@pytest.mark.slow
def test_any_prefix_of_the_results_can_be_shown(suite):
    told, _ = suite(layers=CRASH, nets=FAR + SKIPS)
    texts = [markdown(told[:n]) for n in range(len(told) + 1)]
    assert texts[0] == "" and len(set(texts)) == len(texts)


def test_the_suites_files_are_in_their_order(root):
    names = [Path(name).stem for name in conformance.files()]
    assert names == ["test_on_gpu_solvers", "test_on_gpu_layers", "test_on_gpu_nets"]


@pytest.mark.parametrize(
    ("gpu", "seen", "wanted"),
    [(0, None, "0"), (1, None, "1"), (1, "", "1"), (0, "3", "3"), (1, "3, GPU-7a", "GPU-7a")],
)
def test_the_suite_sees_the_chosen_gpu_first(gpu, seen, wanted):
    assert driver_name(gpu, {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen}) == wanted
