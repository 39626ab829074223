"""WindowData: which windows come, what is cut out of the pictures, broken window files."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers import data_files as files

SIZE = (40, 50)
PICTURES = [files.pixels(i, *SIZE) for i in range(2)]
FOREGROUND, BACKGROUND = 0.7, 0.1  # overlaps
INSIDE = (10, 12, 18, 20)  # 9 × 9


def text(more="batch_size: 4", transform="crop_size: 9", source='source: "windows.txt"'):
    return (
        'layer { name: "d" type: "WindowData" top: "data" top: "label" window_data_param { '
        f"{source} {more} }} transform_param {{ {transform} }} }}"
    )


def blobs(array):
    return array[..., ::-1].transpose(2, 0, 1).astype(np.float32)


def part(picture, x1, y1, x2, y2):
    """What lies in the window, corners included."""
    return blobs(picture[y1 : y2 + 1, x1 : x2 + 1])


@pytest.fixture
def windows(tmp_path):
    """windows(foregrounds, backgrounds): windows.txt with windows of label 1, 2, ... in 0.png and
    of label 0 in 1.png."""

    def windows(foregrounds, backgrounds=((0, 0, 8, 8),), pictures=PICTURES):
        files.write_pictures(tmp_path, pictures)
        size = pictures[0].shape[:2]
        return files.write_windows(
            tmp_path / "windows.txt",
            [
                ("0.png", size, [(i, FOREGROUND, *w) for i, w in enumerate(foregrounds, 1)]),
                ("1.png", size, [(0, BACKGROUND, *w) for w in backgrounds]),
            ],
        )

    return windows


@pytest.mark.parametrize(
    ("fraction", "foregrounds"),
    [("", 2), ("fg_fraction: 0", 0), ("fg_fraction: 0.3", 2), ("fg_fraction: 1", 8)],
)
def test_the_background_comes_first_with_label_0(windows, read, fraction, foregrounds):
    windows([INSIDE])
    (batch,) = read(text(f"batch_size: 8 {fraction}"))
    assert batch["label"].tolist() == [0] * (8 - foregrounds) + [1] * foregrounds
    there, here = part(PICTURES[1], 0, 0, 8, 8), part(PICTURES[0], *INSIDE)
    np.testing.assert_array_equal(batch["data"], [there] * (8 - foregrounds) + [here] * foregrounds)


def test_every_window_of_its_kind_is_drawn(windows, read):
    windows([INSIDE, (30, 3, 38, 11), (0, 31, 8, 39)], [(0, 0, 8, 8), (41, 31, 49, 39)])
    (batch,) = read(text("batch_size: 80 fg_fraction: 0.5"))
    assert set(batch["label"][40:].tolist()) == {1, 2, 3}
    for label, array in zip(batch["label"][40:], batch["data"][40:]):
        window = [INSIDE, (30, 3, 38, 11), (0, 31, 8, 39)][int(label) - 1]
        np.testing.assert_array_equal(array, part(PICTURES[0], *window))
    corners = [part(PICTURES[1], 0, 0, 8, 8), part(PICTURES[1], 41, 31, 49, 39)]
    found = {[np.array_equal(a, c) for c in corners].index(True) for a in batch["data"][:40]}
    assert found == {0, 1}


def test_an_overlap_between_the_thresholds_is_neither(tmp_path, read):
    files.write_pictures(tmp_path, PICTURES)
    overlaps = [0.59, 0.6, 0.3, 0.29]  # labels 1 to 4
    listed = [(i, overlap, *INSIDE) for i, overlap in enumerate(overlaps, 1)]
    files.write_windows(tmp_path / "windows.txt", [("0.png", SIZE, listed)])
    more = "batch_size: 40 fg_fraction: 0.5 fg_threshold: 0.6 bg_threshold: 0.3"
    assert set(read(text(more))[0]["label"][20:].tolist()) == {2}


def test_a_window_above_both_thresholds_is_foreground_alone(tmp_path, read):
    files.write_pictures(tmp_path, PICTURES)
    listed = [(1, 0.6, *INSIDE), (2, 0.1, 0, 0, 8, 8)]
    files.write_windows(tmp_path / "windows.txt", [("0.png", SIZE, listed)])
    more = "batch_size: 20 fg_fraction: 0 fg_threshold: 0.5 bg_threshold: 0.7"
    (batch,) = read(text(more))
    np.testing.assert_array_equal(batch["data"], [part(PICTURES[0], 0, 0, 8, 8)] * 20)


@pytest.mark.parametrize("window", [(2, 20, 47, 25), (20, 1, 24, 38), (7, 8, 7, 8), (0, 0, 49, 39)])
def test_a_window_is_warped_to_the_crop(windows, read, window):
    windows([window])
    (batch,) = read(text("batch_size: 1 fg_fraction: 1"))
    expected = files.bilinear(files.bilinear(part(PICTURES[0], *window), 1, 9), 2, 9)
    assert np.abs(batch["data"][0] - expected).max() < 1


def test_square_takes_the_square_around_a_window(windows, read):
    windows([(10, 20, 29, 23)])  # 20 × 4; its middle is at 20, 22
    more = 'batch_size: 1 fg_fraction: 1 crop_mode: "square"'
    (batch,) = read(text(more, "crop_size: 21"))
    np.testing.assert_array_equal(batch["data"][0], part(PICTURES[0], 10, 12, 30, 32))


def test_context_is_added_around_a_window(windows, read):
    windows([(10, 12, 15, 17)])  # 6 × 6 pixels become 6 × 6 of 8 × 8, with one around
    (batch,) = read(text("batch_size: 1 fg_fraction: 1 context_pad: 1", "crop_size: 8"))
    expected = files.bilinear(files.bilinear(part(PICTURES[0], 9, 11, 17, 19), 1, 8), 2, 8)
    assert np.abs(batch["data"][0] - expected).max() < 1


# 6 pixels with context are 9, from 1 before to 2 behind, and become 8: 9 less 1 become 7 of them,
# 9 less 2 become 6.
CORNERS = {
    (0, 0, 5, 5): np.s_[:, 1:, 1:],
    (44, 34, 49, 39): np.s_[:, :6, :6],
    (0, 34, 5, 39): np.s_[:, :6, 1:],
}


@pytest.mark.parametrize("window", CORNERS)
def test_context_beyond_the_picture_is_zero_after_mean_and_scale(windows, read, window):
    windows([window], pictures=[np.full((*SIZE, 3), 200, np.uint8)] * 2)
    more = "batch_size: 1 fg_fraction: 1 context_pad: 1 scale: 0.5"
    (batch,) = read(text(more, "crop_size: 8 mean_value: 40"))
    expected = np.zeros((3, 8, 8))
    expected[CORNERS[window]] = (200 - 40) * 0.5
    np.testing.assert_array_equal(batch["data"][0], expected)


def test_a_mirrored_window_is_the_plain_one_turned_round(windows, read):
    windows([INSIDE])
    (batch,) = read(text("batch_size: 200 fg_fraction: 1", "crop_size: 9 mirror: true"))
    plain = part(PICTURES[0], *INSIDE)
    mirrored = [np.array_equal(array, plain[..., ::-1]) for array in batch["data"]]
    assert all(m or np.array_equal(a, plain) for m, a in zip(mirrored, batch["data"]))
    assert 58 < sum(mirrored) < 142  # six standard deviations


def test_the_margin_of_a_mirrored_window_is_on_the_other_side(windows, read):
    windows([(0, 12, 5, 17)], pictures=[np.full((*SIZE, 3), 200, np.uint8)] * 2)
    more = "batch_size: 60 fg_fraction: 1 context_pad: 1"
    (batch,) = read(text(more, "crop_size: 8 mirror: true"))
    empty = {tuple(np.flatnonzero((array == 0).all(axis=(0, 1)))) for array in batch["data"]}
    assert empty == {(0,), (7,)}


def test_mean_values_and_scale_are_those_of_the_channels(windows, read):
    windows([INSIDE])
    transform = "crop_size: 9 mean_value: 10 mean_value: 20 mean_value: 30"
    (batch,) = read(text("batch_size: 1 fg_fraction: 1 scale: 0.25", transform))
    mean = np.array([10, 20, 30]).reshape(3, 1, 1)
    np.testing.assert_array_equal(batch["data"][0], (part(PICTURES[0], *INSIDE) - mean) / 4)


def test_the_middle_of_a_mean_file_is_taken_off(windows, read, tmp_path):
    windows([INSIDE])
    mean = np.random.RandomState(0).uniform(0, 255, (3, 13, 13)).astype(np.float32)
    name = files.write_mean(tmp_path / "mean.binaryproto", mean)
    (batch,) = read(text("batch_size: 1 fg_fraction: 1", f'crop_size: 9 mean_file: "{name}"'))
    expected = part(PICTURES[0], *INSIDE) - mean[:, 2:11, 2:11]
    np.testing.assert_array_equal(batch["data"][0], expected)


def test_root_folder_goes_before_each_path(windows, read, tmp_path):
    windows([INSIDE])
    (tmp_path / "sub").mkdir()
    for name in ("0.png", "1.png"):
        os.rename(tmp_path / name, tmp_path / "sub" / name)
    (batch,) = read(text('batch_size: 1 root_folder: "sub/"'))
    np.testing.assert_array_equal(batch["data"][0], part(PICTURES[1], 0, 0, 8, 8))


def test_cached_pictures_are_read_from_their_files_once(windows, make, tmp_path):
    windows([INSIDE])
    net = make(text("batch_size: 2 fg_fraction: 0.5 cache_images: true"))
    net.forward()
    for name in ("0.png", "1.png"):
        os.unlink(tmp_path / name)
    for _ in range(8):  # more than is read ahead
        net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[1], part(PICTURES[0], *INSIDE))


def test_the_same_seed_gives_the_same_windows(windows, read):
    windows([(i, i, i + 9, i + 9) for i in range(20)])
    seen = []
    for seed in (3, 3, 4):
        caffe.set_random_seed(seed)
        found = read(text("batch_size: 9", "crop_size: 9 mirror: true"), 3)
        seen.append(np.stack([batch["data"] for batch in found]))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("cache", ["false", "true"])
def test_a_restored_state_goes_on_with_the_windows_it_would_have_had(
    windows, goes_on, before, cache
):
    windows([(i, i, i + 9, i + 9) for i in range(20)])
    more = f"batch_size: 4 cache_images: {cache}"
    goes_on(text(more, "crop_size: 9 mirror: true"), before)


# -- what cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prototxt", "words"),
    [
        (text(""), ["batch_size is not given"]),
        (text(source=""), ["window_data_param.source is not given"]),
        (text(source='source: "none"'), ["source: cannot read none", "No such file"]),
        (text(source='source: "."'), ["source: cannot read .", "folder"]),
        (text(transform=""), ["transform_param.crop_size is not given"]),
        (text("batch_size: 1 context_pad: 5"), ["context_pad 5", "crop_size 9"]),
        (text('batch_size: 1 crop_mode: "round"'), ["crop_mode 'round'", "'warp' nor 'square'"]),
        (text("batch_size: 1 fg_fraction: 1.5"), ["fg_fraction 1.5", "0 to 1"]),
        (text("batch_size: 1 fg_threshold: 0.8"), ["windows.txt", "fg_threshold", "no fg windows"]),
        (text("batch_size: 1 bg_threshold: 0.1"), ["windows.txt", "bg_threshold", "no bg windows"]),
        (text(transform="crop_size: 9 mean_value: 1 mean_value: 2"), ["2 mean_values"]),
        (text(transform='crop_size: 9 mean_file: "none"'), ["mean_file: cannot read none"]),
    ],
)
def test_what_cannot_be_meant_is_refused(windows, refused, prototxt, words):
    windows([INSIDE])
    refused(prototxt, *words)


@pytest.mark.parametrize("shape", [(3, 8, 12), (3, 12, 8), (1, 12, 12), (3, 9, 20)])
def test_a_mean_file_in_which_the_crop_has_no_room_is_refused(windows, refused, tmp_path, shape):
    windows([INSIDE])
    name = files.write_mean(tmp_path / "mean.binaryproto", np.ones(shape))
    words = (str(shape), "3 channels, and at least 9 × 9")
    refused(text(transform=f'crop_size: 9 mean_file: "{name}"'), *words)


PICTURE = "# 0\n0.png\n3\n40\n50\n"
BROKEN = {
    "": ["windows.txt: the file is empty"],
    "0.png 3\n": ["windows.txt:1: '0.png' where '#' and a picture"],
    "# 1\n": ["windows.txt:1", "0 is next"],
    "# 0\n0.png\n1\n": ["windows.txt:3", "1 channels"],
    "# 0\n0.png\n3\nhigh\n": ["windows.txt:4", "'high' is no height"],
    "# 0\n0.png\n3\n40\n0\n": ["windows.txt:5", "'0' is no width"],
    PICTURE + "-1\n": ["windows.txt:6", "'-1' is no number of windows"],
    PICTURE + "1\none 0.5 1 2 3 4\n": ["windows.txt:7", "'one' is no label"],
    PICTURE + "1\n1 half 1 2 3 4\n": ["windows.txt:7", "'half' is no overlap"],
    PICTURE + "1\n1 0.5 1 2 3 4.5\n": ["windows.txt:7", "'4.5' is no y2"],
    PICTURE + "2\n1 0.5 1 2 3 4\n": ["windows.txt:7", "label should be", "truncated"],
    PICTURE + "1\n1 0.5 1 2 3\n": ["windows.txt:7", "y2 should be", "truncated"],
    PICTURE + "1\n1 0.5 1 2 3 4 5\n": ["windows.txt:7", "'5' where '#'"],
    PICTURE + "1\n1 0.5 1 2 3 99999999999\n": ["windows.txt:7", "'99999999999' is no y2"],
    PICTURE + "2\n0 0.7 1 2 3 4\n0 0.1 1 2 3 4\n": ["foreground window's label must be above 0"],
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_window_file_is_refused_by_its_line(refused, tmp_path, content):
    (tmp_path / "windows.txt").write_text(content)
    refused(text(), *BROKEN[content])


@pytest.mark.parametrize("more", ["", "context_pad: 1", 'crop_mode: "square"'])
@pytest.mark.parametrize(
    "window", [(60, 2, 70, 9), (-30, 2, -20, 9), (10, 5, 8, 3), (30, 30, 2, 2), (5, 50, 6, 60)]
)
def test_a_window_that_does_not_lie_in_its_picture_is_named(windows, refused, more, window):
    windows([window])
    words = ("windows.txt", f"window {window}", "0.png", "40 × 50")
    refused(text(f"batch_size: 1 fg_fraction: 1 {more}"), *words, forward=1)


@pytest.mark.parametrize("cache", ["false", "true"])
def test_a_broken_picture_is_named(windows, refused, tmp_path, cache):
    windows([INSIDE])
    (tmp_path / "0.png").write_text("no picture")
    more = f"batch_size: 1 fg_fraction: 1 cache_images: {cache}"
    refused(text(more), "0.png", "it is a text that begins 'no picture', not a picture", forward=1)


@pytest.mark.parametrize("cache", ["false", "true"])
def test_a_picture_that_is_not_there_is_named(windows, refused, tmp_path, cache):
    windows([INSIDE])
    os.unlink(tmp_path / "0.png")
    more = f"batch_size: 1 fg_fraction: 1 cache_images: {cache}"
    refused(text(more), "0.png", "No such file", forward=1)


def test_a_picture_that_has_become_smaller_than_its_windows_is_named(windows, refused, tmp_path):
    windows([INSIDE])
    Image.fromarray(PICTURES[0][:15]).save(tmp_path / "0.png")
    refused(text("batch_size: 1 fg_fraction: 1"), "0.png", "15 × 50", forward=1)


def test_pictures_that_do_not_fit_into_memory_are_not_cached(windows, refused, monkeypatch):
    windows([INSIDE])
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 5000}.__getitem__)
    refused(text("batch_size: 1 cache_images: true"), "cache_images", "do not fit")
