"""Photographs by any of their endings, in upper or lower case; never two of one id."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image
from segmentation.files import find, images_in
from segmentation.lists import IMAGE_ENDINGS
from voc_layers import VOCSegDataLayer

from tests.helpers.layouts import refused, write_palette

VOC = "VOCSegDataLayer"


@pytest.fixture
def first(voc):
    """(image path, label path, RGB) of the first id."""
    name = voc.ids[0]
    image = voc.root / "JPEGImages" / f"{name}.jpg"
    return image, voc.root / "SegmentationClass" / f"{name}.png", voc.images[name]


@pytest.mark.parametrize("ending", [*IMAGE_ENDINGS, *(e.upper() for e in IMAGE_ENDINGS), ".Jpg"])
def test_every_ending_of_a_photograph_is_read_in_any_case(voc, build, take, first, ending):
    image, _, rgb = first
    image.unlink()
    kind = {".pgm": "PPM", ".ppm": "PPM"}.get(ending.lower())
    Image.fromarray(rgb).save(image.with_suffix(ending), kind, quality=95, lossless=True)
    VOCSegDataLayer.check(voc.params)
    ((data, _), *_) = take(build(VOC, voc.params), 1)
    got = data[0].transpose(1, 2, 0)[..., ::-1] + np.array(voc.params["mean"])[::-1]
    np.testing.assert_allclose(got, rgb, atol=30 if "j" in ending.lower() else 0.01)


def test_labels_may_end_in_upper_case_too(voc, build, first):
    first[1].rename(first[1].with_suffix(".PNG"))
    VOCSegDataLayer.check(voc.params)
    build(VOC, voc.params).forward()


def test_two_photographs_of_one_id_are_refused_by_name(voc, build, first):
    Image.fromarray(first[2]).save(first[0].with_suffix(".PNG"))
    for call in (lambda: VOCSegDataLayer.check(voc.params), lambda: build(VOC, voc.params)):
        name = first[0].stem
        refused(call, "more than one image of this id", f"{name}.PNG, {name}.jpg", "keep one")


def test_photographs_and_labels_may_share_a_folder(voc, build, take, first):
    for name in voc.ids:
        label = voc.root / "SegmentationClass" / f"{name}.png"
        label.rename(voc.root / "JPEGImages" / f"{name}.png")
    params = dict(voc.params, label_dir="JPEGImages")
    VOCSegDataLayer.check(params)
    ((_, label), *_) = take(build(VOC, params), 1)
    np.testing.assert_array_equal(label[0, 0], voc.labels[voc.ids[0]])


@pytest.mark.parametrize(
    "there, words",
    [
        ("{}.bmp", "there is 2007_000000.bmp, but a label ends in .png"),
        ("{}.jpg", "there is 2007_000000.jpg, but a label ends in .png"),
        ("{}_mask.png", "there is 2007_000000_mask.png, but its name must be the id's"),
        ("{}_L.png", "there is 2007_000000_L.png, but its name must be the id's"),
    ],
)
def test_a_label_under_another_name_is_named(voc, first, there, words):
    first[1].rename(first[1].parent / there.format(voc.ids[0]))
    refused(lambda: VOCSegDataLayer.check(voc.params), str(first[1]), "no such label", words)


def test_an_id_in_another_case_is_told_of_the_file(voc, first):
    first[0].rename(first[0].parent / "Photo.jpg")
    first[1].rename(first[1].parent / "Photo.png")
    (voc.root / "ImageSets/Segmentation/val.txt").write_text("photo\n")
    refused(lambda: VOCSegDataLayer.check(voc.params), "no such image", "there is Photo.jpg")


def test_a_missing_folder_is_said_to_be_missing(voc):
    params = dict(voc.params, image_dir="frames")
    refused(lambda: VOCSegDataLayer.check(params), "frames", "nor is there its folder")


def test_hidden_files_are_no_images(voc, first):
    names = ["a.JPG", "._a.jpg", ".DS_Store", "Thumbs.db", "b.tiff", "c.txt", ".hidden.png", "d"]
    assert images_in(names) == ["a.JPG", "b.tiff"]
    (first[0].parent / f"._{voc.ids[0]}.jpg").write_bytes(b"\0\5\x16\7")
    VOCSegDataLayer.check(voc.params)


def test_a_file_that_has_just_been_written_or_removed_is_seen(tmp_path):
    label = np.zeros((2, 2), np.uint8)

    def look(name):
        return find(str(tmp_path), name, (".png",), "label")

    for name in map(str, range(20)):
        refused(partial(look, name), "no such label")
        write_palette(tmp_path / f"{name}.png", label)
        assert look(name) == str(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.png").unlink()
        refused(partial(look, name), "no such label")
