"""One scenario on the CPU and on a GPU, real or emulated, and how far the results agree."""

from __future__ import annotations

import contextlib
import os
from unittest import mock

from both import compare
from emulated_gpu import emulated_gpus

import caffe

WANTED = os.environ.get("CONFORMANCE_GPU", "")
REAL = WANTED == "real"
WHOLE = WANTED in ("real", "emulated")
"""Whether all of it is run; else few cases, to see that the code runs."""


@contextlib.contextmanager
def gpu():
    """Context in which the engine runs on the GPU."""
    with contextlib.nullcontext() if REAL else emulated_gpus(1):
        caffe.set_device(0)
        caffe.set_mode_gpu()
        # Scenarios choose the CPU at their start; here the mode is not theirs to choose.
        with mock.patch.object(caffe, "set_mode_cpu"):
            yield
    caffe.set_mode_cpu()


def on_cpu_and_gpu(function):
    """What `function()` gives on the CPU, and on the GPU, from the same seed."""
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    expected = function()
    with gpu():
        caffe.set_random_seed(1)
        got = function()
    return expected, got


def assert_agree(expected: dict, got: dict, limit, floor: float = 0.0) -> None:
    """Names, shapes and plain values are equal; arrays agree within `limit` (a number, or a
    function of the name) of their largest value, or of `floor` where that is larger."""
    compare(expected, got, limit, floor, names=("the CPU", "the GPU"))
