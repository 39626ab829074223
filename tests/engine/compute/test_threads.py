"""How PyTorch's threads wait: OpenMP itself is asked what it was started with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from caffe.compute.threads import SPINS
from tests.helpers.tiny_run import ROOT

pytestmark = pytest.mark.skipif(
    not list(Path(torch.__file__).parent.glob("lib/libgomp*")),
    reason="needs a PyTorch with GNU's OpenMP",
)


def _run(code, **environment):
    """What a fresh Python prints, and how often OpenMP says that a waiting thread looks."""
    env = {key: value for key, value in os.environ.items() if "OMP" not in key}
    env.update(environment, OMP_DISPLAY_ENV="VERBOSE", PYTHONPATH=str(ROOT / "engine"))
    run = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    spins = [line.split("'")[1] for line in run.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    return run.stdout, spins


REPORT = "import caffe; print(caffe.engine.report())"


def test_threads_sleep_soon_and_the_report_says_so():
    said, spins = _run(REPORT)
    assert spins == [str(SPINS)]
    assert f"asleep, after {SPINS} looks" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, value, spins", [("GOMP_SPINCOUNT", "77", "77"), ("OMP_WAIT_POLICY", "passive", "0")]
)
def test_what_the_user_says_of_waiting_goes_before(name, value, spins):
    said, found = _run(REPORT, **{name: value})
    assert found == [spins]
    assert f"as {name}={value} says" in said


@pytest.mark.slow
def test_a_pytorch_that_came_first_is_left_as_it_is_and_the_report_says_so():
    said, spins = _run("import torch; " + REPORT)
    assert spins and spins != [str(SPINS)]
    assert "it was loaded before caffe" in said


@pytest.mark.slow
def test_the_environment_stays_as_it_was():
    said, _ = _run("import os, caffe; print(sorted(k for k in os.environ if 'SPIN' in k))")
    assert said.strip() == "[]"
