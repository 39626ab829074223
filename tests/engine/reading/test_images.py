"""Pictures as the data layers see them: channels, orientation, other sizes, broken files."""

from __future__ import annotations

import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageOps
from segmentation.params import DataError
from segmentation.pictures import read_rgb

import caffe
from caffe.engine import InputError
from caffe.errors import visible
from caffe.reading import guarded, images
from tests.helpers.data_files import bilinear, encoded, pixels, scene
from tests.helpers.jpegs import of_scans

LUMINANCE = [0.299, 0.587, 0.114]


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_colours_are_blue_green_red(format):
    found = images.decode(encoded(pixels(0, 5, 7), format), images.COLOR)
    np.testing.assert_array_equal(found, pixels(0, 5, 7)[..., ::-1])
    assert found.flags.c_contiguous


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_grey_is_the_luminance(format):
    found = images.decode(encoded(pixels(0, 5, 7), format), images.GRAY)
    assert found.shape == (5, 7, 1) and found.dtype == np.uint8
    assert np.abs(found[..., 0] - pixels(0, 5, 7) @ LUMINANCE).max() <= 1


def test_grey_of_a_photograph_is_the_decoders_own_luminance():
    data = encoded(scene(1, 32, 48), "JPEG", quality=95)
    found = images.decode(data, images.GRAY)[..., 0].astype(int)
    assert np.abs(found - images.decode(data, images.COLOR)[..., ::-1] @ LUMINANCE).max() < 3


def test_equal_channels_are_their_own_grey():
    grey = pixels(0, 5, 7, 1)
    found = images.decode(encoded(np.stack([grey] * 3, axis=2)), images.GRAY)
    np.testing.assert_array_equal(found[..., 0], grey)


@pytest.mark.parametrize(("channels", "made"), [(1, 1), (2, 4), (3, 3), (4, 4)])
def test_as_stored_keeps_grey_and_transparency(channels, made):
    array = pixels(0, 5, 7, channels)
    found = images.decode(encoded(array), images.AS_STORED)
    assert found.shape == (5, 7, made)
    np.testing.assert_array_equal(found[..., -1], array if channels == 1 else
                                  array[..., 0] if channels == 3 else array[..., -1])  # fmt: skip


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_left_out_of_colour_and_grey(channels):
    array = pixels(0, 5, 7, channels)
    colour = images.decode(encoded(array), images.COLOR)
    grey = images.decode(encoded(array), images.GRAY)[..., 0]
    opaque = array[..., :3] if channels == 4 else np.stack([array[..., 0]] * 3, axis=2)
    np.testing.assert_array_equal(colour, opaque[..., ::-1])
    assert np.abs(grey - opaque @ LUMINANCE).max() <= 1


def test_a_palette_is_resolved():
    image = Image.fromarray(pixels(0, 5, 7)).quantize(8)
    expected = np.asarray(image.convert("RGB"))[..., ::-1]
    for channels in (images.COLOR, images.AS_STORED):
        np.testing.assert_array_equal(_through_png(image, channels), expected)


def _through_png(image, channels):
    file = io.BytesIO()
    image.save(file, "PNG")
    return images.decode(file.getvalue(), channels)


def test_single_bits_are_black_and_white():
    bits = pixels(0, 5, 7, 1) > 127
    found = _through_png(Image.fromarray(bits), images.GRAY)
    np.testing.assert_array_equal(found[..., 0], bits * 255)


def test_of_sixteen_bits_the_upper_eight_are_kept():
    deep = np.random.RandomState(0).randint(0, 65536, (5, 7)).astype(np.uint16)
    found = _through_png(Image.fromarray(deep), images.GRAY)
    np.testing.assert_array_equal(found[..., 0], deep >> 8)
    assert _through_png(Image.fromarray(deep), images.COLOR).shape == (5, 7, 3)
    with pytest.raises(InputError, match="16 bits per channel, not 8"):
        _through_png(Image.fromarray(deep), images.AS_STORED)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_unless_it_is_as_stored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(0, 32, 48), "JPEG", exif=exif)
    plain = Image.fromarray(images.decode(data, images.AS_STORED))
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    np.testing.assert_array_equal(images.decode(data, images.COLOR), expected)


# -- other sizes --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 20)] * 4), st.sampled_from([1, 3]), st.integers(0, 99))
def test_a_picture_at_another_size_is_bilinear_to_less_than_a_grey_level(sizes, channels, seed):
    given = np.random.RandomState(seed).randint(0, 256, (*sizes[:2], channels)).astype(np.uint8)
    found = images.resize(given, *sizes[2:])
    assert found.shape == (*sizes[2:], channels) and found.dtype == np.uint8
    expected = bilinear(bilinear(given, 0, sizes[2]), 1, sizes[3])
    assert np.abs(found - expected).max() < 1


def test_half_the_size_is_the_rounded_mean_of_four_pixels():
    given = pixels(0, 6, 8)
    mean = given.astype(int).reshape(3, 2, 4, 2, 3).sum(axis=(1, 3))
    np.testing.assert_array_equal(images.resize(given, 3, 4), (mean + 2) // 4)


# -- what is no picture -------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused_in_one_line(format, share):
    data = encoded(pixels(0, 40, 40), format)
    with pytest.raises(InputError, match="broken or truncated|no picture") as error:
        images.decode(data[: int(len(data) * share)], images.COLOR)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["none.png", "null\0byte.png", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        images.read(name, images.COLOR)
    assert visible(name) in str(error.value) and error.value.exit_code == 2


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(b"\0no picture")
    with pytest.raises(InputError, match=r"x\.png: it is no picture in a format that Pillow reads"):
        images.read(tmp_path / "x.png", images.GRAY)


@pytest.mark.parametrize("count, read", [(64, True), (65, False), (400, False)])
def test_a_jpeg_of_too_many_scans_is_refused_by_every_reader(tmp_path, count, read):
    (tmp_path / "x.jpg").write_bytes(of_scans(count))
    readers = [partial(images.read, channels=images.COLOR), caffe.io.load_image]
    for reader in (*readers, lambda path: images.decode(path.read_bytes(), images.GRAY)):
        if read:
            assert reader(tmp_path / "x.jpg").shape[:2] == (64, 64)
        else:
            with pytest.raises(InputError, match=f"in {count} scans is too much work"):
                reader(tmp_path / "x.jpg")


def test_pixels_times_scans_are_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded, "MOST_WORK", 64 * 64 * 30)
    with pytest.raises(InputError, match="in 31 scans"):
        images.decode(of_scans(31), images.COLOR)


def test_no_other_program_is_started_for_a_picture(tmp_path, monkeypatch):
    """Pillow has Ghostscript run what an EPS says."""
    path = tmp_path / "x.png"
    Image.fromarray(pixels(0, 3, 4)).save(path, "EPS")
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program runs"))
    for reader in (partial(images.read, channels=images.COLOR), caffe.io.load_image):
        with pytest.raises(InputError, match=r"x\.png"):
            reader(path)


@pytest.mark.parametrize("side, why", [(50000, "scale it down"), (2100, "a bomb")])
def test_a_picture_of_more_pixels_than_its_bytes_can_hold_is_refused_at_its_head(
    tmp_path, side, why
):
    data = bytearray(encoded(pixels(0, 3, 4)))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "x.png").write_bytes(data)
    for reader in (partial(images.read, channels=images.COLOR), caffe.io.load_image, read_rgb):
        with pytest.raises((InputError, DataError), match=rf"x\.png: .*pixels.*{why}"):
            reader(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["VP8X", "VP8L", "VP8 "])
@pytest.mark.parametrize("read", [images.read, caffe.io.load_image, read_rgb])
def test_a_webp_of_many_pixels_takes_no_memory_for_them(tmp_path, monkeypatch, kind, read):
    """Pillow would take it at once, whole."""
    side = 2100
    body = {
        "VP8X": bytes(4) + 2 * (side - 1).to_bytes(3, "little"),
        "VP8L": b"\x2f" + ((side - 1) | (side - 1) << 14).to_bytes(4, "little") + bytes(8),
        "VP8 ": b"\x10\2\0\x9d\1\x2a" + 2 * side.to_bytes(2, "little") + bytes(8),
    }[kind]
    chunk = kind.encode() + struct.pack("<I", len(body)) + body
    (tmp_path / "x.webp").write_bytes(b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk)
    monkeypatch.setattr(Image, "open", None)
    more = (images.COLOR,) if read is images.read else ()
    with pytest.raises((InputError, DataError), match="pixels in .* a bomb"):
        read(tmp_path / "x.webp", *more)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_size_of_a_webp_is_told_by_its_head(lossless, mode):
    file = io.BytesIO()
    Image.new(mode, (70, 31), (9, 200, 30, 80)[: len(mode)]).save(file, "WEBP", lossless=lossless)
    assert guarded.webp_size(file.getvalue()[:30]) == (70, 31)
    assert guarded.webp_size(encoded(pixels(0, 5, 7))[:30]) == (0, 0)


def test_more_pixels_than_any_reader_takes_are_refused(monkeypatch):
    monkeypatch.setattr(guarded, "MOST_PIXELS", 34)
    with pytest.raises(InputError, match="7 × 5 pixels are more than 34; scale it down"):
        images.decode(encoded(pixels(0, 5, 7)), images.COLOR)


def test_a_large_picture_of_one_colour_is_read(tmp_path):
    """As small as deflate makes it."""
    Image.new("1", (8192, 4096), 1).save(tmp_path / "x.png", compress_level=9)
    assert images.read(tmp_path / "x.png", images.GRAY).shape == (4096, 8192, 1)
    assert read_rgb(str(tmp_path / "x.png")).all()
