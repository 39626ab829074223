"""The data transformer: crop, mirror, mean and scale, and the mean's file."""

from __future__ import annotations

import os

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings, strategies as st

from caffe.core.layer import TEST, TRAIN
from caffe.engine import InputError
from caffe.proto import caffe_pb2
from caffe.reading.data_transformer import Transformer, read_mean
from tests.helpers import data_files as files


def transformer(text="", phase=TEST):
    param = caffe_pb2.TransformationParameter()
    text_format.Merge(text, param)
    return Transformer(param, phase, lambda message: InputError(f"layer 'd': {message}"))


def transformed(picture, text, phase=TEST, seed=0):
    made = transformer(text, phase)
    out = np.full(made.shape(picture.shape), np.nan, np.float32)
    made(picture, out, np.random.default_rng(seed) if made.is_random else None)
    return out


def picture(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def test_nothing_asked_for_is_the_picture_as_floats():
    found = transformed(picture(2, 3, 4), "")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, picture(2, 3, 4))


def test_floats_are_transformed_as_bytes_are():
    text = "scale: 0.1 mean_value: 7 crop_size: 2"
    floats = picture(2, 3, 4).astype(np.float32)
    np.testing.assert_array_equal(transformed(floats, text), transformed(picture(2, 3, 4), text))


@pytest.mark.parametrize(("size", "top"), [((7, 7), 2), ((6, 9), 1), ((3, 3), 0), ((4, 4), 0)])
def test_testing_crops_the_middle_rounded_down(size, top):
    whole = picture(1, *size)
    left = (size[1] - 3) // 2
    expected = whole[:, top : top + 3, left : left + 3]
    np.testing.assert_array_equal(transformed(whole, "crop_size: 3"), expected)


@pytest.mark.parametrize(("phase", "mirror"), [(TEST, 0), (TEST, 1), (TRAIN, 0), (TRAIN, 1)])
def test_only_what_is_random_needs_random_numbers(phase, mirror):
    made = transformer(f"crop_size: 2 mirror: {'true' if mirror else 'false'}", phase)
    assert made.is_random == (phase == TRAIN or bool(mirror))
    assert transformer("", phase).is_random is False


def every_window(whole, crop, mirror):
    """All that a crop, perhaps mirrored, may be."""
    rows, columns = whole.shape[1] - crop + 1, whole.shape[2] - crop + 1
    for top in range(rows):
        for left in range(columns):
            window = whole[:, top : top + crop, left : left + crop]
            yield window
            if mirror:
                yield window[:, :, ::-1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_training_gives_one_of_the_windows_less_its_own_mean_times_the_scale(data):
    channels, height, width = (data.draw(st.integers(1, most)) for most in (3, 6, 7))
    crop = data.draw(st.integers(1, min(height, width)))
    mirror, scale = data.draw(st.booleans()), data.draw(st.sampled_from([1.0, 0.25, -3.0]))
    means = data.draw(st.lists(st.integers(0, 255), min_size=channels, max_size=channels))
    text = f"crop_size: {crop} mirror: {str(mirror).lower()} scale: {scale} "
    text += " ".join(f"mean_value: {mean}" for mean in means)
    whole = picture(channels, height, width, seed=data.draw(st.integers(0, 99)))
    found = transformed(whole, text, TRAIN, data.draw(st.integers(0, 99)))
    expected = (whole - np.array(means, np.float32).reshape(-1, 1, 1)) * np.float32(scale)
    assert any(np.array_equal(found, one) for one in every_window(expected, crop, mirror))


def test_training_crops_reach_every_place_and_both_sides():
    whole = np.arange(30).reshape(1, 5, 6).astype(np.uint8)
    text = "crop_size: 3 mirror: true"
    found = {transformed(whole, text, TRAIN, seed).tobytes() for seed in range(600)}
    wanted = {one.astype(np.float32).tobytes() for one in every_window(whole, 3, True)}
    assert found == wanted and len(wanted) == 3 * 4 * 2


def test_one_mean_value_is_for_all_channels():
    found = transformed(picture(3, 2, 2), "mean_value: 9")
    np.testing.assert_array_equal(found, picture(3, 2, 2).astype(int) - 9)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_the_mean_of_a_file_is_that_of_each_pixels_own_place(tmp_path, phase):
    """Nothing is left of the mean itself, wherever it is cropped, mirrored or not."""
    mean = picture(3, 5, 6)
    name = files.write_mean(tmp_path / "mean", mean)
    text = f'mean_file: "{name}" crop_size: 3 mirror: true'
    for seed in range(20):
        assert not transformed(mean, text, phase, seed).any()


def test_the_mean_goes_before_the_scale(tmp_path):
    mean = np.random.RandomState(1).uniform(0, 255, (1, 4, 5)).astype(np.float32)
    name = files.write_mean(tmp_path / "mean", mean)
    found = transformed(picture(1, 4, 5), f'mean_file: "{name}" scale: 0.017')
    np.testing.assert_array_equal(found, (picture(1, 4, 5) - mean) * np.float32(0.017))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crop_size: 5", "layer 'd': crop_size 5 is more than x.png has: 4 × 6"),
        ("mean_value: 1 mean_value: 2", "layer 'd': 2 mean_values for 3 channels; give one"),
        ('mean_file: "MEAN"', r"mean_file is of shape \(3, 6, 4\), x.png of \(3, 4, 6\)"),
    ],
)
def test_a_picture_that_does_not_fit_is_refused(tmp_path, text, words):
    mean = files.write_mean(tmp_path / "mean", np.ones((3, 6, 4)))
    made = transformer(text.replace("MEAN", mean))
    with pytest.raises(InputError, match=words):
        made.shape((3, 4, 6), "x.png")


def test_a_mean_file_and_mean_values_together_are_refused():
    with pytest.raises(InputError, match="layer 'd': mean_file and mean_value are both given"):
        transformer('mean_file: "x" mean_value: 1')


# -- encoded pictures ---------------------------------------------------------------------


def test_an_encoded_picture_keeps_its_channels_unless_they_are_forced():
    grey, colour = files.pixels(0, 3, 4, 1), files.pixels(1, 3, 4)
    for array, channels in ((grey, 1), (colour, 3)):
        data = files.encoded(array)
        assert transformer().decode(data).shape == (channels, 3, 4)
        assert transformer("force_color: true").decode(data).shape == (3, 3, 4)
        assert transformer("force_gray: true").decode(data).shape == (1, 3, 4)
    blue_first = colour[..., ::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(transformer().decode(files.encoded(colour)), blue_first)


def test_colour_and_grey_cannot_both_be_forced():
    made = transformer("force_color: true force_gray: true")
    with pytest.raises(InputError, match="force_color and force_gray are both set; set one"):
        made.decode(files.encoded(files.pixels(0, 3, 4)))


# -- the mean's file ----------------------------------------------------------------------


def blob_proto(shape, values, legacy=False, double=False):
    proto = caffe_pb2.BlobProto()
    (proto.double_data if double else proto.data).extend(np.ravel(values).tolist())
    if legacy:
        proto.num, proto.channels, proto.height, proto.width = shape
    else:
        proto.shape.dim.extend(shape)
    return proto.SerializeToString()


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("double", [True, False])
def test_a_mean_is_read_from_any_kind_of_binaryproto(tmp_path, legacy, double):
    values = np.arange(24).reshape(2, 3, 4) / 8
    (tmp_path / "mean").write_bytes(blob_proto((1, 2, 3, 4), values, legacy, double))
    found = read_mean(tmp_path / "mean")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_of_several_means_the_first_is_taken(tmp_path):
    values = np.arange(48).reshape(2, 2, 3, 4)
    (tmp_path / "mean").write_bytes(blob_proto((2, 2, 3, 4), values))
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), values[0])


def test_missing_axes_are_the_last_ones(tmp_path):
    (tmp_path / "mean").write_bytes(blob_proto((1, 2, 3), np.arange(6)))
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), np.arange(6).reshape(2, 3, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xff\xff", "binaryproto., or it is damaged"),
        (b"", "empty"),
        (blob_proto((1, 2, 3, 4), np.ones(23)), r"shape \(1, 2, 3, 4\) with 23 "),
        (blob_proto((1, -2, -3, 4), np.ones(24)), r"shape \(1, -2, -3, 4\)"),
        (blob_proto((1, 1, 2, 3, 4), np.ones(24)), r"shape \(1, 1, 2, 3, 4\)"),
    ],
)
def test_a_broken_mean_file_is_named(tmp_path, content, words):
    (tmp_path / "mean").write_bytes(content)
    with pytest.raises(InputError, match=f"mean: .*{words}") as error:
        read_mean(tmp_path / "mean")
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


def test_a_truncated_mean_file_is_named(tmp_path):
    name = files.write_mean(tmp_path / "mean", np.ones((3, 20, 20)))
    os.truncate(name, 2000)
    with pytest.raises(InputError, match="mean: .*binaryproto, or it is damaged"):
        read_mean(name)


@pytest.mark.parametrize(("name", "words"), [("none", "No such file"), (".", "a folder")])
def test_a_mean_file_that_is_none_is_named(tmp_path, name, words):
    with pytest.raises(InputError, match=f"cannot read .*{words}"):
        read_mean(tmp_path / name)
