"""The nets that the bench measures."""

from __future__ import annotations

import pytest

from tools.benchmark import (
    nets as bench_nets,
)
from tools.benchmark.nets import Case


def test_the_convolutions_of_the_paper_are_319_gflop():
    assert bench_nets.flop(Case("dilated-fcn2s-vgg16", (500, 500))) / 1e9 == pytest.approx(
        319, 3e-3
    )
    assert bench_nets.fc6("fcn8s-vgg16") == ("4096x512x7x7", "1", "102,760,448")
