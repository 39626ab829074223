"""Masks in colours are read by the table of their colours, and nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from segmentation.colours import read_colours
from segmentation.known_colours import CAMVID_11, CITYSCAPES, KNOWN, recognised, voc_palette
from segmentation.params import DataError

from tests.helpers.layouts import refused

VOC = "VOCSegDataLayer"
COLOURS = {0: [0, 0, 0], 1: [[128, 0, 0], [0, 128, 64]], 2: [255, 255, 255], 255: [224, 224, 192]}
TABLE = {0: 0, 128 << 16: 1, 128 << 8 | 64: 1, 0xFFFFFF: 2, 224 << 16 | 224 << 8 | 192: 255}


def drawn(seed, height=9, width=12):
    """(RGB, class numbers) of a mask in all colours of TABLE."""
    codes = np.array(sorted(TABLE))
    picked = codes[np.random.RandomState(seed).randint(0, len(codes), (height, width))]
    rgb = np.stack([picked >> 16, picked >> 8 & 255, picked & 255], axis=2).astype(np.uint8)
    return rgb, np.vectorize(TABLE.get)(picked).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_each_colour_is_its_class_whatever_the_png_stores(tmp_path, mode):
    rgb, label = drawn(0)
    image = Image.fromarray(rgb)
    image = image.quantize(8) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_colours(tmp_path / "a.png", TABLE), label)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_masks_are_colours_too(tmp_path, mode):
    gray = np.where(drawn(1)[1] == 1, 255, 0).astype(np.uint8)
    Image.fromarray(gray).convert(mode).save(tmp_path / "a.png")
    label = read_colours(tmp_path / "a.png", {0: 0, 0xFFFFFF: 1})
    np.testing.assert_array_equal(label, gray == 255)


def test_a_palettes_transparent_colour_is_its_colour(tmp_path):
    rgb, label = drawn(2)
    Image.fromarray(rgb).quantize(8).save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_colours(tmp_path / "a.png", TABLE), label)


def test_a_colour_outside_the_table_is_named_with_its_place_and_the_nearest(tmp_path):
    rgb, _ = drawn(3, 600)
    rgb[300, 7] = 128, 2, 0
    rgb[599, 11] = 128, 3, 0
    Image.fromarray(rgb).save(tmp_path / "a.png")
    with pytest.raises(DataError) as caught:
        read_colours(tmp_path / "a.png", TABLE)
    said = str(caught.value)
    assert "a.png: the colour 128 2 0 at row 300, column 7 is none of `colours`" in said
    assert "(nearest: 128 0 0); 2 of 7200 pixels have 2 such colours" in said and "\n" not in said


@pytest.mark.parametrize("other", [255, 1])
def test_other_is_what_all_colours_outside_the_table_are(tmp_path, other):
    rgb, label = drawn(4)
    rgb[3, 4] = rgb[0, 0] = 1, 2, 3
    label[3, 4] = label[0, 0] = other
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_colours(tmp_path / "a.png", TABLE, other), label)


def test_a_mask_of_16_bits_is_refused(tmp_path):
    Image.fromarray(np.full((4, 5), 300, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a.png: a mask of 16-bit gray"):
        read_colours(tmp_path / "a.png", TABLE)


def test_the_layer_gives_class_numbers_of_masks_in_colours(voc, build, take):
    wanted = []
    for seed, name in enumerate(voc.ids):
        rgb, label = drawn(seed, *voc.labels[name].shape)
        Image.fromarray(rgb).save(voc.root / "SegmentationClass" / f"{name}.png")
        wanted.append(label)
    net = build(VOC, dict(voc.params, colours=COLOURS, classes=3))
    for (_, found), label in zip(take(net, len(wanted)), wanted):
        np.testing.assert_array_equal(found[0, 0], label)


@pytest.mark.parametrize(
    "colours, said",
    [
        ({0: [0, 0]}, "expected colours"),
        ({0: [0, 0, 256]}, "expected colours"),
        ({0: [0, 0, True]}, "expected colours"),
        ({256: [0, 0, 0]}, "expected class numbers, 0 to 255"),
        ({}, "expected {class number"),
        ({0: [1, 2, 3], 1: [[1, 2, 3]]}, "the colour 1 2 3 stands for two classes"),
    ],
)
def test_a_wrong_table_is_named(voc, build, colours, said):
    refused(lambda: build(VOC, dict(voc.params, colours=colours)), "colours in param_str", said)


def test_known_palettes_are_recognised_by_some_of_their_colours():
    voc = [tuple(c) for c in voc_palette(21).tolist()]
    assert recognised(voc[:9]) == "PASCAL VOC"
    assert recognised([c for each in CAMVID_11.values() for c in each]) == "CamVid, 11 classes"
    assert recognised([(64, 0, 192), (0, 0, 0)]) == "CamVid, 32 classes"
    assert recognised(CITYSCAPES["train"] + CITYSCAPES["void"]) == "Cityscapes"
    assert recognised([(1, 2, 3), (128, 0, 0)]) is None
    assert recognised([(0, 0, 0), (255, 255, 255)]) is None


def test_no_known_palette_gives_two_classes_one_colour():
    for palette in KNOWN.values():
        colours = [colour for each in palette.values() for colour in each]
        assert len(colours) == len(set(colours))


def test_a_label_in_the_colours_of_a_known_palette_is_told_which(voc, build):
    rgb = np.zeros((9, 12, 3), np.uint8)
    rgb[:4], rgb[4:6] = (128, 64, 128), (244, 35, 232)
    Image.fromarray(rgb).save(voc.root / "SegmentationClass" / f"{voc.ids[0]}.png")
    refused(lambda: build(VOC, voc.params), "3 of them, of the palette of Cityscapes")
