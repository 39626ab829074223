"""Files of the data layers that are no files, too large, or too much work."""

from __future__ import annotations

import os

import pytest
from segmentation import lists, pictures
from segmentation.annotations import coco, cvat, labelme
from segmentation.mat import read_mat
from segmentation.params import DataError

import caffe
from caffe.reading import guarded
from tests.helpers import no_files
from tests.helpers.data_files import encoded, pixels
from tests.helpers.jpegs import of_scans

READERS = {
    "list": lists.read_split,
    "mat": lambda path: read_mat(path, "GTcls"),
    "photograph": pictures.read_rgb,
    "label": pictures.read_label,
    "depth": pictures.read_millimetres,
    "palette": pictures.read_palette,
    "size": pictures.size,
    "labelme": labelme.read,
    "coco": coco.read,
    "cvat": cvat.read,
}


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_by_name_and_never_waited_for(tmp_path, reader, kind):
    path = no_files.put(kind, tmp_path / "it")
    with no_files.in_time(), pytest.raises(DataError) as caught:
        READERS[reader](path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", no_files.KINDS)
def test_the_orientation_of_what_is_no_file_is_upright(tmp_path, kind):
    with no_files.in_time():
        assert pictures.orientation(no_files.put(kind, tmp_path / "it")) == 1


@pytest.mark.parametrize("reader", ["list", "mat", "photograph"])
def test_a_file_far_too_large_is_refused_before_it_is_read(tmp_path, reader):
    (tmp_path / "large").write_bytes(b"a\n")
    os.truncate(tmp_path / "large", 50 << 30)
    with no_files.in_time(), pytest.raises(DataError, match="large: larger than"):
        READERS[reader](str(tmp_path / "large"))


def test_the_data_layers_limits_on_pictures_are_the_engines():
    assert guarded.MOST_PIXELS == pictures.MAX_PIXELS
    assert guarded.FREE_PIXELS == pictures.FREE_PIXELS
    assert guarded.PIXELS_OF_A_BYTE == pictures.PIXELS_OF_A_BYTE
    assert guarded.MOST_SCANS == pictures.MAX_SCANS
    assert guarded.MOST_WORK == pictures.MAX_WORK


@pytest.mark.parametrize("count, read", [(64, True), (65, False), (400, False)])
def test_a_jpeg_of_too_many_scans_is_refused(tmp_path, count, read):
    (tmp_path / "x.jpg").write_bytes(of_scans(count))
    if read:
        assert pictures.read_rgb(str(tmp_path / "x.jpg")).shape == (64, 64, 3)
    else:
        with pytest.raises(DataError, match=rf"x.jpg: a JPEG .* in {count} scans .* too much work"):
            pictures.read_rgb(str(tmp_path / "x.jpg"))


def test_pixels_times_scans_are_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_WORK", 64 * 64 * 30)
    (tmp_path / "x.jpg").write_bytes(of_scans(31))
    with pytest.raises(DataError, match="in 31 scans"):
        pictures.read_rgb(str(tmp_path / "x.jpg"))


def test_what_only_looks_like_scans_does_not_count(tmp_path):
    picture = encoded(pixels(0, 9, 7), "JPEG")
    comment = b"\xff\xfe" + (2 + 2 * 300).to_bytes(2, "big") + b"\xff\xda" * 300
    behind = b"\xff\xda" * 300  # a film that a telephone has put there
    (tmp_path / "x.jpg").write_bytes(picture[:2] + comment + picture[2:] + behind)
    assert caffe.engine.jpeg_scans((tmp_path / "x.jpg").read_bytes()) == 1
    assert pictures.read_rgb(str(tmp_path / "x.jpg")).shape == (9, 7, 3)


@pytest.mark.parametrize("letter", ["\u202e", "\x7f", "\u2028", "\u2066", "\x85", "\x1b"])
def test_an_id_with_a_letter_that_steers_a_terminal_is_refused(tmp_path, letter):
    (tmp_path / "val.txt").write_bytes(f"ab\nc{letter}d\n".encode())
    with pytest.raises(DataError) as caught:
        lists.read_split(str(tmp_path / "val.txt"))
    assert letter not in str(caught.value) and "not an image id" in str(caught.value)


def test_an_id_of_joined_letters_is_read(tmp_path):
    (tmp_path / "val.txt").write_bytes("می\u200cخواهم\n".encode())
    assert lists.read_split(str(tmp_path / "val.txt")) == ["می\u200cخواهم"]
