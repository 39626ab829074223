"""BVLC Caffe's own Python makes the same net files."""

import os
import subprocess
from pathlib import Path

import pytest

from prototxt import generate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bvlc(tmp_path):
    """Runs BVLC Caffe's Python in tmp_path; returns what it printed."""
    tool = ROOT / "tools" / "bvlc-caffe"
    found = subprocess.run([tool, "path"], stdout=subprocess.PIPE, check=True).stdout.decode()
    if not (Path(found.strip()) / ".complete").exists():
        pytest.skip("BVLC Caffe is not installed; run: tools/bvlc-caffe install")
    env = dict(os.environ, PYTHONPATH=f"{ROOT}:{tmp_path}", GLOG_minloglevel="2")
    env["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(*arguments):
        return subprocess.run(
            [tool, "python", *arguments], cwd=tmp_path, env=env, check=True, stdout=subprocess.PIPE
        ).stdout.decode()

    return run


@pytest.mark.slow
def test_bvlc_caffe_makes_the_same_bytes(bvlc, tmp_path):
    bvlc("-m", "prototxt.generate")
    made = generate.task_files()
    for path, text in made.items():
        assert (tmp_path / path).read_bytes() == text.encode(), path
