"""Names on a terminal: nothing in them steers it, turns its direction or breaks the line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caffe import errors
from caffe.command.error_lines import error_line as engines_error_line
from caffe.log import log
from prototxt.terminal import visible
from tests.helpers.processes import environment
from tools.common.cli import UserError, error_line, warn
from tools.common.progress import Progress

ROOT = Path(__file__).parents[3]
LETTERS = [
    *"\0\a\r\x1b\x7f\x85\x9b\u061c\u200b\u200e\u2028\u2029\u202a\u202e\u2066\u2069\ufeff\U000e0041"
]


@pytest.mark.parametrize("letter", LETTERS)
def test_a_letter_that_steers_a_terminal_is_shown_as_an_escape(letter, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    name = f"a{letter}gpj.exe"
    shown = "a" + letter.encode("unicode_escape").decode() + "gpj.exe"
    assert visible(name) == errors.visible(name) == shown
    assert str(errors.InputError(f"cannot read {name}")) == f"cannot read {shown}"
    for line_of in (error_line, engines_error_line):
        assert shown in line_of(FileNotFoundError(2, "No such file", name))
    assert error_line(UserError(f"{name}: bad")) == f"{shown}: bad"
    warn(f"{name}: odd")
    log(f"Ignoring source layer {name}")
    err = capfd.readouterr().err
    assert letter not in err and err.count(shown) == 2 and err.count("\n") == 2
    progress = Progress(total=2, file=io.StringIO())
    progress.note = name
    assert shown in progress.line(0)


@pytest.mark.parametrize(
    "text", ["Größe", "日本", "می\u200cخواهم", "a b", "\U0001f469\u200d\U0001f680"]
)
def test_letters_of_any_language_stay(text):
    assert visible(text) == errors.visible(text) == text


def test_a_logs_lines_and_columns_stay(capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    log("one\n\ttwo")
    assert "one\n\ttwo\n" in capfd.readouterr().err


def check(arguments, folder):
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(ROOT),
        capture_output=True,
        timeout=120,
    )
    said = run.stderr.decode()
    assert run.returncode == 2 and "gpj" in said, said
    assert not {"\u202e", "\x1b", "\x7f"} & set(said), said


@pytest.mark.parametrize("tool", ["infer", "score", "summary", "plot_log", "compare"])
def test_a_tools_error_about_a_hostile_name_is_plain(tool, tmp_path):
    name = str(tmp_path / "a\u202egpj\x1b[2J\x7f")
    nets = ["--net", name, "--weights", name] if tool in ("infer", "score") else []
    out = ["--out", str(tmp_path / "out.png")] if tool in ("infer", "plot_log") else []
    check([f"tools/{tool}.py", name, *nets, *out], ROOT)


@pytest.mark.parametrize("command", ["time", "test"])
def test_so_is_the_caffe_commands(command, tmp_path):
    name = os.fspath(tmp_path / "a\u202egpj\x1b[2J\x7f")
    check(["-m", "caffe", command, "-model", name, "-weights", name], tmp_path)
