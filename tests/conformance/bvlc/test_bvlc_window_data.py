"""WindowData: every value of every batch is BVLC Caffe's, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conformance import both
from tests.conformance.data_nets import agree, files, layer, refuse


def window_layer(tmp_path, window, more="", transform="crop_size: 9", size=(40, 50), fg=1):
    """Of one foreground and one background window: what is drawn at random is the same."""
    files.write_pictures(tmp_path, [files.pixels(0, *size), files.pixels(1, *size)])
    pictures = [
        (tmp_path / "0.png", size, [(5, 0.7, *window)]),
        (tmp_path / "1.png", size, [(3, 0.2, *window)]),
    ]
    source = files.write_windows(tmp_path / "windows.txt", pictures)
    return layer(
        "WindowData",
        f'window_data_param {{ source: "{source}" batch_size: 4 {more} }} '
        f"transform_param {{ {transform} }}",
    )


WINDOWS = {
    "inside": (10, 12, 30, 29),
    "wide": (2, 20, 47, 25),
    "tall": (20, 1, 24, 38),
    "at the corner": (0, 0, 15, 9),
    "at the far corner": (30, 21, 49, 39),
    "one pixel": (7, 8, 7, 8),
    "all": (0, 0, 49, 39),
}


@pytest.mark.parametrize("mode", ["warp", "square"])
@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_agrees(tmp_path, window, pad, mode):
    more = f'context_pad: {pad} crop_mode: "{mode}"'
    agree(f"WindowData, {mode}", window_layer(tmp_path, WINDOWS[window], more), times=1)


def test_random_windows_agree(tmp_path):
    stream = np.random.RandomState(3)
    for i in range(25):
        x, y = np.sort(stream.randint(0, 50, 2)), np.sort(stream.randint(0, 40, 2))
        crop = stream.randint(3, 60)
        more = f"context_pad: {stream.randint(0, (crop + 1) // 2)} "
        more += 'crop_mode: "square"' if i % 2 else ""
        (tmp_path / str(i)).mkdir()
        text = window_layer(tmp_path / str(i), (x[0], y[0], x[1], y[1]), more, f"crop_size: {crop}")
        agree("WindowData, random", text, times=1)


@pytest.mark.parametrize("fraction", [0, 0.25, 0.3, 0.5, 1])
def test_the_share_of_the_foreground_agrees(tmp_path, fraction):
    agree(
        "WindowData, fg_fraction",
        window_layer(tmp_path, WINDOWS["inside"], f"fg_fraction: {fraction}"),
    )


@pytest.mark.parametrize("pad", [0, 2])
@pytest.mark.parametrize("mean", ["value", "values", "file"])
def test_a_windows_mean_and_scale_agree(tmp_path, mean, pad):
    transform = {"value": "mean_value: 9.5", "values": "mean_value: 9 mean_value: 5 mean_value: 1"}
    if mean == "file":
        array = np.random.RandomState(2).uniform(0, 255, (3, 14, 12)).astype(np.float32)
        name = files.write_mean(tmp_path / "mean.binaryproto", array)
        transform["file"] = f'mean_file: "{name}"'
    text = window_layer(
        tmp_path,
        WINDOWS["at the corner"],
        f"scale: 0.3 context_pad: {pad}",
        "crop_size: 9 " + transform[mean],
    )
    agree("WindowData, mean", text, times=1)


def test_a_mirrored_window_is_one_of_two_in_both(tmp_path):
    text = window_layer(
        tmp_path, WINDOWS["at the corner"], "context_pad: 2", "crop_size: 9 mirror: true"
    ).replace("batch_size: 4", "batch_size: 40 fg_fraction: 1")
    seen = [
        {
            one.tobytes()
            for one in both.run(side, "batches", {"prototxt": text, "times": 1})["0 data"]
        }
        for side in both.SIDES
    ]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2


def test_cached_pictures_agree(tmp_path):
    agree("WindowData, cached", window_layer(tmp_path, WINDOWS["inside"], "cache_images: true"))


@pytest.mark.parametrize("more", ["fg_threshold: 0.9", "bg_threshold: 0.1"])
def test_both_refuse_windows_of_one_kind(tmp_path, more):
    refuse(window_layer(tmp_path, WINDOWS["inside"], more))
