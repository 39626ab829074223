"""A long training in which each picture has another size than all before, with scores and snapshots
between: how much memory it takes, and whether that grows.

    python -m tests.soak.sizes --minutes 120

solve.py trains a small net of the paper's form (dilated convolution, a skip, deconvolutions) on
`ever_new.py`, scores the pictures of `tests/helpers/tiny_run.py` every 500 iterations and writes
a snapshot every 100. At its end it is stopped by SIGTERM. The exit code is 1 if it ended otherwise,
or if the median of its memory in the last quarter is more than GROWTH times that of the
second.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers import tiny_run

GROWTH = 1.1

DATA = """\
layer { name: "data" type: "Python" top: "data" top: "label" python_param {
  module: "tests.soak.ever_new" layer: "EverNew" } }
"""
BODY = """\
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
  num_output: 8 kernel_size: 3 pad: 20 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {
  pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param {
  num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param {
  pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc6" type: "Convolution" bottom: "pool2" top: "fc6" convolution_param {
  num_output: 32 kernel_size: 3 dilation: 3 pad: 3 weight_filler { type: "msra" } } }
layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" }
layer { name: "score_fr" type: "Convolution" bottom: "fc6" top: "score_fr" convolution_param {
  num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "upscore2" type: "Deconvolution" bottom: "score_fr" top: "upscore2"
  param { lr_mult: 0 } convolution_param { num_output: 3 kernel_size: 4 stride: 2 bias_term: false
  weight_filler { type: "bilinear" } group: 3 } }
layer { name: "score_pool1" type: "Convolution" bottom: "pool1" top: "score_pool1"
  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "upscore2c" type: "Crop" bottom: "upscore2" bottom: "score_pool1"
  top: "upscore2c" crop_param { axis: 2 offset: 1 } }
layer { name: "fuse" type: "Eltwise" bottom: "upscore2c" bottom: "score_pool1" top: "fuse" }
layer { name: "upscore" type: "Deconvolution" bottom: "fuse" top: "upscore" param { lr_mult: 0 }
  convolution_param { num_output: 3 kernel_size: 4 stride: 2 bias_term: false
  weight_filler { type: "bilinear" } group: 3 } }
layer { name: "score" type: "Crop" bottom: "upscore" bottom: "data" top: "score" crop_param {
  axis: 2 offset: 19 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalize: true } }
"""
SETTINGS = ("snapshot=100", "display=500", "max_iter=2000000000", "base_lr=1e-3")


def prepare(folder):
    """Lay out the training in `folder`, with weights that it starts from."""
    import caffe

    tiny_run.lay_out(folder)
    (folder / "train.prototxt").write_text(DATA + BODY)
    (folder / "val.prototxt").write_text(tiny_run.data_layer("val") + BODY)
    (folder / "out").mkdir(exist_ok=True)
    caffe.set_mode_cpu()
    deploy = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 "
    deploy += "dim: 64 dim: 64 } } } layer { name: 'label' type: 'Input' top: 'label' "
    deploy += "input_param { shape { dim: 1 dim: 1 dim: 64 dim: 64 } } }\n" + BODY
    (folder / "start.prototxt").write_text(deploy)
    caffe.Net(str(folder / "start.prototxt"), caffe.TRAIN).save(str(folder / "init.caffemodel"))


def memory(process):
    """(Resident memory now, MB; its peak, MB)."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return tuple(int(lines[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))


def watch(process, folder, seconds):
    """Print the memory twenty times; returns it, as far as the training got."""
    begun, seen = time.monotonic(), []
    print(f"{'minutes':>8}  {'iteration':>9}  {'memory, MB':>10}  {'peak, MB':>8}", flush=True)
    for part in range(1, 21):
        while time.monotonic() < begun + seconds * part / 20:
            if process.poll() is not None:
                return seen
            time.sleep(0.1)
        now, peak = memory(process)
        iteration = max(tiny_run.snapshots(folder), default=0)
        minutes = seconds * part / 20 / 60
        print(f"{minutes:8.1f}  {iteration:9d}  {now:10.1f}  {peak:8.1f}", flush=True)
        seen.append(now)
    return seen


def problem_of(code, seen):
    """What is wrong with a training that ended with `code`; None: nothing."""
    if len(seen) < 20:
        return f"the training ended by itself, with exit code {code}"
    if code != 128 + signal.SIGTERM:
        return f"exit code {code} after SIGTERM"
    second, last = statistics.median(seen[5:10]), statistics.median(seen[15:])
    return f"memory grew from {second:.1f} to {last:.1f} MB" if last > GROWTH * second else None


def run(folder, seconds):
    """Train in `folder` for so long; returns what was wrong, or None."""
    prepare(folder)
    words = ["--weights", "init.caffemodel", "--cpu", "--score-every", "500", "--log", "log"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    with open(folder / "said", "w") as said:
        process = subprocess.Popen(
            [sys.executable, str(tiny_run.ROOT / "solvers/solve.py"), "--solver",
             "solver.prototxt", *words],
            cwd=folder, env=tiny_run.environment(), stdout=said, stderr=said,
        )  # fmt: skip
        try:
            seen = watch(process, folder, seconds)
            process.terminate()
            return problem_of(process.wait(60), seen)
        finally:
            process.kill()


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.sizes", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=120)
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="sizes-"))
    problem = run(folder, args.minutes * 60)
    print(f"{problem} (see {folder})" if problem else "memory did not grow")
    if problem is None:
        shutil.rmtree(folder)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
