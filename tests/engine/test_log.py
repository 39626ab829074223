from __future__ import annotations

import re

import pytest

from caffe import log as log_module
from caffe.log import ERROR, INFO, WARNING, log

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
