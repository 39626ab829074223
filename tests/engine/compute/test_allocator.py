"""Memory that is kept for reuse is given back where it would not be used again."""

import pytest

import caffe
from caffe.compute import allocator

NET = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }
layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }
"""


@pytest.fixture
def given_back(monkeypatch):
    calls = []
    monkeypatch.setattr(allocator, "_give_back", calls.append)
    monkeypatch.setattr(allocator, "_sizes", 0)
    return calls


def net_of(folder):
    (folder / "net.prototxt").write_text(NET)
    return caffe.Net(str(folder / "net.prototxt"), caffe.TEST)


def forward(net, sizes):
    for size in sizes:
        net.blobs["data"].reshape(1, 1, size, 4)
        net.forward()


def test_passes_at_ever_new_sizes_give_free_pages_back_now_and_then(tmp_path, given_back):
    forward(net_of(tmp_path), range(1, 2 * allocator.SIZES_BETWEEN + 1))
    assert given_back == [0, 0]


def test_passes_at_one_size_keep_their_pages(tmp_path, given_back):
    forward(net_of(tmp_path), [5] * (2 * allocator.SIZES_BETWEEN + 1))
    assert not given_back


def test_sizes_of_several_nets_count_together(tmp_path, given_back):
    nets = [net_of(tmp_path), net_of(tmp_path)]
    for size in range(1, allocator.SIZES_BETWEEN // 2 + 1):
        for net in nets:
            forward(net, [size])
    assert given_back == [0]


def test_the_c_library_that_keeps_memory_can_give_it_back():
    if not caffe.engine.keep_memory():
        pytest.skip("the C library takes no such setting, or the environment has one")
    assert allocator._give_back is not None and allocator._give_back(0) in (0, 1)
