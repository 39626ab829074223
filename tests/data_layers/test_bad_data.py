"""Every wrong input to a data layer: one line that names the file or the key, exit code 2."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from segmentation.params import boolean
from segmentation.pictures import read_label, read_rgb
from voc_layers import VOCSegDataLayer

from tests.helpers.layouts import refused, write_palette

VOC = "VOCSegDataLayer"


@pytest.fixture
def first(voc):
    """(image path, label path, label) of the first id."""
    name = voc.ids[0]
    return (
        voc.root / "JPEGImages" / f"{name}.jpg",
        voc.root / "SegmentationClass" / f"{name}.png",
        voc.labels[name],
    )


def test_missing_image_is_named_with_the_extensions_tried(voc, build, first):
    first[0].unlink()
    refused(lambda: build(VOC, voc.params), str(first[0]), "no such image", ".png")


def test_missing_label_is_named(voc, build, first):
    first[1].unlink()
    refused(lambda: build(VOC, voc.params), str(first[1]), "no such label")


def test_truncated_jpeg_is_named(voc, build, first):
    rng = np.random.RandomState(0)
    Image.fromarray(rng.randint(0, 255, (60, 60, 3)).astype(np.uint8)).save(first[0])
    data = first[0].read_bytes()
    first[0].write_bytes(data[: len(data) // 2])
    refused(lambda: build(VOC, voc.params), str(first[0]), "truncated")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_files_that_are_no_pictures_are_named(voc, build, first, content):
    first[0].write_bytes(content)
    refused(lambda: build(VOC, voc.params), str(first[0]))


def test_label_of_another_size_is_named_with_both_sizes(voc, build, first):
    write_palette(first[1], np.zeros((5, 4), np.uint8))
    refused(lambda: build(VOC, voc.params), str(first[1]), "4x5", "12x9")


def test_label_outside_the_classes_is_named_with_value_and_place(voc, build, first):
    label = first[2].copy()
    label[3, 4] = 21
    write_palette(first[1], label)
    refused(lambda: build(VOC, voc.params), str(first[1]), "label 21 at row 3, column 4", "21 cl")
    build(VOC, dict(voc.params, classes=22)).forward()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_label_in_colours_is_refused_with_its_colours_and_the_remedy(voc, build, first, mode):
    label = np.zeros((9, 12, 3), np.uint8)
    label[:3] = 128, 0, 0
    label[:, :3] = 0, 128, 64
    Image.fromarray(label).convert(mode).save(first[1])
    told = (f"label in {mode} colours, 3 of them, of the palette of CamVid, 32 classes: "
            "0 0 0 (50 %), 0 128 64 (25 %), 128 0 0 (25 %)",
            "palette or gray PNG", 'docs/own-data.md, "Masks"')  # fmt: skip
    refused(lambda: build(VOC, voc.params), str(first[1]), *told)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_gray_label_saved_in_colours_is_told_by_its_values(voc, build, first, mode):
    label = np.zeros((9, 12), np.uint8)
    label[:3], label[:, :3] = 2, 255
    Image.fromarray(label).convert(mode).save(first[1])
    told = f"label in {mode} colours that are all gray (0, 2, 255)"
    refused(lambda: build(VOC, voc.params), str(first[1]), told, "palette or gray PNG")


def test_a_photograph_in_a_labels_place_is_told_by_its_many_colours(voc, build, first):
    rgb = np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(first[1])
    refused(lambda: build(VOC, voc.params), "1600 of them", "a photograph, or a mask whose edges")


def test_gray_levels_in_place_of_class_numbers_are_listed(voc, build, first):
    label = np.zeros((9, 12), np.uint8)
    label[3:], label[6:] = 85, 170
    Image.fromarray(label).save(first[1])
    told = ("label 85 at row 3, column 0 is no class: the 3 classes are 0 to 2, and 255 is void",
            "the file holds 0, 85, 170", 'docs/own-data.md, "Masks"')  # fmt: skip
    refused(lambda: build(VOC, dict(voc.params, classes=3)), *told)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transparency", [0, 1, bytes([0, 128, 255, 7])])
def test_a_palettes_transparency_changes_neither_labels_nor_photographs(tmp_path, transparency):
    """As BVLC Caffe's ImageData reads a photograph with such a palette."""
    label = np.arange(12, dtype=np.uint8).reshape(3, 4) % 4
    image = Image.fromarray(label)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 200, 210, 220])
    image.save(tmp_path / "x.png", transparency=transparency)
    np.testing.assert_array_equal(read_label(str(tmp_path / "x.png")), label)
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [200, 210, 220]])
    np.testing.assert_array_equal(read_rgb(str(tmp_path / "x.png")), colours[label])


@pytest.mark.parametrize("kind, named", [(np.float32, "float"), (np.int32, "32-bit")])
def test_pixels_of_32_bits_are_refused(tmp_path, kind, named):
    """BVLC Caffe cannot open them either; cut off at 8 bits they would be all 0."""
    Image.fromarray(np.ones((3, 3), kind)).save(tmp_path / "x.tif")
    refused(lambda: read_rgb(str(tmp_path / "x.tif")), "x.tif", f"{named} pixels", "8-bit")


def test_16_bit_label_above_255_is_refused(tmp_path):
    Image.fromarray(np.full((3, 3), 700, np.uint16)).save(tmp_path / "l.png")
    refused(lambda: read_label(str(tmp_path / "l.png")), "l.png", "above 255: it holds 700")


def test_empty_split_is_named(voc):
    path = voc.root / "ImageSets/Segmentation/val.txt"
    path.write_text("\n \n")
    refused(lambda: VOCSegDataLayer.ids(voc.params), str(path), "empty")


def test_missing_split_is_named_with_the_splits_that_are_there(voc):
    params = dict(voc.params, split="test")
    refused(lambda: VOCSegDataLayer.ids(params), "test.txt", "no such split", "one, train, val")


def test_missing_data_folder_is_named(voc):
    params = dict(voc.params, voc_dir="/no/such/place")
    refused(lambda: VOCSegDataLayer.ids(params), "/no/such/place/ImageSets", "folder right?")


def test_split_that_is_no_text_is_named(voc):
    path = voc.root / "ImageSets/Segmentation/val.txt"
    path.write_bytes(b"\xff\xd8\xff\xe0" * 9)
    refused(lambda: VOCSegDataLayer.ids(voc.params), str(path), "text")


@pytest.mark.parametrize("trick", ["../secret", "/etc/passwd", "a/../../b", "a\\b", "a//b", "."])
def test_ids_with_path_tricks_are_refused_with_their_line(voc, trick):
    path = voc.root / "ImageSets/Segmentation/val.txt"
    path.write_text(f"{voc.ids[0]}\n{trick}\n")
    refused(lambda: VOCSegDataLayer.ids(voc.params), f"{path}:2", "not an image id")


def test_split_with_path_tricks_is_refused(voc):
    refused(lambda: VOCSegDataLayer.ids(dict(voc.params, split="../../x")), "split '../../x'")


def test_huge_picture_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 30000, 10000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    path = tmp_path / "bomb.png"
    path.write_bytes(png)
    refused(lambda: read_rgb(str(path)), "bomb.png", "scale it down")
    small = tmp_path / "small.png"
    Image.new("RGB", (100, 100)).save(small)
    refused(lambda: read_rgb(str(small), max_pixels=9999), "small.png: 100x100", "scale it down")


def test_error_is_raised_at_its_turn_and_again_when_tried_again(voc, build, take):
    path = voc.root / "JPEGImages" / f"{voc.ids[2]}.jpg"
    good = path.read_bytes()
    path.write_bytes(good[:100])
    net = build(VOC, voc.params)
    assert len(take(net, 2)) == 2
    for _ in range(2):
        refused(net.forward, str(path))
    path.write_bytes(good)
    (_, label), *_ = take(net, 3)
    np.testing.assert_array_equal(label[0, 0], voc.labels[voc.ids[2]])


def test_check_names_the_first_missing_file_and_counts_the_rest(voc):
    VOCSegDataLayer.check(voc.params)
    for name in voc.ids[1:4]:
        (voc.root / "SegmentationClass" / f"{name}.png").unlink()
    refused(lambda: VOCSegDataLayer.check(voc.params), voc.ids[1] + ".png", "and 2 more")


# param_str


def test_typing_errors_in_keys_get_a_suggestion(voc):
    params = dict(voc.params, sed=1)
    refused(lambda: VOCSegDataLayer.ids(params), "unknown key 'sed'", "did you mean 'seed'?")


@pytest.mark.parametrize("key", ["voc_dir", "split", "mean"])
def test_required_keys_are_named(voc, key):
    params = {k: v for k, v in voc.params.items() if k != key}
    refused(lambda: VOCSegDataLayer.ids(params), "VOCSegDataLayer", f"lacks '{key}'")


@pytest.mark.parametrize(
    "key, value",
    [
        ("mean", (1, 2)),
        ("mean", "104,116,122"),
        ("mean", (1, 2, float("nan"))),
        ("mean", (1, 2, "3")),
        ("mean", None),
        ("randomize", "maybe"),
        ("randomize", 2),
        ("seed", "1337"),
        ("seed", 1.5),
        ("seed", True),
        ("split", 3),
        ("split", ""),
        ("voc_dir", None),
        ("voc_dir", "a\0b"),
        ("classes", 0),
        ("classes", 256),
        ("classes", "21"),
        ("shrink", 0),
        ("prefetch", -1),
        ("mirror", "yes"),
    ],
)
def test_values_of_wrong_kind_are_named(voc, key, value):
    params = {**voc.params, key: value}
    refused(lambda: VOCSegDataLayer.ids(params), f"{key} in param_str", "expected", repr(value))


@pytest.mark.parametrize(
    "text", ["", "{'a': ", "__import__('os').system('true')", "[1]", "3", "(" * 5000, "{[]: 1}"]
)
def test_param_str_that_is_no_dict_is_refused(build, text):
    refused(lambda: build(VOC, text), "VOCSegDataLayer", "param_str")


def test_param_str_runs_no_code(build, tmp_path):
    mark = tmp_path / "mark"
    text = f"{{'split': open('{mark}', 'w')}}"
    refused(lambda: build(VOC, text), "neither a dict literal nor JSON")
    assert not mark.exists()


@given(st.one_of(st.none(), st.floats(), st.text(max_size=5), st.lists(st.integers())))
def test_boolean_takes_nothing_but_booleans(value):
    if value in (0, 1) or str(value).strip().lower() in ("true", "false"):
        return
    with pytest.raises(ValueError):
        boolean(value)


def test_wrong_number_of_tops_is_told(voc, build):
    refused(lambda: build(VOC, voc.params, tops=("data",)), "has 1 tops, but needs 2")


# pictures of unusual kinds


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode_become_rgb(tmp_path, mode):
    rgb = np.zeros((6, 5, 3), np.uint8)
    rgb[:3] = 255
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(rgb).convert(mode).save(path)
    got = read_rgb(str(path))
    assert got.shape == (6, 5, 3) and got.dtype == np.uint8
    assert got[0].min() > 200 and got[-1].max() < 50


def test_16_bit_gray_keeps_its_upper_bits(tmp_path):
    array = np.array([[0, 255, 256, 65535]], np.uint16)
    Image.fromarray(array).save(tmp_path / "x.png")
    assert read_rgb(str(tmp_path / "x.png"))[0, :, 1].tolist() == [0, 0, 1, 255]


def test_gray_and_palette_labels_are_read_as_they_stand(tmp_path):
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(label).save(tmp_path / "gray.png")
    write_palette(tmp_path / "palette.png", label)
    np.testing.assert_array_equal(read_label(str(tmp_path / "gray.png")), label)
    np.testing.assert_array_equal(read_label(str(tmp_path / "palette.png")), label)
