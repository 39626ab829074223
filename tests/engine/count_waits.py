"""What training, scoring and snapshots make the host wait for, on an emulated GPU.

    PYTHONPATH=.:engine:data_layers:tests/engine python tests/engine/count_waits.py

A narrow net on pictures of VOC's size, lean as `solve.py` and `score.py` run it: labels, images and
scores of 21 classes have the bytes of real ones. Prints a table: waits, and bytes that the waits
and the copies without a wait move, per training iteration, displayed iteration (of the 20 losses
that it shows the mean of), scored image and snapshot.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile

import numpy as np
from emulated_gpu import copies, emulated_gpus, waits
from PIL import Image

import caffe
from solvers import solve
from tools import score
from tools.cli import Progress
from tools.nets import lean

SIZE, CLASSES = (500, 375), 21
NET = """
layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{
  module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{param}" }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
  num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param {{
  num_output: 21 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param {{ ignore_label: 255 normalize: false }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy"
  accuracy_param {{ ignore_label: 255 }} }}
"""
SOLVER = """
train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 3 test_interval: 1000
test_initialization: false base_lr: 1e-9 lr_policy: "fixed" momentum: 0.99 weight_decay: 0.0005
average_loss: 20 snapshot_prefix: "s" random_seed: 1 display: {display}
"""


def pictures(folder, count=3):
    """Photographs of noise and labels in VOC's layout."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        os.makedirs(os.path.join(folder, part))
    stream = np.random.RandomState(0)
    names = [f"p{i}" for i in range(count)]
    for name in names:
        pixels = stream.randint(0, 256, (*SIZE[::-1], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(os.path.join(folder, "JPEGImages", f"{name}.jpg"))
        label = Image.fromarray(stream.randint(0, CLASSES, SIZE[::-1]).astype(np.uint8))
        label.save(os.path.join(folder, "SegmentationClass", f"{name}.png"))
    with open(os.path.join(folder, "ImageSets/Segmentation/val.txt"), "w") as file:
        file.write("\n".join(names))
    return names


def solver(display=0):
    """A solver on the pictures in `voc`, watched as solve.py does it; the folder is the current."""
    param = {"voc_dir": "voc", "split": "val", "mean": (104.0, 117.0, 123.0), "prefetch": 0}
    with open("net.prototxt", "w") as file:
        file.write(NET.format(param=param))
    with open("solver.prototxt", "w") as file:
        file.write(SOLVER.format(display=display))
    made = caffe.get_solver("solver.prototxt")
    solve.watch(made, Progress(100, "training", "iterations", enabled=False))
    return made


def counted(times, work):
    """(waits, their bytes, bytes copied without a wait) of `work()`, per one of `times`."""
    waits.clear()
    copies.clear()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    found = len(waits), sum(w.bytes for w in waits), sum(c.bytes for c in copies)
    return tuple(number / times for number in found)


def measure(names):
    """{what: (waits, their bytes, bytes copied without a wait)}, in a folder with `voc`."""
    found = {}
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        lean()
        made, shown = solver(), solver(display=20)
        made.step(3)
        shown.step(20)
        found["training iteration"] = counted(5, lambda: made.step(5))
        shown._restored_losses = True  # as within one step(n): the losses of the 19 before stay
        found["displayed iteration"] = counted(1, lambda: shown.step(1))
        found["snapshot"] = counted(1, made.snapshot)
        found["iteration after a snapshot"] = counted(1, lambda: made.step(1))
        score.seg_tests(made, "", names)
        found["scored image"] = counted(len(names), lambda: score.seg_tests(made, "", names))
        found["iteration after scoring"] = counted(1, lambda: made.step(1))
        made._test_all()
        found["batch of a test"] = counted(3, made._test_all)
        caffe.set_mode_cpu()
        caffe.engine.set_lean(False)
    return found


def main():
    os.environ.setdefault("GLOG_minloglevel", "3")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = measure(pictures("voc"))
        os.chdir("/")
    print(f"{'':28}{'waits':>8}{'kB waited for':>16}{'kB without a wait':>20}")
    for what, (number, waited, free) in found.items():
        print(f"{what:28}{number:8.1f}{waited / 1000:16.1f}{free / 1000:20.1f}")


if __name__ == "__main__":
    main()
