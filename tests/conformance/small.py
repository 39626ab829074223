"""Comparing small nets: their inputs, their tolerances, their line in the report."""

from __future__ import annotations

import numpy as np

from tests.conformance import both, report
from tests.conformance.nets import data, layer

OUTPUTS, GRADIENTS = 1e-4, 1e-3
# Values are about 1 by construction: an error is relative to the largest value of its blob, or to
# this where even that is smaller (a gradient that all but cancels is rounding noise in both).
FLOOR = 1e-2


def tolerance(name):
    return GRADIENTS if "gradient" in name or "diff" in name else OUTPUTS


def values(*dims, seed=0):
    return np.random.RandomState(seed).standard_normal(dims).astype(np.float32)


def labels(*dims, classes=4):
    return np.random.RandomState(1).randint(0, classes, dims).astype(np.float32)


def agree(what, scenario, args, arrays=None):
    errors = both.compare(*both.run_both(scenario, args, arrays), tolerance, FLOOR)
    report.record("net", what, errors)


LOSS = layer("loss", "SoftmaxWithLoss", ["score", "label"])
X = data(2, 3, 6, 6)
LABEL = data(2, name="label")
NET_INPUTS = {"data": values(2, 3, 6, 6), "label": labels(2)}
