"""What all tests use."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from prototxt import text

os.environ.setdefault("GLOG_minloglevel", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # there is such a process for each processor
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's background job ignores Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def nets_as_caffes():
    """The tools set lean nets for their whole process, which the next test is in too."""
    yield
    engine = getattr(sys.modules.get("caffe"), "engine", None)
    if engine is not None:
        engine.set_lean(False)
        engine.set_folding(True)
        engine.set_winograd(True)
        engine.set_precision("float32")
        engine.set_deterministic(False)


@pytest.fixture
def prototxts_read(monkeypatch):
    """{name of a prototxt: how often the toolkit has read it}, of what follows."""
    times, really = Counter(), text.read

    def read(path, message):
        times[os.path.basename(path)] += 1
        return really(path, message)

    monkeypatch.setattr(text, "read", read)
    return times


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is not there."""
    place = ROOT.parent / "shared"
    if not (place / "data").is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return place
