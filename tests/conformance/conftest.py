"""The conformance suite: every test needs BVLC Caffe, and says so where it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # whatever import mode pytest runs in

import both  # noqa: E402
import report  # noqa: E402


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


def pytest_terminal_summary(terminalreporter):
    lines = report.table()
    if lines:
        terminalreporter.section("the engine against BVLC Caffe")
        for line in lines:
            terminalreporter.write_line(line)
        default = both.REPO / "runs" / "conformance.md"
        report.write(os.environ.get("CONFORMANCE_REPORT") or default)
