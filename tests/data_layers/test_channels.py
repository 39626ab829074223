"""Photographs of any bands, of 8 and 16 bits and float, come as the channels that are asked for."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image
from segmentation.channels import channels, colour_places, read_bands, read_channels, to_look_at
from segmentation.params import DataError
from voc_layers import VOCSegDataLayer

from tests.helpers.layouts import refused

VOC = "VOCSegDataLayer"
NAMED = ["red", "green", "blue", "nir"]
FORMS = {"B": 1, "H": 1, "f": 3}
"""struct's letter of a sample → TIFF's SampleFormat."""


def tiff(path, array, planar=False, orientation=None, **claimed):
    """Write H x W x C as an uncompressed TIFF, tag by tag, as TIFF 6.0 has it.

    claimed: width, height or samples in place of the true ones.
    """
    letter = {"uint8": "B", "uint16": "H", "float32": "f"}[str(array.dtype)]
    height, width, samples = array.shape
    pixels = (np.moveaxis(array, 2, 0) if planar else array).tobytes()
    bits = 8 * array.itemsize
    plane = len(pixels) // samples
    parts = samples if planar else 1
    place = 8 + len(pixels)
    extra = struct.pack(f"<{samples}H", *[bits] * samples)
    extra += struct.pack(f"<{samples}H", *[FORMS[letter]] * samples)
    offsets = [8 + i * plane for i in range(parts)]
    extra += struct.pack(f"<{2 * parts}I", *offsets, *[len(pixels) // parts] * parts)

    def several(tag, kind, count, at, value):
        size = count * (2 if kind == 3 else 4)
        packed = struct.pack("<I", place + at) if size > 4 else value
        return struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")

    def one(tag, value):
        return struct.pack("<HHII", tag, 4, 1, value)

    two, four = 2 * samples, 4 * samples
    tags = [
        one(256, claimed.get("width", width)), one(257, claimed.get("height", height)),
        several(258, 3, samples, 0, extra[:two]), one(259, 1),
        one(262, 2 if samples > 2 else 1),
        several(273, 4, parts, four, extra[four : four + 4]),
        *([one(274, orientation)] if orientation else []),
        one(277, claimed.get("samples", samples)), one(278, claimed.get("height", height)),
        several(279, 4, parts, four + 4 * parts, extra[four + 4 * parts :][:4]),
        one(284, 2 if planar else 1),
        several(339, 3, samples, two, extra[two:four]),
    ]  # fmt: skip
    head = struct.pack("<2sHI", b"II", 42, place + len(extra))
    directory = struct.pack("<H", len(tags)) + b"".join(tags) + struct.pack("<I", 0)
    path.write_bytes(head + pixels + extra + directory)
    return str(path)


def bands(kind, count, height=5, width=7):
    rng = np.random.RandomState(count)
    most = {"uint8": 256, "uint16": 65536, "float32": 1000}[kind]
    return rng.randint(0, most, (height, width, count)).astype(kind)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_a_tiffs_bands_come_as_they_are_stored(tmp_path, kind, count, planar):
    pytest.importorskip("tifffile")
    array = bands(kind, count)
    found = read_bands(tiff(tmp_path / "a.tif", array, planar))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_plain_tiffs_need_no_tifffile(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    for kind, count in (("uint8", 3), ("uint8", 1), ("uint16", 1), ("float32", 1)):
        array = bands(kind, count)
        np.testing.assert_array_equal(read_bands(tiff(tmp_path / "a.tif", array)), array)
    with pytest.raises(DataError, match="a.tif: .*the package tifffile, .*`pip install tifffile"):
        read_bands(tiff(tmp_path / "a.tif", bands("uint16", 4)))


def test_alpha_is_a_band_where_bands_are_asked_for(tmp_path):
    array = bands("uint8", 4)
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_bands(str(tmp_path / "a.png")), array)


def test_channels_are_taken_by_name_or_number_in_the_order_asked_for(tmp_path):
    array = bands("uint8", 4)
    Image.fromarray(array).save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    np.testing.assert_array_equal(read_channels(path, channels(NAMED)), array)
    np.testing.assert_array_equal(read_channels(path, channels([4, 1])), array[..., [3, 0]])
    picked = channels({"nir": 4, "green": 2})
    assert picked.names() == ("nir", "green")
    np.testing.assert_array_equal(read_channels(path, picked), array[..., [3, 1]])
    scaled = read_channels(path, channels(NAMED), 0.5)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, array / np.float32(2))


@pytest.mark.parametrize(
    "wanted, said",
    [
        (["red", "green", "blue"], "has 4 bands, but `channels` names 3"),
        ([5], "has 4 bands, but `channels` asks for number 5"),
        ({"nir": 9}, "has 4 bands, but `channels` asks for number 9"),
    ],
)
def test_bands_that_a_file_lacks_are_named(tmp_path, wanted, said):
    Image.fromarray(bands("uint8", 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=f"a.png: {said}"):
        read_channels(str(tmp_path / "a.png"), channels(wanted))


def test_pixels_that_are_no_number_are_named_with_their_place(tmp_path):
    array = bands("float32", 1)
    array[2, 3, 0] = np.nan
    with pytest.raises(DataError, match="a.tif: band 1 has no finite number at row 2, column 3"):
        read_channels(tiff(tmp_path / "a.tif", array), channels([1]))


@pytest.mark.parametrize(
    "claimed, said",
    [
        ({"width": 10**6, "height": 10**6}, "1000000x1000000 pixels of 4 bands"),
        ({"width": 10000, "height": 10000}, "damaged, or a bomb"),
        ({"orientation": 6}, "the EXIF orientation 6"),
    ],
)
def test_a_tiff_that_is_no_photograph_is_one_line_before_its_pixels(tmp_path, claimed, said):
    pytest.importorskip("tifffile")
    path = tiff(tmp_path / "a.tif", bands("uint16", 4), **claimed)
    with pytest.raises(DataError) as caught:
        read_bands(path)
    assert f"{path}: " in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize("cut", [10, 50, 300, -20])
def test_a_damaged_tiff_is_one_line(tmp_path, cut):
    pytest.importorskip("tifffile")
    path = tiff(tmp_path / "a.tif", bands("uint16", 4))
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:cut])
    with pytest.raises(DataError) as caught:
        read_bands(path)
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)


def test_a_png_of_16_bit_colours_is_refused_as_pillow_halves_it(tmp_path):
    Image.fromarray(bands("uint8", 3)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[24] = 16
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match="a.png: "):
        read_bands(str(tmp_path / "a.png"))


def test_a_photograph_of_bands_is_looked_at_by_its_colours():
    wanted = channels(["nir", "blue", "green", "red"])
    assert colour_places(wanted) == (3, 2, 1)
    assert colour_places(channels([4, 5, 6, 7])) == (0, 1, 2)
    assert colour_places(channels([4, 5])) == (0, 0, 0)
    image = np.array([[[1, 2.4, 300, -5]]], np.float32)
    assert to_look_at(image, wanted).tolist() == [[[0, 255, 2]]]


@pytest.fixture
def banded(voc):
    """A VOC data set whose photographs are 16-bit TIFFs of four bands: (data, params, arrays)."""
    pytest.importorskip("tifffile")
    arrays = []
    for name in voc.ids:
        (voc.root / "JPEGImages" / f"{name}.jpg").unlink()
        arrays.append(bands("uint16", 4, *voc.labels[name].shape))
        tiff(voc.root / "JPEGImages" / f"{name}.tif", arrays[-1])
    params = dict(voc.params, channels=NAMED, pixel_scale=0.25, mean=(1, 2, 3, 4))
    return voc, params, arrays


def test_the_layer_gives_the_channels_less_their_mean(banded, build, take):
    voc, params, arrays = banded
    for (image, label), array, name in zip(take(build(VOC, params), 5), arrays, voc.ids):
        wanted = (array / np.float32(4) - np.float32([1, 2, 3, 4])).transpose(2, 0, 1)
        np.testing.assert_array_equal(image[0], wanted)
        np.testing.assert_array_equal(label[0, 0], voc.labels[name])


def test_bands_are_scaled_cut_and_mirrored_like_colours(banded, build, take):
    _, params, _ = banded
    drawn = dict(params, split="train", seed=3, mirror=True, scale=(0.5, 2.0), crop=6, batch=2)
    for image, label in take(build(VOC, drawn), 3):
        assert image.shape == (2, 4, 6, 6) and label.shape == (2, 1, 6, 6)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"mean": (1, 2, 3)}, "expected 4 numbers"),
        ({"jitter": 0.5}, "changes colours, not `channels`"),
        ({"channels": []}, "1 to 64 names of bands"),
        ({"channels": [0]}, "1 to 64 names of bands"),
        ({"channels": ["red", 2]}, "1 to 64 names of bands"),
        ({"channels": ["red", "red"], "mean": (1, 2)}, "'red' is there twice"),
        ({"channels": None}, "expected 3 numbers"),
        ({"channels": None, "mean": (1, 2, 3)}, "pixel_scale in param_str: needs `channels`"),
        ({"pixel_scale": 0}, "expected a number above 0"),
    ],
)
def test_wrong_channels_are_named(banded, build, change, said):
    _, params, _ = banded
    refused(lambda: build(VOC, {**params, **change}), said)


def test_parameters_that_are_parsed_stay_so(banded):
    _, params, _ = banded
    given = {**params, "colours": {0: [1, 2, 3]}}
    once = VOCSegDataLayer.parse(given)
    assert VOCSegDataLayer.parse(once) == once
