"""A net of a user's TOML, under every solver that a TOML can name: both sides learn the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

import caffe
from caffe.proto import caffe_pb2
from prototxt import generate, schedules
from surgery.bilinear import interp
from surgery.fillers import msra
from tests.helpers.layouts import write_palette
from tools.benchmark.nets import narrow

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")

ROOT = Path(__file__).parents[3]
SHRINK = 32
"""The net's channels are divided by it, but for the scores'."""
TOML = """
name = "two"
classes = ["left", "right"]
[data]
root = "{folder}/two"
mirror = true
crop = [40, 48]
batch = 2
[training]
type = "{kind}"
base_lr = {rate}
iterations = 3
lr_policy = "poly"
power = 0.9
random_seed = 1
loss_normalize = true
balance = [0.5, 2]
freeze = ["conv1"]
fc_outputs = 512
fc_filler = {{ type = "gaussian", std = 0.1 }}
score_filler = {{ type = "gaussian", std = 0.1 }}
dropout = 0.0
score_lr_mult = 4
skip_scales = [0.25, 0.1, 0.04, 0.02]
"""
RATES = {"SGD": 1e-4, "Nesterov": 1e-4, "AdaDelta": 1.0}
"""The other types move every number by as much, whatever its gradient."""
TRAIN = """
import json, sys
import caffe
import numpy as np
solver = caffe.get_solver("solver.prototxt")
solver.net.copy_from("init.caffemodel")
losses = []
for _ in range(3):
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
layers = solver.net.params.items()
np.savez(sys.argv[1], losses=losses, **{
    "%s %d" % (name, i): blob.data for name, blobs in layers for i, blob in enumerate(blobs)})
"""


@pytest.fixture
def folder(tmp_path):
    """Four pictures of two classes, and the script that trains."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / "two" / name).mkdir(parents=True)
    draw = np.random.RandomState(0)
    for name in "abcd":
        label = np.repeat([[0, 1, 255]], 48, axis=0).repeat([30, 25, 5], axis=1).astype(np.uint8)
        image = draw.randint(0, 256, (48, 60, 3)) // 2 + 100 * (label == 1)[..., None]
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / f"two/JPEGImages/{name}.png")
        write_palette(tmp_path / f"two/SegmentationClass/{name}.png", label)
    for split in ("train", "val"):
        (tmp_path / f"two/ImageSets/Segmentation/{split}.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def make(folder, kind):
    """Write the TOML's net, narrow, its solver and its weights; returns those by name."""
    toml = folder / "two.toml"
    toml.write_text(TOML.format(folder=folder, kind=kind, rate=RATES.get(kind, 1e-3)))
    made = generate.own_files(toml, ["dilated-fcn2s-vgg16"], out=str(folder))
    for path, content in made.items():
        if path.endswith("/train.prototxt"):
            net = text_format.Parse(content, caffe_pb2.NetParameter())
            content = text_format.MessageToString(narrow(net, SHRINK, 2))
        if path.endswith("/solver.prototxt"):
            solver = text_format.Parse(content, caffe_pb2.SolverParameter())
            for field in ("test_net", "test_iter", "test_interval", "test_initialization"):
                solver.ClearField(field)
            solver.train_net, solver.snapshot_prefix = "train.prototxt", "train"
            content = text_format.MessageToString(solver)
        data = content.encode() if isinstance(content, str) else content
        (folder / os.path.basename(path)).write_bytes(data)
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    net = caffe.Net(str(folder / "train.prototxt"), caffe.TRAIN)
    for name, blobs in net.params.items():
        if name.startswith("conv"):
            blobs[0].data[...] = msra(blobs[0].data.shape, 0, name)
    interp(net, [name for name in net.params if "up" in name])
    net.save(str(folder / "init.caffemodel"))
    return {f"{n} {i}": b.data.copy() for n, bs in net.params.items() for i, b in enumerate(bs)}


def train(folder, side):
    """What a side's three iterations end with: arrays by name, and the losses."""
    places = [ROOT, ROOT / "data_layers", *([ROOT / "engine"] if side == "engine" else [])]
    python = {"engine": [sys.executable], "bvlc": [str(ROOT / "tools/bvlc-caffe"), "python"]}[side]
    env = dict(os.environ, PYTHONPATH=":".join(map(str, places)), GLOG_minloglevel="2")
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [*python, "train.py", f"{side}.npz"], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / f"{side}.npz") as found:
        return dict(found)


@pytest.mark.parametrize("kind", schedules.SOLVERS)
def test_a_net_of_a_toml_learns_the_same_under_bvlc_caffe(folder, kind):
    before = make(folder, kind)
    ours, theirs = train(folder, "engine"), train(folder, "bvlc")
    losses = json.dumps([ours["losses"].tolist(), theirs["losses"].tolist()])
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-4, err_msg=losses)
    assert ours.keys() == theirs.keys()
    for name, start in before.items():
        moved = np.abs(theirs[name] - start).max()
        assert (moved > 0) == (not name.startswith(("conv1", "up", "scale"))), name
        # Where a gradient is near nothing, its sign is chance, and Adam moves by that.
        far = np.abs(ours[name] - theirs[name]) > 0.01 * moved + 1e-7
        assert far.mean() < 0.01, (name, far.mean(), moved)
