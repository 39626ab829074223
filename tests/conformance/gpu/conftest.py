"""Runs on a GPU, or shows on an emulated one that the suite itself runs."""

from __future__ import annotations

import pytest
import torch

import caffe
from tests.conformance.gpu import sides

NO_GPU = sides.REAL and not torch.cuda.is_available()
WHY = "no CUDA GPU is at hand (or PyTorch cannot use it): nothing is compared"


@pytest.fixture(autouse=True, scope="session")
def device():
    """Skips every test where a real GPU is asked for and none is there."""
    if NO_GPU:
        pytest.skip(WHY)


def pytest_collection_modifyitems(items):
    """The nets take the longest, so they come last: a run that is cut off has had the rest."""
    items.sort(key=lambda item: item.path.name == "test_on_gpu_nets.py")


def pytest_runtest_logreport(report):
    """A test that failed is in CONFORMANCE_GPU_REPORT too, whatever it failed of."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        told = str(crash.message if crash else report.longrepr).strip()
        first = (told.splitlines() or [""])[0]
        sides.report(f"failed: {first[:300]}", float("inf"), test=report.nodeid)


def pytest_terminal_summary(terminalreporter):
    if NO_GPU:
        terminalreporter.write_line(f"make conformance-gpu: {WHY}")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Each test runs in an empty folder, and the next one on the CPU again."""
    monkeypatch.chdir(tmp_path)
    yield
    caffe.set_mode_cpu()
