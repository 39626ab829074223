"""Commands that a stage starts."""

from __future__ import annotations

import signal

import pytest

from tests.helpers.training_job import Job
from tools.common.cli import Failure
from tools.gpu.steps import Step, log_times


@pytest.fixture
def start(tmp_path):
    """Step of a script with this text."""
    steps = []

    def make(text):
        (tmp_path / "script.py").write_text(text)
        steps.append(Step(Job(tmp_path / "job"), tmp_path / "script.py"))
        return steps[-1]

    yield make
    for step in steps:
        step.kill()


@pytest.mark.slow
def test_a_command_has_the_checkout_on_its_path_and_caffes_log(start):
    step = start("import os, caffe, voc_layers, tools\nprint(os.environ['GLOG_minloglevel'])\n")
    step.finish()
    assert step.new_lines() == ["0"] and step.new_lines() == []


def test_a_command_that_fails_is_one_line_with_its_own_error(start):
    step = start("print('so far'); print('error: no rate'); print('more'); raise SystemExit(3)")
    with pytest.raises(Failure, match=r"script.py ended with exit code 3: error: no rate$"):
        step.finish()
    assert step.code == 3


def test_a_command_that_is_killed_has_its_signals_code(start):
    step = start("import time; print('up', flush=True); time.sleep(60)")
    step.ask(signal.SIGTERM)
    while not step.ended(wait=1.0):
        pass
    assert step.code == 128 + signal.SIGTERM


def test_times_between_lines_are_those_of_their_coming(start):
    step = start(
        "import time\nprint('one', flush=True)\ntime.sleep(0.2)\nprint('two', flush=True)\n"
    )
    step.finish()
    assert 0.15 < step.seconds_between("one", "two") < 20


def test_iterations_are_timed_over_midnight():
    line = "I1128 {} 7 solver.cpp:218] Iteration {} (1 iter/s, 1s/1 iters), loss = 2"
    log = [line.format("23:59:59.500000", 10), line.format("00:00:00.750000", 20)]
    stamps = log_times("\n".join(log))
    assert stamps[20] - stamps[10] == pytest.approx(1.25)
