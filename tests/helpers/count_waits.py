"""What training, scoring and snapshots make the host wait for, on an emulated GPU.

    PYTHONPATH=.:engine:data_layers python -m tests.helpers.count_waits

A narrow net on pictures of VOC's size, lean as `solve.py` and `score.py` run it: labels, images and
scores of 21 classes have the bytes of real ones. Prints a table: waits, and bytes that the waits
and the copies without a wait move, per training iteration, displayed iteration (of the 20 losses
that it shows the mean of), scored image, snapshot and test.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile

import numpy as np
from PIL import Image

import caffe
from solvers import divergence
from tests.helpers.emulated_gpu import copies, emulated_gpus, waits
from tools import score
from tools.common.cli import Progress
from tools.common.nets import lean

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


def pictures(folder, size, count=3):
    """Photographs of noise and labels, of width and height `size`, in VOC's layout; their names."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        os.makedirs(os.path.join(folder, part))
    stream = np.random.RandomState(0)
    names = [f"p{i}" for i in range(count)]
    for name in names:
        pixels = stream.randint(0, 256, (*size[::-1], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(os.path.join(folder, "JPEGImages", f"{name}.jpg"))
        label = Image.fromarray(stream.randint(0, CLASSES, size[::-1]).astype(np.uint8))
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
    divergence.watch(made, made.param, Progress(100, "training", "iterations", enabled=False))
    return made


class Counted:
    """What was waited for and moved: waits, their bytes, bytes copied without a wait."""

    def __init__(self, waited, waited_bytes, free_bytes):
        self.waits, self.waited_bytes, self.free_bytes = waited, waited_bytes, free_bytes

    @classmethod
    def now(cls):
        return cls(len(waits), sum(w.bytes for w in waits), sum(c.bytes for c in copies))

    def since(self, before, times=1):
        pairs = zip(vars(self).values(), vars(before).values())
        return Counted(*((now - then) / times for now, then in pairs))


def of(work, times=1):
    """What `work()` waits for and moves, per one of `times`."""
    before = Counted.now()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return Counted.now().since(before, times)


def of_iteration(solver, number):
    """What iteration `number` from now on waits for and moves, among others of one `step`."""
    marks = []
    callback = (lambda: marks.append(Counted.now()), None)
    solver._callbacks.append(callback)
    solver.step(number + 2)
    solver._callbacks.remove(callback)
    return marks[number + 1].since(marks[number])


def measure(names):
    """{what: Counted}, of the pictures `names` in the current folder's `voc`."""
    found = {}
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        lean()
        try:
            made, shown = solver(), solver(display=20)
            found["training iteration"] = of_iteration(made, 3)
            found["displayed iteration"] = of_iteration(shown, 20)
            found["snapshot"] = of(made.snapshot)
            found["iteration after a snapshot"] = of_iteration(made, 0)
            seg_tests = functools.partial(score.seg_tests, made, "", names)
            of(seg_tests)
            found["scored image"] = of(seg_tests, len(names))
            found["iteration after scoring"] = of_iteration(made, 0)
            made._test_all()
            found["test of 3 batches"] = of(made._test_all)
        finally:
            caffe.set_mode_cpu()
            caffe.engine.set_lean(False)
    return found


def main():
    os.environ.setdefault("GLOG_minloglevel", "3")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = measure(pictures("voc", SIZE))
        os.chdir("/")
    print(f"{'':28}{'waits':>8}{'kB waited for':>16}{'kB without a wait':>20}")
    for what, counted in found.items():
        waited, free = counted.waited_bytes / 1000, counted.free_bytes / 1000
        print(f"{what:28}{counted.waits:8g}{waited:16.1f}{free:20.1f}")


if __name__ == "__main__":
    main()
