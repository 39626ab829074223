"""BVLC Caffe's own Python makes the same net files."""

import pytest

from prototxt import generate
from tests.helpers.bvlc import ROOT, python


@pytest.fixture
def bvlc(tmp_path):
    """Runs BVLC Caffe's Python in tmp_path; returns what it printed."""
    return python(tmp_path, f"{ROOT}:{tmp_path}")


@pytest.mark.slow
def test_bvlc_caffe_makes_the_same_bytes(bvlc, tmp_path):
    bvlc("-m", "prototxt.generate")
    made = generate.task_files()
    for path, text in made.items():
        assert (tmp_path / path).read_bytes() == text.encode(), path
