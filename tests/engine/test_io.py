"""caffe.io: pictures, messages, Transformer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

import caffe
from caffe import io
from caffe.engine import InputError


def picture(*shape, seed=0):
    return np.float32(np.random.RandomState(seed).random_sample(shape))


# -- resizing -----------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 5]), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_picture_resized_to_its_own_size_is_itself(height, width, channels, order):
    image = picture(height, width, channels)
    out = io.resize_image(image, (height, width), order)
    assert out.dtype == np.float32
    # A spline of a picture's border sees the black beyond it; the pixels themselves stay.
    np.testing.assert_allclose(out, image, atol=1e-5)


@given(st.tuples(*[st.integers(1, 12)] * 4), st.sampled_from([1, 3]), st.sampled_from([0, 1, 3]))
@settings(max_examples=40, deadline=None)
def test_resized_values_stay_within_the_pictures(sizes, channels, order):
    image = picture(*sizes[:2], channels) * 7 - 3
    out = io.resize_image(image, sizes[2:], order)
    assert out.shape == (*sizes[2:], channels)
    assert out.min() >= image.min() - 1e-5 and out.max() <= image.max() + 1e-5


def test_doubling_weighs_neighbours_three_to_one():
    image = np.array([0, 4, 8, 0], np.float32).reshape(1, 4, 1)
    out = io.resize_image(image, (1, 8))
    np.testing.assert_allclose(out[0, :, 0], [0, 1, 3, 5, 7, 6, 2, 0], atol=1e-5)


def test_other_channel_counts_are_interpolated_between_the_corners():
    image = np.array([0, 3], np.float32).reshape(1, 2, 1).repeat(2, axis=2)
    np.testing.assert_allclose(io.resize_image(image, (1, 4))[0, :, 0], [0, 1, 2, 3], atol=1e-6)


def test_a_constant_picture_stays_constant():
    out = io.resize_image(np.full((3, 5, 3), 7, np.uint8), (9, 2))
    assert out.shape == (9, 2, 3) and (out == 7).all()


@pytest.mark.parametrize(
    "shape, size, order, words",
    [
        ((5, 6), (3, 4), 1, "height, width, channels"),
        ((0, 6, 3), (3, 4), 1, "height, width, channels"),
        ((5, 6, 3), (0, 4), 1, "at least 1"),
        ((5, 6, 3), (3, 4, 3), 1, r"\(height, width\)"),
        ((5, 6, 3), (3, 4), 6, "interp_order"),
    ],
)
def test_what_cannot_be_resized_is_refused(shape, size, order, words):
    with pytest.raises(ValueError, match=words):
        io.resize_image(np.zeros(shape), size, order)


# -- crops --------------------------------------------------------------------------------------


def test_crops_are_corners_centre_and_their_mirrors():
    image = np.arange(7 * 8).reshape(7, 8, 1)
    out = io.oversample([image, image], (4, 5))
    assert out.shape == (20, 4, 5, 1) and out.dtype == np.float32
    assert out[:5, 0, 0, 0].tolist() == [0, 3, 24, 27, 9]
    np.testing.assert_array_equal(out[5:10], out[:5, :, ::-1])
    np.testing.assert_array_equal(out[10:], out[:10])


@pytest.mark.parametrize(
    "images, size", [([], (1, 1)), ([picture(3, 3, 1)], (4, 2)), ([picture(3, 3)], (1, 1)),
                     ([picture(3, 3, 1), picture(4, 3, 1)], (2, 2))],
)  # fmt: skip
def test_what_cannot_be_cropped_is_refused(images, size):
    with pytest.raises(ValueError, match="crop"):
        io.oversample(images, size)


# -- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "bmp", "ppm", "tif"])
def test_colours_are_read_in_the_unit_range(tmp_path, ending):
    pixels = (picture(4, 5, 3) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
    out = io.load_image(tmp_path / f"a.{ending}")
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, pixels / 255, atol=1e-7)
    grey = io.load_image(str(tmp_path / f"a.{ending}"), color=False)
    assert grey.shape == (4, 5, 1)
    np.testing.assert_allclose(grey[..., 0], out @ [0.2125, 0.7154, 0.0721], atol=1e-6)


def test_grey_pictures_get_three_equal_channels(tmp_path):
    Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save(tmp_path / "a.png")
    out = io.load_image(tmp_path / "a.png")
    assert out.shape == (2, 3, 3) and (out == out[..., :1]).all()
    assert io.load_image(tmp_path / "a.png", False)[1, 2, 0] == np.float32(5 / 255)


def test_alpha_is_left_out_of_colours_and_white_under_grey(tmp_path):
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 1] = 10, 20, 30, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_allclose(io.load_image(tmp_path / "a.png")[0, 0], 0)
    assert io.load_image(tmp_path / "a.png", False)[0, 0, 0] == pytest.approx(1)


def test_sixteen_bits_are_of_65535(tmp_path):
    Image.fromarray(np.array([[0, 65535, 32768]], np.uint16)).save(tmp_path / "a.png")
    out = io.load_image(tmp_path / "a.png", False)[0, :, 0]
    np.testing.assert_allclose(out, [0, 1, 32768 / 65535], atol=1e-7)


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert io.load_image(tmp_path / "a.jpg").shape == (8, 4, 3)


def test_broken_and_missing_pictures_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray((picture(40, 40, 3) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    for name in ("text.png", "half.png", "missing.png"):
        with pytest.raises(InputError, match=name) as error:
            io.load_image(tmp_path / name)
        assert "\n" not in str(error.value)


# -- messages -----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), max_size=5), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_arrays_go_through_blobs_unchanged(shape, seed):
    array, diff = picture(*shape, seed=seed), picture(*shape, seed=seed + 1)
    blob = io.array_to_blobproto(array, diff)
    np.testing.assert_array_equal(io.blobproto_to_array(blob), array)
    np.testing.assert_array_equal(io.blobproto_to_array(blob, return_diff=True), diff)
    packed = io.arraylist_to_blobprotovector_str([array, diff])
    back = io.blobprotovector_str_to_arraylist(packed)
    np.testing.assert_array_equal(back[0], array)
    np.testing.assert_array_equal(back[1], diff)


def test_blobs_of_doubles_and_of_four_numbers_are_read():
    blob = caffe.proto.caffe_pb2.BlobProto(double_data=[1, 2])
    blob.shape.dim.extend([2, 1])
    assert io.blobproto_to_array(blob).tolist() == [[1], [2]]
    blob = caffe.proto.caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    assert io.blobproto_to_array(blob).shape == (1, 2, 1, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_arrays_go_through_datums_unchanged(dtype):
    array = np.arange(12).reshape(2, 3, 2).astype(dtype)
    datum = io.array_to_datum(array, 5)
    assert datum.label == 5 and bool(datum.data) == (dtype == np.uint8)
    back = io.datum_to_array(datum)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == (np.uint8 if dtype == np.uint8 else np.float64)


def test_messages_that_disagree_with_themselves_are_refused():
    blob = caffe.proto.caffe_pb2.BlobProto(data=[1, 2, 3])
    blob.shape.dim.append(2)
    with pytest.raises(ValueError, match="3 values"):
        io.blobproto_to_array(blob)
    with pytest.raises(ValueError, match="diff of shape"):
        io.array_to_blobproto(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="no BlobProtoVector"):
        io.blobprotovector_str_to_arraylist(b"zz")
    with pytest.raises(ValueError, match="channels, height, width"):
        io.array_to_datum(np.ones((2, 3)))
    datum = caffe.proto.caffe_pb2.Datum(channels=1, height=1, width=1, data=b"x", encoded=True)
    with pytest.raises(ValueError, match="encoded"):
        io.datum_to_array(datum)


# -- Transformer --------------------------------------------------------------------------------


def transformer(mean=None, shape=(2, 3, 4, 5)):
    one = io.Transformer({"data": shape})
    one.set_transpose("data", (2, 0, 1))
    one.set_channel_swap("data", (2, 1, 0))
    one.set_raw_scale("data", 255)
    one.set_input_scale("data", 0.5)
    if mean is not None:
        one.set_mean("data", mean)
    return one


def test_preprocess_is_the_documented_formula():
    image, mean = picture(4, 5, 3), np.array([1.0, 2, 3])
    out = transformer(mean).preprocess("data", image)
    wanted = (image.transpose(2, 0, 1)[::-1] * 255 - mean[:, None, None]) * 0.5
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, wanted, rtol=1e-6)


@pytest.mark.parametrize("mean", [None, picture(3), picture(3, 4, 5), picture(4, 5)])
def test_deprocess_undoes_preprocess(mean):
    one, image = transformer(mean), picture(4, 5, 3)
    np.testing.assert_allclose(
        one.deprocess("data", one.preprocess("data", image)[None]), image, atol=1e-6
    )


def test_a_picture_of_one_channel_comes_back():
    one = io.Transformer({"data": (1, 1, 4, 5)})
    one.set_transpose("data", (2, 0, 1))
    image = picture(4, 5, 1)
    assert (one.deprocess("data", one.preprocess("data", image)) == image).all()


def test_the_callers_picture_is_left_alone():
    image = picture(4, 5, 3)
    before = image.copy()
    transformer(np.ones(3)).preprocess("data", image)
    assert (image == before).all()


def test_pictures_and_means_of_other_sizes_are_resized():
    one = transformer(picture(3, 8, 10))
    assert one.mean["data"].shape == (3, 4, 5)
    assert one.preprocess("data", picture(9, 9, 3)).shape == (3, 4, 5)


@pytest.mark.parametrize(
    "setting, value, words",
    [
        ("transpose", (2, 0), "transpose"),
        ("transpose", (0, 1, 7), "transpose"),
        ("channel_swap", (1, 0), "channel swap"),
        ("mean", np.ones(2), "2 channels"),
        ("mean", np.ones((2, 4, 5)), "2 channels"),
        ("mean", np.ones((1, 3, 4, 5)), "give 1, 2 or 3 axes"),
        ("mean", 5.0, "give 1, 2 or 3 axes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting, value, words):
    one = io.Transformer({"data": (2, 3, 4, 5)})
    with pytest.raises(ValueError, match=words):
        getattr(one, "set_" + setting)("data", value)


def test_a_channel_that_the_picture_has_not_is_refused():
    one = io.Transformer({"data": (2, 3, 4, 5)})
    one.set_transpose("data", (2, 0, 1))
    one.set_channel_swap("data", (0, 1, 3))
    assert one.preprocess("data", picture(4, 5, 4)).shape == (3, 4, 5)
    with pytest.raises(ValueError, match="channel swap .* of 3 channels"):
        one.preprocess("data", picture(4, 5, 3))


def test_unknown_inputs_are_refused():
    one = io.Transformer({"data": (2, 3, 4, 5)})
    for call in (one.set_raw_scale, one.preprocess, one.deprocess, one.set_transpose):
        with pytest.raises(ValueError, match="'dta' is not one of the inputs data"):
            call("dta", 1)


def test_scripts_that_skip_what_cannot_be_read_catch_an_oserror(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    for name in ("a.jpg", "gone.jpg"):
        with pytest.raises(OSError, match=name) as error:
            io.load_image(tmp_path / name)
        assert error.value.exit_code == 2
