"""ImageData: which pictures come, what becomes of them, what is random, broken lists."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.engine.layers.field_rows import logged
from tests.helpers import data_files as files


def text(more="batch_size: 2", transform="", source='source: "list.txt"'):
    return (
        f'layer {{ name: "d" type: "ImageData" top: "data" top: "label" image_data_param {{ '
        f"{source} {more} }} transform_param {{ {transform} }} }}"
    )


def blobs(array):
    """A picture of red, green, blue as Caffe has it: (blue green red, height, width)."""
    return array[..., ::-1].transpose(2, 0, 1).astype(np.float32)


def labels(batches):
    return np.concatenate([batch["label"] for batch in batches]).astype(int).tolist()


PICTURES = [files.pixels(i, 6, 8) for i in range(5)]


@pytest.fixture
def pictures(tmp_path):
    """pictures(arrays): their files, and list.txt, whose labels are their numbers."""
    return lambda arrays=PICTURES, *more, **kwargs: files.write_pictures(
        tmp_path, arrays, *more, **kwargs
    )


def test_pictures_come_in_the_lists_order_and_round(pictures, read):
    pictures()
    found = read(text(), 4)
    assert labels(found) == [0, 1, 2, 3, 4, 0, 1, 2]
    expected = [blobs(PICTURES[i]) for i in labels(found)]
    np.testing.assert_array_equal(np.concatenate([b["data"] for b in found]), expected)


def test_a_photograph_is_decoded_as_pillow_does(pictures, read, tmp_path):
    pictures([files.scene(1, 32, 48)], ".jpg", quality=90)
    with Image.open(tmp_path / "0.jpg") as image:
        expected = blobs(np.asarray(image))
    np.testing.assert_array_equal(read(text("batch_size: 1"))[0]["data"][0], expected)


def test_without_colour_a_picture_is_its_luminance(pictures, read):
    pictures()
    found = read(text("batch_size: 5 is_color: false"))[0]["data"]
    assert found.shape == (5, 1, 6, 8)
    luminance = np.stack(PICTURES) @ [0.299, 0.587, 0.114]
    assert np.abs(found[:, 0] - luminance).max() <= 1


def test_a_grey_picture_has_three_equal_channels_in_colour(pictures, read):
    grey = files.pixels(0, 6, 8, 1)
    pictures([grey])
    np.testing.assert_array_equal(read(text("batch_size: 1"))[0]["data"][0], [grey] * 3)


@pytest.mark.parametrize("line", ["{}/a b.png -7\n", "{}/a b.png -7", "{}/a b.png -7\r\n"])
def test_a_name_may_have_blanks_and_a_line_either_end(tmp_path, read, line):
    Image.fromarray(PICTURES[0]).save(tmp_path / "a b.png")
    (tmp_path / "list.txt").write_bytes(line.format(tmp_path).encode())
    assert labels(read(text("batch_size: 1"))) == [-7]


def test_root_folder_goes_before_each_name(tmp_path, read):
    (tmp_path / "sub").mkdir()
    Image.fromarray(PICTURES[0]).save(tmp_path / "sub" / "x.png")
    (tmp_path / "list.txt").write_text("x.png 3\n")
    assert labels(read(text(f'batch_size: 1 root_folder: "{tmp_path}/sub/"'))) == [3]


def test_pictures_become_new_height_by_new_width(pictures, read):
    pictures([files.pixels(0, 4, 6), files.pixels(1, 9, 5)])
    found = read(text("batch_size: 2 new_height: 3 new_width: 7"))[0]["data"]
    assert found.shape == (2, 3, 3, 7)
    for array, picture in zip(found, (files.pixels(0, 4, 6), files.pixels(1, 9, 5))):
        expected = files.bilinear(files.bilinear(blobs(picture), 1, 3), 2, 7)
        assert np.abs(array - expected).max() < 1


def test_batches_of_one_take_each_pictures_size(pictures, read):
    pictures([files.pixels(i, 4 + i, 9 - i) for i in range(3)])
    shapes = [batch["data"].shape for batch in read(text(""), 4)]
    assert shapes == [(1, 3, 4, 9), (1, 3, 5, 8), (1, 3, 6, 7), (1, 3, 4, 9)]


# -- the transformation -------------------------------------------------------------------


def test_a_mean_file_is_taken_off_before_the_scale(pictures, read, tmp_path):
    pictures()
    mean = np.random.RandomState(0).uniform(0, 255, (3, 6, 8)).astype(np.float32)
    name = files.write_mean(tmp_path / "mean.binaryproto", mean)
    found = read(text("batch_size: 1", f'mean_file: "{name}" scale: 0.5 crop_size: 4'))[0]["data"]
    expected = ((blobs(PICTURES[0]) - mean) * np.float32(0.5))[:, 1:5, 2:6]
    np.testing.assert_array_equal(found[0], expected)


def test_training_crops_anywhere_and_testing_in_the_middle(pictures, read):
    picture = np.repeat(np.arange(48).reshape(6, 8, 1), 3, axis=2).astype(np.uint8)
    pictures([picture])
    prototxt = text("batch_size: 200", "crop_size: 4")
    trained = read(prototxt, 1, caffe.TRAIN)[0]["data"][:, 0]
    places = {int(crop[0, 0]) for crop in trained}
    assert places == {8 * top + left for top in range(3) for left in range(5)}
    for crop in trained:
        top, left = divmod(int(crop[0, 0]), 8)
        np.testing.assert_array_equal(crop, picture[top : top + 4, left : left + 4, 0])
    tested = read(prototxt, 1, caffe.TEST)[0]["data"][:, 0]
    assert (tested == picture[1:5, 2:6, 0]).all()


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_half_of_the_pictures_are_mirrored_in_both_phases(pictures, read, phase):
    pictures(PICTURES[:1])
    found = read(text("batch_size: 400", "mirror: true"), 1, phase)[0]["data"]
    plain = blobs(PICTURES[0])
    mirrored = [np.array_equal(array, plain[..., ::-1]) for array in found]
    assert all(m or np.array_equal(a, plain) for m, a in zip(mirrored, found))
    assert 140 < sum(mirrored) < 260  # six standard deviations


# -- what is random -----------------------------------------------------------------------


def test_a_shuffled_list_is_read_whole_each_time_in_another_order(pictures, read):
    pictures()
    orders = [labels([batch]) for batch in read(text("batch_size: 5 shuffle: true"), 20)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 5


def test_rand_skip_begins_at_a_random_picture(pictures, read):
    pictures()
    starts = {labels(read(text("batch_size: 1 rand_skip: 3")))[0] for _ in range(40)}
    assert starts == {0, 1, 2}


def test_the_same_seed_gives_the_same_batches(pictures, read):
    pictures()
    seen = []
    for seed in (3, 3, 4):
        caffe.set_random_seed(seed)
        prototxt = text("batch_size: 4 shuffle: true", "crop_size: 3 mirror: true")
        seen.append(np.stack([b["data"] for b in read(prototxt, 3, caffe.TRAIN)]))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


@pytest.mark.parametrize("before", [0, 1, 2, 7])
@pytest.mark.parametrize(
    "more", ["", "shuffle: true", "rand_skip: 4", "rand_skip: 4 shuffle: true"]
)
def test_a_restored_state_goes_on_with_the_pictures_it_would_have_had(
    pictures, goes_on, before, more
):
    pictures()
    goes_on(text(f"batch_size: 3 {more}", "crop_size: 3 mirror: true"), before)


def test_training_that_is_resumed_reads_on_where_it_was(pictures, make_solver):
    pictures()
    net = text("batch_size: 2 shuffle: true", "scale: 0.01 crop_size: 3 mirror: true") + (
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 5 } } "
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )
    settings = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s" display: 0'
    solver = make_solver(net, settings)
    solver.step(3)
    solver.snapshot()
    solver.step(4)
    resumed = make_solver(net, settings, seed=5)
    resumed.restore("s_iter_3.solverstate")
    resumed.step(4)
    weights = [s.net.params["ip"][0].data for s in (solver, resumed)]
    np.testing.assert_array_equal(*weights)


# -- lists and pictures that cannot be read -----------------------------------------------


@pytest.mark.parametrize(
    ("prototxt", "words"),
    [
        (text("batch_size: 0"), ["batch_size is not given"]),
        (text(source=""), ["image_data_param.source is not given"]),
        (text(source='source: "none"'), ["source: cannot read none", "No such file"]),
        (text(source='source: "."'), ["source: cannot read .", "folder"]),
        (text("new_height: 3"), ["new_height and new_width have to be given together"]),
        (text("new_width: 3"), ["new_height and new_width have to be given together"]),
        (text("rand_skip: 900000"), ["rand_skip 900000", "5 pictures"]),
        (text(transform="crop_size: 7"), ["crop_size 7", "6 × 8"]),
        (text(transform="mean_value: 1 mean_value: 2"), ["2 mean_values for 3 channels"]),
        (text(transform='mean_file: "none"'), ["mean_file: cannot read none"]),
        (text(transform='mean_file: "x" mean_value: 1'), ["mean_file and mean_value", "give one"]),
        (text("batch_size: 99999 new_height: 9999 new_width: 9999"), ["do not fit"]),
    ],
)
def test_what_cannot_be_meant_is_refused(pictures, refused, prototxt, words):
    pictures()
    refused(prototxt, *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (" 4", ["list.txt:2", "' 4' names no picture", "name label"]),
        ("", ["list.txt:2", "the line is empty", "name label"]),
    ],
)
def test_a_line_without_a_name_is_refused(pictures, refused, tmp_path, line, words):
    listed = pictures(PICTURES[:1])
    with open(listed, "a") as file:
        file.write(line + "\n")
    refused(text(), *words)


# Of whole lines: what the label is that Caffe reads.
LABELS = {
    "0.png": 0,
    "0.png one": 0,
    "0.png 1.7": 1,
    "0.png 3x": 3,
    "0.png 0x10": 0,
    "0.png +4": 4,
    "0.png -4": -4,
    "0.png \t5": 5,
    "0.png 4294967299": 3,
    "0.png 99999999999999999999": -1,
    "2007_0.png": 2007,
    "my 0.png": 0,
}


@pytest.mark.parametrize("line", LABELS)
def test_a_label_is_the_number_that_the_text_after_the_last_blank_begins_with(
    pictures, read, tmp_path, line
):
    pictures(PICTURES[:1])
    for name in ("2007_0.png", "my"):
        shutil.copy(tmp_path / "0.png", tmp_path / name)
    (tmp_path / "list.txt").write_text(line + "\n")
    assert labels(read(text("batch_size: 1"))) == [LABELS[line]]


def test_labels_that_are_no_numbers_are_told_of_once(pictures, read, tmp_path):
    pictures(PICTURES[:1])
    (tmp_path / "list.txt").write_text("0.png 1\n2007_0.png\n0.png one\n0.png 2\n")
    with logged() as lines:
        read(text("batch_size: 1"))
    (told,) = [line for line in lines() if "list.txt" in line]
    assert "2 of 4 lines end in no label" in told
    assert "'2007_0.png' in line 2 has label 2007" in told


def test_lists_with_the_line_ends_of_windows_are_read(pictures, read, tmp_path):
    pictures(PICTURES[:2])
    (tmp_path / "list.txt").write_bytes(b"0.png 7\r\n1.png\r\n")
    assert labels(read(text("batch_size: 2"))) == [7, 1]


def test_a_picture_that_is_not_there_is_named_with_its_line(pictures, refused, tmp_path):
    pictures(PICTURES[:1])
    (tmp_path / "list.txt").write_text("none.png 1\n")
    refused(text(), "list.txt:1: cannot read none.png")


@pytest.mark.parametrize("line", ["0.png 1 ", "0.png\t1", "0.png  1"])
def test_a_blank_too_many_or_a_tab_is_pointed_out(pictures, refused, tmp_path, line):
    pictures(PICTURES[:1])
    (tmp_path / "list.txt").write_text(line + "\n")
    refused(text(), "list.txt:1", "one blank between them")


def test_an_empty_list_is_refused(refused, tmp_path):
    (tmp_path / "list.txt").write_text("")
    refused(text(), "source: list.txt: the file is empty")


def test_a_mean_file_of_another_size_is_refused(pictures, refused, tmp_path):
    pictures()
    name = files.write_mean(tmp_path / "mean.binaryproto", np.ones((3, 6, 7)))
    refused(text(transform=f'mean_file: "{name}"'), "(3, 6, 7)", "(3, 6, 8)")


def test_a_picture_that_is_gone_is_named_when_it_comes(pictures, refused, tmp_path):
    pictures()
    os.unlink(tmp_path / "3.png")
    refused(text(), "3.png", "No such file", forward=2)


def test_a_truncated_picture_is_named(pictures, refused, tmp_path):
    pictures([files.pixels(0, 40, 40)])
    os.truncate(tmp_path / "0.png", 3000)
    refused(text(), "0.png", "broken or truncated")


def test_a_file_that_is_no_picture_is_named(pictures, refused, tmp_path):
    pictures()
    (tmp_path / "0.png").write_text("no picture")
    refused(text(), "0.png", "it is a text that begins 'no picture', not a picture")


def test_pictures_of_two_sizes_in_one_batch_are_refused(pictures, refused):
    pictures([files.pixels(0, 4, 4), files.pixels(1, 4, 5)])
    refused(text(), "1.png is 4 × 5", "the first of its batch 4 × 4", "batches of 1", forward=1)


def test_a_later_picture_that_is_smaller_than_the_crop_is_refused(pictures, refused):
    pictures([files.pixels(0, 4, 4), files.pixels(1, 2, 5)])
    refused(text(transform="crop_size: 3"), "crop_size 3", "2 × 5", "1.png", forward=1)
