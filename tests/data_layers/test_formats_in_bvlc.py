"""BVLC Caffe's own Python reads colours, annotations and bands to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers import found_data as made
from tests.helpers.bvlc import ROOT, python

IDS = ["a", "b", "c"]
MANNER = {"names": {"sky": 0, "road": 1, "car": 2}, "unlabelled": 1, "classes": 3}
KINDS = {
    "colours": {"colours": {0: [1, 2, 3], 1: [4, 5, 6], 2: [7, 8, 9], 255: [0, 0, 0]}},
    "labelme": {"annotations": "labelme", **MANNER},
    "coco": {"annotations": "coco.json", **MANNER},
    "cvat": {"annotations": "cvat.xml", **MANNER},
    "bands": {"image_dir": "bands", "channels": ["red", "blue", "nir", "green"],
              "mean": (1, 2, 3, 4), "pixel_scale": 0.5, "annotations": "labelme", **MANNER},
}  # fmt: skip

SCRIPT = """
import sys, numpy as np, caffe
caffe.set_mode_cpu()
for path in sys.argv[1:]:
    net = caffe.Net(path, caffe.TEST)
    for item in range(3):
        net.forward()
        for name in ("data", "label"):
            np.save("%s-%d-%s.npy" % (path, item, name), net.blobs[name].data)
"""


@pytest.fixture
def bvlc(tmp_path):
    """Runs BVLC Caffe's Python in tmp_path."""
    return python(tmp_path, str(ROOT / "data_layers"))


@pytest.fixture
def nets(tmp_path):
    """A net for each of KINDS, on one data set: {kind: its prototxt's name}."""
    colours = {n: c for n, c in KINDS["colours"]["colours"].items()}
    truths = {name: made.truth(seed) for seed, name in enumerate(IDS)}
    for seed, name in enumerate(IDS):
        made.photograph(tmp_path / "JPEGImages" / name, seed, ".png")
        made.mask(tmp_path / "SegmentationClass" / name, truths[name], colours, "P")
        made.labelme(tmp_path / "labelme" / name, truths[name])
        (tmp_path / "bands").mkdir(exist_ok=True)
        bands = np.random.RandomState(seed).randint(0, 256, (*made.SIZE, 4)).astype(np.uint8)
        Image.fromarray(bands).save(tmp_path / "bands" / f"{name}.png")
    made.coco(tmp_path / "coco.json", truths)
    made.cvat(tmp_path / "cvat.xml", truths)
    (tmp_path / "val.txt").write_text("".join(f"{name}\n" for name in IDS))
    common = {"voc_dir": ".", "split_dir": ".", "split": "val", "mean": (1, 2, 3)}
    for kind, more in KINDS.items():
        (tmp_path / f"{kind}.prototxt").write_text(
            'layer { name: "data" type: "Python" top: "data" top: "label" python_param {\n'
            '  module: "voc_layers" layer: "VOCSegDataLayer"\n'
            f"  param_str: {json.dumps(repr({**common, **more}))} }} }}\n"
        )
    return {kind: f"{kind}.prototxt" for kind in KINDS}


@pytest.mark.slow
def test_bvlc_caffe_reads_the_same_numbers(bvlc, nets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text(SCRIPT)
    bvlc("script.py", *nets.values())
    caffe.set_mode_cpu()
    for path in nets.values():
        net = caffe.Net(path, caffe.TEST)
        for item in range(3):
            net.forward()
            for name in ("data", "label"):
                np.testing.assert_array_equal(
                    net.blobs[name].data, np.load(f"{path}-{item}-{name}.npy"), path
                )
