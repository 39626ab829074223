"""A file of the wrong kind is named as what it is, by every reader of the toolkit."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from PIL import Image
from segmentation import lists, pictures
from segmentation.mat import read_mat

from prototxt import own, text
from prototxt.files import wrong_kind
from surgery.importers import read_source
from tools.common.inputs import check_input
from tools.datasets.nyud_file import open_labelled
from tools.plot_log import read_log

NET = b'layer { name: "a" type: "Input" top: "a" }\n'
CONTENTS = {
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "`git lfs pull`"),
    "page": (b"<!DOCTYPE html>\n<html>", "a web page"),
    "gzip": (gzip.compress(b"x"), "a gzip archive"),
    "UTF-16": ("some = text".encode("utf-16"), "text in UTF-16"),
    "npy": (b"\x93NUMPY\x01\0", "a NumPy array"),
}


def read_prototxt(path):
    from caffe.proto import caffe_pb2

    return text.read(path, caffe_pb2.NetParameter())


def open_mat(path):
    with open_labelled(path):
        pass


READERS = {
    "weights": lambda path: check_input(path, "weights"),
    "a prototxt": read_prototxt,
    "a list": lists.read_split,
    "a photograph": pictures.read_rgb,
    "a label map": pictures.read_label,
    "a MATLAB label map": lambda path: read_mat(path, "a"),
    "NYUD's file": open_mat,
    "TOML": own.read_toml,
    "a training log": read_log,
    "VGG's weights": lambda path: read_source(path, (1, 2, 3)),
    "VGG's weights of PyTorch": lambda path: read_source(path, (1, 2, 3)),
    "VGG's weights in safetensors": lambda path: read_source(path, (1, 2, 3)),
}
ENDINGS = {"VGG's weights of PyTorch": ".pth", "VGG's weights in safetensors": ".safetensors"}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_names_what_it_was_given_instead(tmp_path, reader, name):
    content, words = CONTENTS[name]
    path = tmp_path / f"file{ENDINGS.get(reader, '.x')}"
    path.write_bytes(content)
    with pytest.raises(Exception) as error:
        READERS[reader](str(path))
    message = str(error.value)
    assert error.value.exit_code == 2 and "\n" not in message
    assert f"{path}: it is " in message and words in message and ", not " in message


@pytest.mark.parametrize(
    "reader, content, words",
    [
        ("weights", NET, "a net's prototxt, not a caffemodel"),
        ("a prototxt", b"\x0a\x01n\xa2\x06\x02\x0a\0", "a caffemodel, not a prototxt"),
        ("TOML", NET, "a net's prototxt, not TOML"),
        ("a photograph", NET, "a net's prototxt, not a JPEG/PNG/BMP/TIFF/WEBP/PPM picture"),
        ("a training log", NET, "a net's prototxt, not a training log"),
    ],
)
def test_caffes_own_files_are_named_too(tmp_path, reader, content, words):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(Exception, match=f"x: it is {words}"):
        READERS[reader](str(tmp_path / "x"))


def test_a_picture_of_a_format_that_is_not_taken_is_named(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "x.png", "GIF")
    with pytest.raises(Exception, match=r"x.png: it is a picture \(GIF\), not a JPEG/PNG/BMP"):
        pictures.read_rgb(str(tmp_path / "x.png"))


def test_a_picture_cut_off_at_its_head_is_called_damaged(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:12])
    with pytest.raises(Exception, match="x.png: not a JPEG/PNG.* picture, or damaged at its head"):
        pictures.read_rgb(str(tmp_path / "x.png"))


def test_ids_that_only_look_odd_are_read(tmp_path):
    (tmp_path / "x.txt").write_text("{a}\n<b>\n")
    assert lists.read_split(str(tmp_path / "x.txt")) == ["{a}", "<b>"]


def test_without_the_engine_nothing_is_known(tmp_path, monkeypatch):
    import caffe

    (tmp_path / "x").write_bytes(CONTENTS["LFS"][0])
    assert wrong_kind(str(tmp_path / "x"), "weights")
    monkeypatch.delattr(caffe, "engine")
    assert wrong_kind(str(tmp_path / "x"), "weights") == ""
