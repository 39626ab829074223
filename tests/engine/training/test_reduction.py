"""Buckets of gradients, and when they are on their way and there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe.engine import InputError
from caffe.training import reduction
from caffe.training.reduction import Reduction, buckets, traffic
from tests.helpers.net_texts import data, fill, ip, layer

NET = (
    data(4, 3) + data(4, name="label") + ip("one", "data", 5) + ip("two", "one", 6)
    + ip("three", "two", 3) + layer("loss", "SoftmaxWithLoss", ["three", "label"])
)  # fmt: skip
SIZES = [15, 5, 30, 6, 18, 3]
"""Of the parameters: each layer's weights and biases."""


class Sums:
    """Stands for all ranks: each gives the same gradients, and every sum is there when waited for,
    or when `arrive` says so."""

    def __init__(self, count):
        self.count, self.works = count, []

    def __call__(self, tensor):
        work = self.Work(self, tensor)
        self.works.append(work)
        return work

    class Work:
        def __init__(self, sums, tensor):
            self.sums, self.tensor, self.done = sums, tensor, False

        def wait(self):
            if not self.done:
                self.tensor.mul_(self.sums.count)
            self.done = True

        def is_completed(self):
            return self.done


@pytest.fixture
def net(make):
    caffe.engine.set_lean(True)
    net = make(NET, caffe.TRAIN)
    fill(net, 0)
    net.blobs["data"].data[...] = np.random.RandomState(1).standard_normal((4, 3))
    net.blobs["label"].data[...] = [0, 1, 2, 1]
    return net


def test_gradients_go_in_the_order_in_which_backward_completes_them(net):
    assert [blob.count for blob in net._learnable.blobs] == SIZES
    assert buckets(net._wiring, 4 * 20) == [[4, 5], [2], [3, 0], [1]]
    assert buckets(net._wiring, 10**6) == [[4, 5, 2, 3, 0, 1]]
    assert traffic(net) == (4 * sum(SIZES), 1)
    assert traffic(net, "bfloat16") == (2 * sum(SIZES), 1)


def test_parameters_that_never_learn_are_in_no_bucket(make):
    net = make(NET.replace('name: "two"', 'name: "two" param { lr_mult: 0 }', 1), caffe.TRAIN)
    assert buckets(net._wiring, 10**6) == [[4, 5, 3, 0, 1]]


@pytest.mark.parametrize("kind, error", [("float32", 0), ("bfloat16", 0.01)])
@pytest.mark.parametrize("size", [4, 4 * 20, 10**6])
def test_means_stand_in_the_gradients_place_and_are_told_of_once(
    net, monkeypatch, kind, error, size
):
    net._passes.forward(0, len(net.layers) - 1)
    net._passes.backward(len(net.layers) - 1, 0)
    wanted = [blob.read_diff().clone() for blob in net._learnable.blobs]
    monkeypatch.setattr(reduction, "BUCKET", size)
    monkeypatch.setattr(reduction, "buckets", lambda wiring: buckets(wiring, size))
    one = Reduction(net, 3, Sums(3), kind)
    told = []
    for _ in range(2):
        net.clear_param_diffs()
        one.begin(told.extend)
        net._passes.forward(0, len(net.layers) - 1)
        net._passes.backward(len(net.layers) - 1, 0, one.ready)
        one.finish()
        for blob, gradient in zip(net._learnable.blobs, wanted):
            torch.testing.assert_close(
                blob.read_diff(), gradient, rtol=max(error, 1e-6), atol=error * 0.1
            )
    assert sorted(told) == sorted([*range(6), *range(6)])


def test_updates_begin_before_backward_is_through_and_wait_only_for_older_buckets(net, monkeypatch):
    monkeypatch.setattr(reduction, "buckets", lambda wiring: buckets(wiring, 4))
    sums, updated = Sums(2), []
    one = Reduction(net, 2, sums)
    one.begin(updated.extend)
    one.ready([4, 5])
    assert updated == []  # on their way
    one.ready([2])
    assert updated == [4]  # no more than reduction.AHEAD are
    sums.works[1].wait()
    one.ready([3])
    assert updated == [4, 5]
    one.finish()
    assert updated == [4, 5, 2, 3]


def test_a_kind_of_gradients_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="'float8' is not one of float32, bfloat16"):
        caffe.engine.set_gradients("float8")
