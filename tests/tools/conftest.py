"""What several tests of the tools start from."""

from __future__ import annotations

import pytest

from tests.helpers import nyud_mat
from tests.helpers.data_sets import TRAIN, VAL, write_voc


@pytest.fixture(scope="session")
def labelled_file(tmp_path_factory):
    """NYUDv2's labelled file in small; not to be changed."""
    path = tmp_path_factory.mktemp("nyud") / "labeled.mat"
    nyud_mat.write_mat(path)
    return path


@pytest.fixture
def labelled(tmp_path, labelled_file, capsys):
    """A copy of it with tools/nyud.py run on it: see nyud_mat.place."""
    return nyud_mat.place(tmp_path, labelled_file, capsys)


@pytest.fixture
def data(tmp_path):
    """A sound data set in VOC layout."""
    return write_voc(tmp_path / "data", train=TRAIN, val=VAL)
