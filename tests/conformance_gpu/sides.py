"""One scenario on the CPU and on a GPU, real or emulated, and how far the results agree."""

from __future__ import annotations

import contextlib
import os
from unittest import mock

import numpy as np
from both import relative_error
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
    assert list(expected) == list(got)
    wrong = []
    for name, value in expected.items():
        other = got[name]
        if not isinstance(value, np.ndarray):
            assert value == other, name
            continue
        assert value.shape == other.shape, name
        error = relative_error(value, other, floor)
        most = limit(name) if callable(limit) else limit
        if not error <= most:
            wrong.append(f"{name} {value.shape}: relative error {error:.2e} > {most:.0e}")
    assert not wrong, "\n".join(["GPU and CPU differ", *wrong[:30]])
