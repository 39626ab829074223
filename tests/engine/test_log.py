from __future__ import annotations

import math
import re

import numpy as np
import pytest

from caffe import log as log_module
from caffe.log import ERROR, INFO, WARNING, log, shown

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


def test_no_number_is_shown_as_minus_0():
    assert [shown(x) for x in (-0.0, np.float32(-0.0), 0.5, -1e-30, math.nan)] == [
        "0", "0", "0.5", "-1e-30", "nan",
    ]  # fmt: skip
