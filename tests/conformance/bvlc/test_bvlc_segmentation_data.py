"""The toolkit's data layers under BVLC Caffe, and photographs beside BVLC Caffe's own ImageData."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.conformance import both
from tests.conformance.data_nets import files, layer
from tests.helpers.layouts import write_palette


def save(folder, ending, orientation=1, mode="RGB", **more):
    """A photograph in VOC's layout, with a label of its upright size; its path."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(files.scene(0, 32, 48))
    path = folder / "JPEGImages" / f"a{ending}"
    made = image.convert(mode) if mode != "P" else image.quantize(8)
    made.save(path, **({"exif": exif} if orientation != 1 else {}), **more)
    size = (48, 32) if orientation > 4 else (32, 48)
    write_palette(folder / "SegmentationClass/a.png", np.zeros(size, np.uint8))
    (folder / "ImageSets/Segmentation/val.txt").write_text("a\n")
    return path


def read(side, folder, times=None, **more):
    """What the VOC layer's top holds on one side, without a mean; of `times` forwards a list."""
    given = {"voc_dir": str(folder), "split": "val", "mean": [0, 0, 0], **more}
    params = json.dumps(given)
    quoted = params.replace('"', '\\"')
    python = f'module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{quoted}"'
    text = layer("Python", f"python_param {{ {python} }}")
    found = both.run(side, "batches", {"prototxt": text, "times": times or 1})
    return [found[f"{i} data"] for i in range(times)] if times else found["0 data"]


def image_data(path):
    """What BVLC Caffe's ImageData reads."""
    source = path.parent / "list.txt"
    source.write_text(f"{path} 0\n")
    text = layer("ImageData", f'image_data_param {{ source: "{source}" batch_size: 1 }}')
    return both.run("bvlc", "batches", {"prototxt": text, "times": 1})["0 data"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_read_as_image_data_reads_it(tmp_path, orientation):
    path = save(tmp_path / "voc", ".jpg", orientation, quality=95)
    theirs = image_data(path)
    for side in both.SIDES:
        got = read(side, tmp_path / "voc")
        assert got.shape == theirs.shape
        np.testing.assert_allclose(got, theirs, atol=6)  # decoders differ by a few grey levels


@pytest.mark.parametrize(
    "ending, mode, more",
    [
        (".PNG", "RGB", {}),
        (".png", "P", {}),
        (".png", "P", {"transparency": 1}),
        (".png", "RGBA", {}),
        (".png", "L", {}),
        (".png", "LA", {}),
        (".bmp", "RGB", {}),
        (".TIF", "RGB", {}),
        (".ppm", "RGB", {}),
        (".pgm", "L", {}),
    ],
)
def test_every_kind_of_photograph_is_read_as_image_data_reads_it(tmp_path, ending, mode, more):
    path = save(tmp_path / "voc", ending, mode=mode, **more)
    theirs = image_data(path)
    for side in both.SIDES:
        np.testing.assert_array_equal(read(side, tmp_path / "voc"), theirs)


@pytest.mark.parametrize(
    "keys",
    [{"scale": [0.5, 2.0]}, {"crop": [20, 60]}, {"jitter": 0.5}, {"mirror": True},
     {"scale": [0.5, 2.0], "crop": 40, "jitter": 0.5, "mirror": True, "batch": 3}],
    ids=["scale", "crop", "jitter", "mirror", "all, in batches"],
)  # fmt: skip
def test_training_items_undergo_the_same_under_bvlc_caffe(tmp_path, keys):
    save(tmp_path / "voc", ".png")
    lists = tmp_path / "voc/ImageSets/Segmentation"
    (lists / "train.txt").write_text("a\n")
    given = {"times": 4, "split": "train", "seed": 5, **keys}
    theirs, ours = (read(side, tmp_path / "voc", **given) for side in both.SIDES)
    for one, other in zip(theirs, ours):
        np.testing.assert_array_equal(one, other)
