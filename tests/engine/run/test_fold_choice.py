"""Folding where it was measured to be faster, on emulated devices with a clock of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe.engine import InputError
from caffe.run import fold_choice
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.net_texts import data, fill, layer

FILL = 'weight_filler {{ type: "xavier" }}'
CONV = f"convolution_param {{{{ num_output: 2 kernel_size: 3 pad: {{}} {FILL} }}}}"
NET = (
    data(1, 2, 8, 8) + layer("c1", "Convolution", "data", more=CONV.format(9))
    + layer("c2", "Convolution", "c1", more=CONV.format(1))
    + layer("loss", "Reduction", "c2", more="loss_weight: 1 reduction_param { operation: SUMSQ }")
)  # fmt: skip


class Clock:
    """Marks in an emulated device's queue, at the times that passes take by whether they fold."""

    def __init__(self, net, folded, whole):
        self.net, self.cost = net, {True: folded, False: whole}
        self.now, self.reached = 0.0, True

    def mark(self, device):
        self.now += self.cost[self.net._plan.folds_now]  # what lies before the mark
        clock, at = self, self.now

        class Mark:
            def query(self):
                return clock.reached

            def elapsed_time(self, later):
                return later.at - at

        mark = Mark()
        mark.at = at
        return mark


@pytest.fixture
def measured(make, monkeypatch):
    """measured(folded, whole, phase) -> (net, clock): a net that chooses, and how long its passes
    take."""

    def measured(folded, whole, phase=caffe.TRAIN):
        caffe.engine.set_folding("measured")
        caffe.engine.set_lean(True)
        net = make(NET, phase)
        fill(net)
        net.blobs["data"].data[...] = np.random.RandomState(0).standard_normal((1, 2, 8, 8))
        clock = Clock(net, folded, whole)
        monkeypatch.setattr(fold_choice, "timed_mark", clock.mark)
        return net, clock

    with emulated_gpus(1):
        caffe.set_mode_gpu()
        yield measured


def passes(net, count, backward=True):
    """Whether each of the next passes folds."""
    seen = []
    for _ in range(count):
        net._passes.forward(0, len(net.layers) - 1)
        seen.append(net.layer_dict["c1"]._made_under[0] is not None)
        if backward:
            net._backward(len(net.layers) - 1, 0)
    return seen


@pytest.mark.parametrize("folded, whole", [(1.0, 2.0), (2.0, 1.0)])
@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_the_faster_way_is_kept_after_each_was_tried(measured, phase, folded, whole):
    net, _ = measured(folded, whole, phase)
    seen = passes(net, 9, phase == caffe.TRAIN)
    assert seen == [True, False] * 3 + [folded < whole] * 3


def test_each_size_has_its_own_choice(measured):
    net, clock = measured(1.0, 2.0)
    passes(net, 6)
    assert passes(net, 1) == [True]
    clock.cost = {True: 2.0, False: 1.0}
    net.blobs["data"].reshape(1, 2, 8, 12)
    assert passes(net, 7)[-1] is False
    net.blobs["data"].reshape(1, 2, 8, 8)
    assert passes(net, 2) == [True, True]


def test_times_that_are_not_there_yet_are_not_waited_for(measured):
    net, clock = measured(2.0, 1.0)
    clock.reached = False
    passes(net, 6)
    waits.clear()
    assert passes(net, 2) == [True, True] and not waits
    clock.reached = True
    assert passes(net, 1) == [False]


def test_passes_that_nobody_ends_are_not_tried_for_ever(measured):
    net, _ = measured(2.0, 1.0)
    assert passes(net, 9, backward=False) == [True, False] * 3 + [True] * 3


def test_the_results_are_those_of_a_net_that_folds(measured):
    net, _ = measured(2.0, 1.0)
    losses = []
    for _ in range(8):
        losses.append(float(net._passes.forward(0, len(net.layers) - 1)))
        net._backward(len(net.layers) - 1, 0)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


@pytest.mark.parametrize("why", ["cpu", "deterministic"])
def test_where_numbers_are_to_be_the_same_each_time_nets_fold(measured, monkeypatch, why):
    net, _ = measured(2.0, 1.0)
    if why == "cpu":
        caffe.set_mode_cpu()
    else:
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert passes(net, 8) == [True] * 8


def test_another_word_is_refused():
    with pytest.raises(
        InputError, match="folding 'mesured' is not one of True, False, \"measured\""
    ):
        caffe.engine.set_folding("mesured")
