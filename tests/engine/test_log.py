from __future__ import annotations

import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from caffe import log as log_module
from caffe.log import ERROR, INFO, WARNING, log, shown
from tests.helpers.processes import environment

LINE = re.compile(r"([IWE])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] (.*)\n")


@pytest.fixture(autouse=True)
def everything(monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    log_module.set_min_level(None)
    yield
    log_module.set_min_level(None)


@pytest.mark.parametrize("level, letter", [(INFO, "I"), (WARNING, "W"), (ERROR, "E")])
def test_a_line_has_the_form_of_googles_logging_library(capfd, level, letter):
    log("Iteration 0, lr = 0.1", level)
    found = LINE.fullmatch(capfd.readouterr().err)
    assert found and found.groups() == (letter, "Iteration 0, lr = 0.1")


@pytest.mark.parametrize(
    "value, letters", [("0", "IWE"), ("1", "WE"), ("2", "E"), ("3", ""), ("x", "IWE")]
)
def test_glog_minloglevel_leaves_out_what_is_below_it(capfd, monkeypatch, value, letters):
    monkeypatch.setenv("GLOG_minloglevel", value)
    for level in (INFO, WARNING, ERROR):
        log("text", level)
    assert "".join(line[0] for line in capfd.readouterr().err.splitlines()) == letters


def test_set_min_level_is_stronger_than_the_environment(capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    log_module.set_min_level(ERROR)
    log("text", WARNING)
    assert capfd.readouterr().err == ""


GONE = """
import os, sys
import caffe
sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)  # elsewhere than the log
for number in range(3):
    caffe.log.log(f"line {number}")
print("goes on", flush=True)
"""


def test_lines_are_dropped_where_nobody_reads_them_and_a_warning_is_given_once(root):
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-c", GONE], env=environment(root), stdout=subprocess.PIPE, stderr=write,
        text=True,
    )  # fmt: skip
    os.close(write)
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "warning: the log cannot be written (Broken pipe): lines are left out until it can",
        "goes on",
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_lines_are_dropped_on_a_full_disk(root):
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-c", GONE], env=environment(root), stdout=subprocess.PIPE,
            stderr=full, text=True,
        )  # fmt: skip
    assert "No space left on device" in run.stdout and run.stdout.endswith("goes on\n")


CLOSED = """
import os
import caffe
with open("weights", "wb") as file:
    file.write(b"weights")
    file.flush()
    caffe.log.log("a line")
"""


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_lines_of_a_closed_stderr_are_not_written_into_the_next_file(root, tmp_path, closed):
    command = f'exec "{sys.executable}" -c "$CODE" {closed}'
    run = subprocess.run(
        ["sh", "-c", command], env=environment(root) | {"CODE": CLOSED}, cwd=tmp_path
    )
    assert run.returncode == 0
    assert (tmp_path / "weights").read_bytes() == b"weights"


def test_no_number_is_shown_as_minus_0():
    assert [shown(x) for x in (-0.0, np.float32(-0.0), 0.5, -1e-30, math.nan)] == [
        "0", "0", "0.5", "-1e-30", "nan",
    ]  # fmt: skip
