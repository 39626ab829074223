"""BVLC Caffe's own Python, where it is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(folder, path):
    """run(*arguments) -> what BVLC Caffe's Python prints, in `folder`, with PYTHONPATH `path`. The
    test is skipped where it is not installed."""
    tool = ROOT / "tools" / "bvlc-caffe"
    found = subprocess.run([tool, "path"], stdout=subprocess.PIPE, check=True).stdout.decode()
    if not (Path(found.strip()) / ".complete").exists():
        pytest.skip("BVLC Caffe is not installed; run: tools/bvlc-caffe install")
    env = dict(os.environ, PYTHONPATH=path, GLOG_minloglevel="2", PYTHONDONTWRITEBYTECODE="1")

    def run(*arguments):
        return subprocess.run(
            [tool, "python", *arguments], cwd=folder, env=env, check=True, stdout=subprocess.PIPE
        ).stdout.decode()

    return run
