"""Prototxts and names that are not UTF-8."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.proto import caffe_pb2, not_utf8, text

LATIN = "caf\xe9".encode("latin-1")


def net_with(tmp_path, line: bytes):
    path = tmp_path / "net.prototxt"
    path.write_bytes(line + b'\nlayer { type: "Input" name: "x" top: "x" }\n')
    return text.read_net(path)


@pytest.mark.parametrize("encoding", ["gbk", "big5", "shift-jis", "utf-8", "utf-8-sig"])
def test_a_comment_may_be_in_any_encoding(tmp_path, encoding):
    net = net_with(tmp_path, "# 中文".encode(encoding))
    assert [layer.name for layer in net.layer] == ["x"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (LATIN, LATIN),
        (rb"caf\351", LATIN),
        (rb"caf\xe9", LATIN),
        (rb"caf\303\251", "café".encode()),
        (rb"caf\\351 \"x\"", rb'caf\351 "x"'),
        ("café".encode(), "café".encode()),
    ],
)
def test_a_string_keeps_its_bytes(tmp_path, written, read):
    net = net_with(tmp_path, b'name: "' + written + b'"')
    assert os.fsencode(not_utf8.path(net.name)) == read


def test_an_escape_in_a_comment_is_left_alone(tmp_path):
    assert net_with(tmp_path, b'# "\\351').layer[0].name == "x"


def test_a_path_is_left_as_it_is_where_it_is_utf8():
    assert not_utf8.path("a/ü.png") == "a/ü.png"
    assert not_utf8.path(os.fsencode("a/ü.png")) == "a/ü.png"


def named_in_latin(folder, content: bytes = b""):
    name = os.fsencode(folder) + b"/" + LATIN
    if content:
        with open(name, "wb") as file:
            file.write(content)
    return name


def test_files_that_a_prototxt_names_in_another_encoding_are_read(tmp_path):
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(picture).save(tmp_path / "p.png")
    source = named_in_latin(tmp_path, os.fsencode(tmp_path) + b"/p.png 3\n")
    body = b'type: "ImageData" top: "x" top: "y" image_data_param { source: "%s" }' % source
    (tmp_path / "net.prototxt").write_bytes(b'layer { name: "d" %s }' % body)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    net.forward()
    assert np.array_equal(net.blobs["x"].data[0], picture[..., ::-1].transpose(2, 0, 1))


def test_a_solver_whose_paths_are_in_another_encoding_trains_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = (
        b'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } }'
        b'layer { name: "\xe9" type: "Bias" bottom: "x" top: "y" loss_weight: 1 '
        b"bias_param { axis: 0 } }"
    )
    named_in_latin(".", net)
    solver = b'net: "caf\xe9" base_lr: 1 lr_policy: "fixed" max_iter: 3 snapshot_prefix: "s\xe9"'
    (tmp_path / "solver.prototxt").write_bytes(solver)
    first = caffe.get_solver("solver.prototxt")
    first.solve()
    second = caffe.get_solver("solver.prototxt")
    second.restore(os.fsdecode(b"s\xe9_iter_3.solverstate"))
    assert second.iter == 3
    (bias,) = second.net.params.values()
    assert bias[0].data == -3
    assert os.path.exists(b"s\xe9_iter_3.caffemodel")


@pytest.mark.parametrize(
    "written, read",
    [(r"caf\351\042x", 'caf\U000f00e9"x'), (r"\351\134x", "\U000f00e9\\x"),
     (r"\351\012", "\U000f00e9\n"), (r"\303\251\351", "\xe9\U000f00e9")],
)  # fmt: skip
def test_escapes_beside_bytes_that_are_no_utf8_stay_escapes(written, read):
    param = text.parse(f'name: "{written}"', caffe_pb2.NetParameter())
    assert param.name == read
