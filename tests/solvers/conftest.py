from __future__ import annotations

import shutil
import signal
import sys

import pytest

from solvers import solve as solve_module
from tests.helpers import tiny_run
from tools.common.cli import run as run_main


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory):
    """The tiny run with starting weights, never trained in."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_run.lay_out(folder)
    tiny_run.save_init(folder)
    return folder


@pytest.fixture
def folder(laid_out, tmp_path, monkeypatch):
    """A fresh copy of the tiny run, as current folder."""
    place = tmp_path / "run"
    shutil.copytree(laid_out, place)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def call(folder, capfd, monkeypatch):
    """call(*args) -> (exit code, lines on stderr) of solve.py's main in this process."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("TRACEBACK", raising=False)
    kept = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def call(*args, solver="solver.prototxt"):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_main(solve_module.main, ["--solver", solver, "--cpu", *args])
        sys.stderr.flush()
        return ended.value.code, capfd.readouterr().err.splitlines()

    yield call
    for number, handler in kept.items():
        signal.signal(number, handler)
