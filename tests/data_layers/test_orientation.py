"""A photograph that is shown turned is read turned, with its label beside it; never misaligned."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from segmentation.pictures import orientation, read_label, read_rgb, size
from voc_layers import VOCSegDataLayer

from tests.helpers.data_files import scene
from tests.helpers.layouts import refused, write_palette

VOC = "VOCSegDataLayer"


def save_turned(path, rgb, value, **more):
    """Write a picture with an EXIF orientation; returns it upright, as a viewer shows it."""
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(rgb).save(path, exif=exif, **more)
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("value", range(1, 9))
def test_a_jpeg_is_read_as_it_is_shown(tmp_path, value):
    path = str(tmp_path / "x.jpg")
    shown = save_turned(path, scene(0, 32, 48), value)
    np.testing.assert_array_equal(read_rgb(path), shown)
    assert size(path) == shown.shape[:2] and orientation(path) == value


@pytest.mark.parametrize("value", [0, 9, 700])
def test_an_orientation_that_means_nothing_is_upright(tmp_path, value):
    path = str(tmp_path / "x.jpg")
    save_turned(path, scene(0, 32, 48), value)
    assert read_rgb(path).shape == (32, 48, 3) and orientation(path) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_keep_a_photograph_from_being_read(tmp_path):
    path = str(tmp_path / "x.jpg")
    Image.fromarray(scene(0, 32, 48)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_rgb(path).shape == (32, 48, 3)


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("value", [3, 6])
def test_in_other_formats_the_tag_is_refused(tmp_path, ending, value):
    path = str(tmp_path / f"x.{ending}")
    save_turned(path, scene(0, 32, 48), value)
    refused(lambda: read_rgb(path), path, f"EXIF orientation {value}", "save it upright")
    save_turned(path, scene(0, 32, 48), 1)
    assert read_rgb(path).shape == (32, 48, 3)


def test_a_label_with_the_tag_is_refused(tmp_path):
    path = str(tmp_path / "x.png")
    save_turned(path, scene(0, 32, 48)[..., 0], 6)
    refused(lambda: read_label(path), path, "EXIF orientation 6")


def test_the_label_of_a_turned_photograph_lies_on_it_as_it_is_shown(voc, build, take):
    name = voc.ids[0]
    shown = save_turned(voc.root / "JPEGImages" / f"{name}.jpg", voc.images[name], 6, quality=95)
    label = np.rot90(voc.labels[name], -1)
    assert label.shape == shown.shape[:2] != voc.images[name].shape[:2]
    write_palette(voc.root / "SegmentationClass" / f"{name}.png", np.ascontiguousarray(label))
    ((data, got), *_) = take(build(VOC, voc.params), 1)
    np.testing.assert_array_equal(got[0, 0], label)
    rgb = data[0].transpose(1, 2, 0)[..., ::-1] + np.array(voc.params["mean"])[::-1]
    np.testing.assert_allclose(rgb, shown, atol=0.01)


def test_a_label_that_lies_on_the_stored_pixels_is_refused_with_the_cause(voc, build):
    name = voc.ids[0]
    save_turned(voc.root / "JPEGImages" / f"{name}.jpg", voc.images[name], 8)
    told = (f"{name}.png: 12x9 pixels", "has 9x12", "EXIF orientation 8", "turn the label")
    refused(lambda: build(VOC, voc.params), *told)
    VOCSegDataLayer.check(voc.params)  # it opens no file


def test_a_label_that_is_turned_itself_is_not_blamed_on_the_photograph(voc, build):
    name = voc.ids[0]
    turned = np.ascontiguousarray(np.rot90(voc.labels[name]))
    write_palette(voc.root / "SegmentationClass" / f"{name}.png", turned)
    with pytest.raises(ValueError, match="they must be of one size$"):
        build(VOC, voc.params)
