"""Lists of ids: a wrong form is told by its cause, with the form that is wanted."""

from __future__ import annotations

import shutil

import pytest
from segmentation.lists import read_lines, read_split
from voc_layers import VOCSegDataLayer

from tests.helpers.layouts import refused

FORM = "no folder, no extension, no second column"


@pytest.fixture
def listed(voc):
    """listed(form, encoding): the val list with every id brought into a form; returns its path."""

    def write(form, encoding="utf-8", end="\n"):
        path = voc.root / "ImageSets/Segmentation/val.txt"
        path.write_bytes("".join(form(i) + end for i in voc.ids).encode(encoding))
        return path

    return write


def check(voc):
    VOCSegDataLayer.check(voc.params)


@pytest.mark.parametrize(
    "form, cause",
    [
        (lambda i: f"{i}.jpg", "has an extension"),
        (lambda i: f"{i}.JPG", "has an extension"),
        (lambda i: f"{i}.png", "has an extension"),
        (lambda i: f"{i} 1", "has a second column"),
        (lambda i: f"{i}\t0", "has a second column"),
        (lambda i: f"{i},{i}", "has a second column"),
        (lambda i: f"JPEGImages/{i}", "has a folder"),
        (lambda i: f"./{i}", "has a folder"),
        (lambda i: f"JPEGImages\\{i}", "has a folder"),
        (lambda i: f"C:\\data\\{i}.jpg", "has a folder and an extension"),
        (lambda i: f"/JPEGImages/{i}.jpg", "has a folder and an extension"),
        (
            lambda i: f"/JPEGImages/{i}.jpg /SegmentationClass/{i}.png",
            "has a second column, a folder and an extension",
        ),
        (lambda i: f"{i}.jpg {i}.png", "has a second column and an extension"),
        (lambda i: f'"{i}.jpg"', "has an extension"),
    ],
)
def test_an_id_of_another_form_is_told_by_its_cause(voc, listed, form, cause):
    path = listed(form)
    first = voc.ids[0]
    refused(lambda: check(voc), str(path), cause, f"one id a line, e.g. {first}: {FORM}")


def test_the_training_layer_tells_it_as_the_check_does(voc, listed, build):
    path = listed(lambda i: f"{i}.jpg")
    refused(lambda: build("VOCSegDataLayer", voc.params), str(path), "has an extension", FORM)


@pytest.mark.parametrize("name", ["._2007_000000.jpg", ".DS_Store", "Thumbs.db", "a/.x.jpg"])
def test_hidden_files_in_a_list_are_no_images(voc, name):
    path = voc.root / "ImageSets/Segmentation/val.txt"
    path.write_text(f"{name}\n")
    refused(lambda: check(voc), str(path), repr(name), "hidden file")


def test_a_comment_in_a_list_is_called_one(voc):
    path = voc.root / "ImageSets/Segmentation/val.txt"
    path.write_text(f"# my images\n{voc.ids[0]}\n")
    refused(lambda: check(voc), str(path), "'# my images' is a comment")


def test_lines_that_cannot_be_ids_are_counted(voc, listed):
    path = listed(lambda i: f"/{i}")
    refused(lambda: read_split(str(path)), f"{path}:1: not an image id", "(5 such lines)")


@pytest.mark.parametrize(
    "encoding, end",
    [("utf-8", "\r\n"), ("utf-8-sig", "\n"), ("utf-8-sig", "\r\n\r\n"), ("utf-8", " \n")],
)
def test_line_ends_marks_and_blanks_do_not_matter(voc, listed, encoding, end):
    path = listed(lambda i: i, encoding, end)
    assert read_split(str(path)) == voc.ids
    check(voc)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(voc, listed, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = listed(lambda i: mark + i, encoding)
    refused(lambda: read_lines(str(path), "an id"), str(path), "save it as UTF-8")


def test_text_that_is_not_utf_8_is_told_with_its_line(tmp_path):
    path = tmp_path / "val.txt"
    path.write_bytes("a\nZelle_ä\n".encode("latin-1"))
    refused(lambda: read_split(str(path)), f"{path}: not a text file in UTF-8 (line 2)")


def test_spaces_folders_and_dots_that_the_files_have_too_are_right(voc):
    names = ["my photo 1", "city/a", "frame.001", "a1.jpg", "a, b"]
    for name in names:
        for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            place = voc.root / folder / (name + ending)
            place.parent.mkdir(exist_ok=True)
            shutil.copy(voc.root / folder / (voc.ids[0] + ending), place)
    (voc.root / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))
    check(voc)
    assert VOCSegDataLayer.ids(voc.params) == names
