"""What the tests of surgery use."""

from __future__ import annotations

import pytest

import caffe


@pytest.fixture
def make_net(tmp_path):
    """make_net(text) -> caffe.Net of a prototxt given as text."""

    def make(text):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return caffe.Net(str(path), caffe.TEST)

    return make
