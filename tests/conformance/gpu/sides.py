"""One scenario on the CPU and on a GPU, real or emulated, and how far the results agree."""

from __future__ import annotations

import contextlib
import json
import os
from unittest import mock

import numpy as np

import caffe
from tests.conformance.both import compare, relative_error
from tests.helpers.emulated_gpu import emulated_gpus

WANTED = os.environ.get("CONFORMANCE_GPU", "")
REAL = WANTED == "real"
WHOLE = WANTED in ("real", "emulated")
"""Whether all of it is run; else few cases, to see that the code runs."""
QUICK = os.environ.get("CONFORMANCE_GPU_QUICK", "") not in ("", "0")
"""Whether a few cases of each layer type are enough; the solvers and the nets are run all the
same."""
CASES = 4 if QUICK else 50 if WHOLE else 3
"""Random nets for each layer type."""
_FILE = os.environ.get("CONFORMANCE_GPU_REPORT", "")
REPORT = _FILE and os.path.abspath(_FILE)  # tests run in folders of their own
"""A file to which each comparison is added as a line of JSON: the test, what is compared, its
deviation (null where it is no finite number, or the test failed before it compared) and the
limit."""


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
    if REPORT:
        _report(expected, got, limit, floor)
    compare(expected, got, limit, floor, names=("the CPU", "the GPU"))


def _report(expected: dict, got: dict, limit, floor: float) -> None:
    """Add this comparison to REPORT before it may fail: a line for each array, and for what one
    side alone has or has another value of."""
    for name in dict.fromkeys([*expected, *got]):
        one, another = expected.get(name), got.get(name)
        if isinstance(one, np.ndarray) and np.shape(one) == np.shape(another):
            deviation = relative_error(one, another, floor)
        elif name in expected and name in got and not isinstance(one, np.ndarray):
            if one == another:
                continue
            deviation = np.inf
        else:
            deviation = np.inf
        report(name, deviation, limit(name) if callable(limit) else limit)


def report(what: str, deviation: float, limit=None, test: str = "") -> None:
    """Add a line to REPORT, where one is asked for; `test` is by default the one that runs."""
    if not REPORT:
        return
    test = test or os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    line = {"test": test, "what": what, "deviation": None, "limit": limit}
    if np.isfinite(deviation):
        line["deviation"] = float(deviation)
    with open(REPORT, "a", encoding="utf-8") as file:  # closed, so that a reader sees it at once
        file.write(json.dumps(line) + "\n")
