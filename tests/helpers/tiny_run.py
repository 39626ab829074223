"""A run that takes a second: pictures in VOC's layout, a small net with dropout, its solver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
MEAN = (104.00698793, 116.66876762, 122.67891434)
SOLVER = """\
train_net: "train.prototxt"
test_net: "val.prototxt"
test_iter: 1
test_interval: 999999999
test_initialization: false
base_lr: 1e-6
lr_policy: "fixed"
momentum: 0.9
weight_decay: 0.0005
max_iter: 12
display: 4
average_loss: 5
snapshot: 5
snapshot_prefix: "out/train"
random_seed: 7
"""


def data_layer(split):
    param = {"voc_dir": "voc", "split": split, "mean": MEAN, "classes": 3, "seed": 11}
    return f"""layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{
  module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{param}" }} }}
"""


NET = """\
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param {
  num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalize: false } }
"""


def lay_out(folder):
    """Write pictures, nets and solver; the weights need `save_init`."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / "voc" / part).mkdir(parents=True)
    stream = np.random.RandomState(0)
    names = [f"p{i}" for i in range(6)]
    for i, name in enumerate(names):
        size = (8 + i, 12 - i)
        pixels = stream.randint(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"voc/JPEGImages/{name}.jpg")
        label = Image.fromarray(stream.randint(0, 3, size).astype(np.uint8))
        label.save(folder / f"voc/SegmentationClass/{name}.png")
    for split, ids in (("train", names), ("val", names[:3])):
        text = "\n".join(ids) + "\n"
        (folder / f"voc/ImageSets/Segmentation/{split}.txt").write_text(text)
        net = data_layer(split) + NET
        (folder / f"{split}.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(SOLVER)


def save_init(folder):
    """Write init.caffemodel, the same each time, for what `lay_out` wrote."""
    import caffe

    caffe.set_mode_cpu()
    caffe.set_random_seed(5)
    here = os.getcwd()
    os.chdir(folder)
    try:
        caffe.Net("train.prototxt", caffe.TEST).save("init.caffemodel")
    finally:
        os.chdir(here)


def environment(**more):
    places = [ROOT / "engine", ROOT / "data_layers", ROOT]
    path = os.pathsep.join(str(place) for place in places)
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "GLOG_minloglevel": "2",
        **more,
    }


def start(folder, *args, **more):
    """Start solve.py in `folder`; returns the process."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "solvers/solve.py"), "--solver", "solver.prototxt", *args],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def solve(folder, *args, **more):
    """Run solve.py in `folder`; returns (exit code, its lines on stderr)."""
    process = start(folder, *args, **more)
    _, err = process.communicate(timeout=120)
    return process.returncode, err.splitlines()


def snapshots(folder):
    """Iterations of the solverstates that are there, sorted."""
    found = [re.search(r"_iter_(\d+)\.solverstate$", p.name) for p in folder.glob("out/*")]
    return sorted(int(match.group(1)) for match in found if match)


def wait_for_snapshot(process, folder, count=1):
    """Until `count` solverstates are there."""
    end = time.monotonic() + 60
    while len(snapshots(folder)) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "no snapshot within a minute"
        time.sleep(0.002)


def result(folder, iteration):
    """The bytes of the snapshot's weights and momentum."""
    return [
        (folder / f"out/train_iter_{iteration}.{kind}").read_bytes()
        for kind in ("caffemodel", "solverstate")
    ]
