"""Depth maps as millimetres: what NYUDv2's data layer and the HHA encoding read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from segmentation.pictures import read_millimetres

from tests.helpers.layouts import refused

VALUES = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)


@pytest.mark.parametrize("pixels", ["<u2", ">u2", "=i4"])
def test_millimetres_are_read_as_they_were_written(tmp_path, pixels):
    path = str(tmp_path / "depth.png")
    image = Image.fromarray(VALUES.astype(pixels))
    (image.convert("I;16") if image.mode == "I" else image).save(path)
    found = read_millimetres(path)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, VALUES)


def test_pixels_of_32_bits_keep_their_millimetres(tmp_path, monkeypatch):
    """Pillow before 10.3 gives a 16-bit PNG as its mode I."""
    path = str(tmp_path / "depth.png")
    Image.fromarray(VALUES).save(path)
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened(*a, **k).convert("I"))
    np.testing.assert_array_equal(read_millimetres(path), VALUES)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_a_picture_that_is_not_16_bit_gray_is_refused(tmp_path, mode):
    path = str(tmp_path / "depth.png")
    Image.new(mode, (12, 9)).save(path)
    refused(lambda: read_millimetres(path), f"{path}: depth in {mode} pixels", "16-bit gray PNG")


def test_a_huge_depth_map_is_refused_before_it_is_decoded(tmp_path):
    path = str(tmp_path / "depth.png")
    Image.new("I;16", (12, 9)).save(path)
    assert read_millimetres(path, max_pixels=108).shape == (9, 12)
    refused(lambda: read_millimetres(path, max_pixels=107), "12x9 pixels", "scale it down")


def test_a_folder_in_its_place_is_named(tmp_path):
    refused(lambda: read_millimetres(str(tmp_path)), f"{tmp_path}: cannot be read (Is a directory)")
