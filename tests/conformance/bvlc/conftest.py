"""The conformance suite: every test needs BVLC Caffe, and says so where it is not there."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from pathlib import Path

import pytest

from tests.conformance import both, report


@pytest.fixture(autouse=True, scope="session")
def bvlc():
    """Skips every test where BVLC Caffe is not installed; ends the workers after the last."""
    done = subprocess.run([str(both.TOOL), "path"], capture_output=True, text=True)
    if not Path(done.stdout.strip(), ".complete").exists():
        pytest.skip("BVLC Caffe is not installed; run: tools/bvlc-caffe install")
    yield
    both.close_workers()


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data beside the checkout, or None where it is absent."""
    folder = both.REPO.parent / "shared" / "data"
    return folder if folder.is_dir() else None


_run = {"whole": False}


def pytest_deselected(items):
    _run["deselected"] = True


def pytest_collection_finish(session):
    collected = {item.path for item in session.items}
    files = set(Path(__file__).parent.glob("test_bvlc_*.py"))
    # "-k" and "::" leave tests out without a file being missing.
    named = any("::" in word for word in session.config.args)
    _run["whole"] = files <= collected and not named and "deselected" not in _run


def pytest_terminal_summary(terminalreporter, exitstatus):
    lines = report.lines()
    if not lines:
        return
    terminalreporter.section("the engine against BVLC Caffe")
    for line in lines:
        terminalreporter.write_line(line)
    whole = _run["whole"] and exitstatus == 0 and report.complete()
    whole &= not both.BVLC_ON_BOTH_SIDES
    default = both.REPO / ("docs" if whole else "runs") / "conformance.md"
    torch = importlib.metadata.version("torch").partition("+")[0]
    versions = f"BVLC Caffe 1.0.0+git20180821.99bd997 (Debian 11, OpenBLAS); PyTorch {torch}, CPU."
    report.write(os.environ.get("CONFORMANCE_REPORT") or default, versions)
