"""Stage `check`: a tiny net trained on the GPU and on the CPU."""

from __future__ import annotations

import os

from prototxt.tasks import VOID
from tools.common.cli import Failure, use_device
from tools.common.tables import table

TITLE = "Check: a tiny net on the GPU and on the CPU"
ITERATIONS = 10
LIMIT = 1e-4
WORDS = f"""
The same tiny net, weights and data, {ITERATIONS} iterations on the GPU and on the CPU in float32:
convolution, ReLU, max pooling, deconvolution, crop, softmax loss with void pixels. A parameter's
deviation is the largest difference between the two sides, divided by the most that training has
moved any of its numbers on the CPU. Other rounding gives about 1e-6 (inputs off by 1e-5 of
themselves: 4e-6), factors rounded to TF32's 10 bits 1e-2; the limit is {LIMIT:g}.
"""
SEED = 18
"""Of 1 to 30 the one whose ReLUs and maxima choose most clearly: rounding must not choose."""
SIZE = (24, 30)
CLASSES = 4

NET = f"""
name: "tiny"
layer {{ name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: 2 dim: 3 dim: {SIZE[0]} dim: {SIZE[1]} }} }} }}
layer {{ name: "label" type: "Input" top: "label"
  input_param {{ shape {{ dim: 2 dim: 1 dim: {SIZE[0]} dim: {SIZE[1]} }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param {{ lr_mult: 1 decay_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: 16 kernel_size: 3 pad: 9 }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param {{ num_output: 24 kernel_size: 3 dilation: 2 }} }}
layer {{ name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }}
layer {{ name: "score" type: "Convolution" bottom: "conv2" top: "score"
  convolution_param {{ num_output: {CLASSES} kernel_size: 1 }} }}
layer {{ name: "upscore" type: "Deconvolution" bottom: "score" top: "upscore"
  convolution_param {{ num_output: {CLASSES} kernel_size: 4 stride: 2 }} }}
layer {{ name: "crop" type: "Crop" bottom: "upscore" bottom: "data" top: "crop"
  crop_param {{ axis: 2 offset: 4 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "crop" bottom: "label" top: "loss"
  loss_param {{ ignore_label: {VOID} normalize: true }} }}
"""

SOLVER = (
    'train_net: "%s" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 '
    "snapshot_after_train: false random_seed: %d"
)


def inputs():
    """(pictures, labels): the label is where which channel is largest, with void rows."""
    import numpy as np

    stream = np.random.RandomState(SEED)
    pictures = stream.standard_normal((2, 3, *SIZE)).astype(np.float32)
    labels = pictures.argmax(1)[:, None].astype(np.float32)
    labels[:, :, :2] = VOID
    return pictures, labels


def train(folder, gpu):
    """({parameter: (before, after)}, [losses]) of the tiny net trained on one side."""
    import caffe

    net, solver = (os.path.join(folder, name) for name in ("net.prototxt", "solver.prototxt"))
    for path, text in ((net, NET), (solver, SOLVER % (net, SEED))):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    use_device(gpu)
    try:
        made = caffe.get_solver(solver)
        pictures, labels = inputs()
        # The same numbers for both sides, whatever a filler drew before.
        fill(made.net)
        made.net.blobs["data"].data[...] = pictures
        made.net.blobs["label"].data[...] = labels
        before, losses = parameters(made.net), []
        for _ in range(ITERATIONS):
            made.step(1)
            losses.append(float(made.net.blobs["loss"].data))
        after = parameters(made.net)
    finally:
        use_device(None)
    return {name: (before[name], after[name]) for name in before}, losses


def fill(net):
    """Fill the weights as msra does, the biases with 0.1."""
    import numpy as np

    stream = np.random.RandomState(SEED)
    for weight, *bias in net.params.values():
        scale = (2 / weight.data[0].size) ** 0.5
        weight.data[...] = scale * stream.standard_normal(weight.data.shape)
        for blob in bias:
            blob.data[...] = 0.1


def parameters(net):
    return {
        f"{name}[{i}]": blob.data.copy()
        for name, blobs in net.params.items()
        for i, blob in enumerate(blobs)
    }


def deviation(expected, got):
    """The largest difference of (before, after) pairs' after, by the largest change expected."""
    import numpy as np

    before, after = (np.asarray(part, np.float64) for part in expected)
    changed = np.abs(after - before).max()
    difference = np.abs(np.asarray(got[1], np.float64) - after).max()
    if difference == 0 and changed > 0:
        return 0.0
    return float(difference / changed) if changed > 0 else float("inf")


def run(job):
    if job.gpu is None:
        job.say("no GPU: both sides on the CPU")
    expected, losses = train(job.folder, None)
    job.say(f"CPU: loss {losses[0]:.4g} to {losses[-1]:.4g}")
    got, gpu_losses = train(job.folder, job.gpu)
    sides = f"GPU {job.gpu} and CPU"
    if job.gpu is None:
        sides = "both the CPU, which shows only that the check runs"
    job.result("losses", sides=sides, cpu=losses, other=gpu_losses)
    worst = 0.0
    for name in expected:
        found = deviation(expected[name], got[name])
        job.result("parameter", name=name, shape=expected[name][1].shape, deviation=found)
        worst = max(worst, found) if found == found else float("inf")
    if not worst <= LIMIT:
        raise Failure(f"a parameter deviates by {worst:.1e}; the limit is {LIMIT:g}")


def main_figure(results):
    """The worst deviation, in words."""
    found = [r for r in results if r["kind"] == "parameter"]
    if not found:
        return None
    return f"parameters deviate by {max(r['deviation'] for r in found):.1e} at most"


def markdown(results):
    lines = []
    for result in results:
        if result["kind"] == "losses":
            ends = [f"{side}: {result[key][0]:.6g} → {result[key][-1]:.6g}"
                    for side, key in (("CPU", "cpu"), ("the other side", "other"))]  # fmt: skip
            lines += [f"Sides: {result['sides']}. Loss, {'; '.join(ends)}.", ""]
    rows = [
        [r["name"], "×".join(map(str, r["shape"])), f"{r['deviation']:.1e}", f"{LIMIT:g}",
         "yes" if r["deviation"] <= LIMIT else "**no**"]
        for r in results if r["kind"] == "parameter"
    ]  # fmt: skip
    if rows:
        lines += table(["parameter", "shape", "deviation", "limit", "within"], rows, True)
    return "\n".join(lines)
