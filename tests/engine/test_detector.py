from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.engine import InputError
from tests.helpers.net_texts import data, fill, ip

NET = data(4, 3, 8, 8) + ip("ip", "data", 5)


@pytest.fixture
def detector(make, tmp_path):
    def detector(**settings):
        net = make(NET)
        fill(net)
        net.save("w.caffemodel")
        pixels = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "scene.png")
        return caffe.Detector("net.prototxt", "w.caffemodel", **settings)

    return detector


def test_windows_are_what_the_net_sees(detector):
    net = detector(raw_scale=255)
    windows = [(0, 0, 10, 12), (4, 5, 20, 30), (3, 3, 5, 5), (1, 2, 9, 9), (0, 0, 20, 30)]
    found = net.detect_windows([("scene.png", windows[:2]), ("scene.png", windows[2:])])
    image = caffe.io.load_image("scene.png")
    assert [one["window"] for one in found] == windows
    assert {one["filename"] for one in found} == {"scene.png"}
    for one, (top, left, bottom, right) in zip(found, windows):
        crop = net.transformer.preprocess("data", image[top:bottom, left:right])
        wanted = net.forward_all(data=crop[None])["ip"][0]
        np.testing.assert_allclose(one["prediction"], wanted, rtol=1e-5, atol=1e-4)


def test_context_keeps_the_window_inside_its_border(detector):
    net = detector(context_pad=2)
    image = np.zeros((40, 40, 3), np.float32)
    image[12:28, 12:28] = 1  # the window: 16 pixels, which become the inner 4 of 8
    crop = net.crop(image, (12, 12, 28, 28))
    assert crop.shape == (8, 8, 3)
    assert (crop[3:5, 3:5] > 0.9).all() and (crop[[0, -1]] < 0.1).all()


def test_beyond_the_picture_there_is_the_mean(detector):
    mean = np.array([10.0, 20, 30])
    net = detector(context_pad=2, mean=mean, raw_scale=255, channel_swap=(2, 1, 0))
    crop = net.crop(np.ones((20, 30, 3), np.float32), (0, 0, 4, 5))
    np.testing.assert_allclose(crop[0, 0] * 255, mean[::-1], rtol=1e-6)
    np.testing.assert_allclose(crop[-1, -1], 1)


def test_no_windows_give_no_detections(detector):
    assert detector().detect_windows([("scene.png", [])]) == []


@pytest.mark.parametrize("window", [(5, 5, 5, 9), (0, 0, 3), (50, 50, 60, 60)])
@pytest.mark.parametrize("context", [None, 2])
def test_windows_without_pixels_are_refused(detector, window, context):
    if window == (5, 5, 5, 9) and context:
        pytest.skip("its surroundings are seen")
    with pytest.raises(ValueError, match="window"):
        detector(context_pad=context).detect_windows([("scene.png", [window])])


def test_a_border_that_leaves_nothing_is_refused(detector):
    with pytest.raises(ValueError, match="context_pad 4"):
        detector(context_pad=4)


def test_selective_search_is_refused_in_one_line(detector):
    with pytest.raises(InputError, match="MATLAB.*detect_windows") as error:
        detector().detect_selective_search(["scene.png"])
    assert "\n" not in str(error.value)
