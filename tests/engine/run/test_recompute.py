"""Blobs of lean training nets that are made again in the backward pass."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.engine.run.test_lean import CONV, POOL, feed
from tests.helpers.net_texts import data, fill, ip, layer, losses

SCALE = "scale_param { bias_term: true filler { type: 'gaussian' std: 1 } }"
TEXT = (
    data(2, 2, 9, 8) + data(2, name="label") + layer("conv1", "Convolution", "data", more=CONV)
    + layer("relu1", "ReLU", "conv1", "conv1") + layer("conv2", "Convolution", "conv1", more=CONV)
    + layer("relu2", "ReLU", "conv2", "conv2") + layer("pool", "Pooling", "conv2", more=POOL)
    + layer("norm", "LRN", "pool") + layer("tanh", "TanH", "norm")
    + layer("scaled", "Scale", "tanh", more=SCALE)
    + layer("sum", "Eltwise", ["scaled", "pool"])
    + layer("power", "Power", "sum", "sum", "power_param { power: 2 }")
    + ip("ip", "sum") + losses()
)  # fmt: skip


@pytest.fixture
def lean():
    caffe.engine.set_lean(True)


def gradients(net, seed):
    fill(net)
    feed(net, seed)
    net.clear_param_diffs()
    net.forward()
    net.backward()
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


@pytest.mark.parametrize(
    "names",
    [["conv1"], ["conv2"], ["conv1", "conv2", "pool"], ["norm", "tanh"], ["sum"],
     ["conv1", "conv2", "pool", "norm", "tanh", "scaled", "sum"]],
    ids=" ".join,
)  # fmt: skip
def test_gradients_are_those_of_a_net_that_keeps_its_blobs(make, lean, names):
    plain, other = make(TEXT, caffe.TRAIN), make(TEXT, caffe.TRAIN)
    caffe.engine.recompute(other, *names)
    for seed in range(2):
        wanted = gradients(plain, seed)
        assert all(gradient.any() for gradient in wanted)
        for mine, its in zip(gradients(other, seed), wanted):
            np.testing.assert_array_equal(mine, its)


def test_training_gives_the_same_numbers_where_folded_blobs_are_made_again(make_solver, lean):
    text = TEXT.replace("pad: 1", "pad: 9", 1)
    trained = []
    for names in ([], ["conv1", "conv2"]):
        solver = make_solver(text, 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed"')
        caffe.engine.recompute(solver.net, *names)
        for seed in range(3):
            feed(solver.net, seed)
            solver.step(1)
        trained.append([b.data.copy() for blobs in solver.net.params.values() for b in blobs])
    for mine, its in zip(*trained):
        np.testing.assert_array_equal(mine, its)


BESIDE = (
    data(2, 2, 9, 8) + data(2, name="label")
    + layer("c1", "Convolution", "data", more=CONV.replace("pad: 1", "pad: 9"))
    + layer("c2", "Convolution", "c1", more=CONV) + layer("pool", "Pooling", "c2", more=POOL)
    + layer("c3", "Convolution", "pool", more=CONV) + layer("c4", "Convolution", "c2", more=CONV)
    + layer("tanh", "TanH", "c1") + layer("flat", "Flatten", "tanh") + layer("f3", "Flatten", "c3")
    + layer("f4", "Flatten", "c4") + layer("all", "Concat", ["flat", "f3", "f4"])
    + ip("ip", "all") + losses()
)  # fmt: skip
"""A folded blob that a layer reads as a whole, beside others that are folded from it."""


@pytest.mark.parametrize("names", [["c2"], ["c2", "pool"], ["c1", "c2", "pool"]], ids=" ".join)
def test_what_was_folded_is_made_again_folded_where_its_source_was_read_as_a_whole(
    make, lean, names
):
    found = []
    for again in ([], names):
        net = make(BESIDE, caffe.TRAIN)
        caffe.engine.keep(net, "c1")
        caffe.engine.recompute(net, *again)
        fill(net)
        feed(net, 0)
        net.forward()
        assert net.layer_dict["c2"]._made_under[0] is not None
        net.blobs["c1"].data  # noqa: B018
        net.backward()
        found.append([blob.diff.copy() for blobs in net.params.values() for blob in blobs])
    for mine, its in zip(*found):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


def test_a_blob_changed_by_another_that_is_made_again_waits_for_that(make, lean):
    text = (
        data(2, 2, 9, 8) + data(2, name="label") + layer("a", "Convolution", "data", more=CONV)
        + layer("gate", "Convolution", "data", more=CONV) + layer("b", "Sigmoid", "gate")
        + layer("scale", "Scale", ["a", "b"], "a", "scale_param { axis: 0 }")
        + layer("end", "Convolution", "a", more=CONV) + ip("ip", "end") + losses()
    )  # fmt: skip
    plain, other = make(text, caffe.TRAIN), make(text, caffe.TRAIN)
    caffe.engine.recompute(other, "a", "b")
    for mine, its in zip(gradients(other, 0), gradients(plain, 0)):
        np.testing.assert_array_equal(mine, its)


def test_between_the_passes_they_take_no_memory_and_after_them_none(make, lean):
    net = make(TEXT, caffe.TRAIN)
    caffe.engine.recompute(net, "conv1", "norm")
    feed(net, 0)
    net.forward()
    blank = {name for name, blob in net.blobs.items() if blob._data.blank}
    assert {"conv1", "norm"} <= blank and "pool" not in blank
    net.backward()
    assert net.blobs["conv1"]._data.blank and net.blobs["norm"]._data.blank


def test_a_blob_that_is_kept_stays(make, lean):
    net = make(TEXT, caffe.TRAIN)
    caffe.engine.keep(net, "conv1")
    caffe.engine.recompute(net, "conv1")
    feed(net, 0)
    net.forward()
    assert net.blobs["conv1"].data.any()


def test_a_net_in_test_forgets_them_as_it_does_anyway(make, lean):
    net = make(TEXT)
    caffe.engine.recompute(net, "conv1")
    feed(net, 0)
    assert net.forward()["loss"] > 0


BATCH_NORM = data(2, 3) + layer("norm", "BatchNorm", "data") + ip("ip", "norm")
DROPPED = data(2, 3) + ip("ip", "data") + layer("drop", "Dropout", "ip", "ip")
SHARED = (
    data(2, 3) + ip("ip", "data") + layer("tanh", "TanH", "ip") + layer("flat", "Flatten", "ip")
    + layer("relu", "ReLU", "flat", "flat") + layer("quiet", "Silence", ["flat", "tanh"], ())
)  # fmt: skip


@pytest.mark.parametrize(
    "text, name, problem",
    [
        (BATCH_NORM, "norm", r"layer 'norm' \(BatchNorm\) might not give the same"),
        (DROPPED, "ip", r"layer 'drop' \(Dropout\) might not give the same"),
        (TEXT, "data", r"layer 'data' \(Input\) might not give the same"),
        (SHARED, "tanh", r"layer 'relu' changes what layer 'tanh' reads"),
        (TEXT, "cnov1", "no blob 'cnov1' to make again"),
    ],
    ids=["counts", "random", "input", "changed in place", "unknown"],
)
def test_what_would_not_be_the_same_again_is_refused(make, lean, text, name, problem):
    net = make(text, caffe.TRAIN)
    with pytest.raises(InputError, match=problem):
        caffe.engine.recompute(net, name)


def test_a_net_that_is_not_lean_says_how_to_make_it_so(make):
    with pytest.raises(InputError, match=r"net.prototxt: is not lean; .*set_lean\(True\)"):
        caffe.engine.recompute(make(TEXT, caffe.TRAIN), "conv1")
