"""Rows and columns that repeat are left out, and nothing that can be read changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import caffe
from caffe.compute import fold_index
from caffe.compute.folding import (
    Fold,
    FoldedAxis,
    _pieces,
    fold_gradient,
    folded_shape,
    select,
    unfold,
)
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.net_texts import data, fill, layer, params

# -- folds of a tensor -----------------------------------------------------------------------


@st.composite
def two_folds(draw):
    """Two folds of one blob, the second leaving out less; the whole blob's values."""
    axes, values = [], []
    for _ in range(2):
        run, middle = draw(st.integers(1, 6)), draw(st.integers(0, 3))
        edge = draw(st.integers(0, 2))
        size = 2 * edge + 2 * run + middle
        value = np.arange(size, dtype=np.float32) + 1
        value[edge : edge + run] = value[edge]
        value[size - edge - run : size - edge] = value[size - edge - 1]
        most = draw(st.integers(0, run - 1))
        pair = []
        for out in (most, draw(st.integers(0, most))):
            low = draw(st.integers(edge, edge + run - 1 - out))
            high = draw(st.integers(size - edge - run, size - edge - 1 - out))
            pair.append(FoldedAxis(size, low, high, out))
        axes.append(pair)
        values.append(value)
    whole = torch.from_numpy(np.outer(*values)[None, None] * np.float32([[[[1]], [[-2]]]]))
    return Fold(axes[0][0], axes[1][0]), Fold(axes[0][1], axes[1][1]), whole


def left_by(fold, whole):
    rows, columns = ([axis.whole(i) for i in range(axis.kept)] for axis in fold.axes)
    return whole[..., rows, :][..., columns]


@given(two_folds())
@settings(max_examples=100, deadline=None)
def test_what_is_left_makes_up_the_whole_and_any_fold_that_leaves_out_less(case):
    more, less, whole = case
    for layout in (torch.contiguous_format, torch.channels_last):
        small = left_by(more, whole).contiguous(memory_format=layout)
        assert small.shape == folded_shape(whole.shape, more)
        assert torch.equal(unfold(small, more), whole)
        assert torch.equal(unfold(small, more, less), left_by(less, whole))


@pytest.mark.slow
@given(two_folds())
@settings(max_examples=100, deadline=None)
def test_the_gradient_of_unfolding_is_its_adjoint(case):
    more, less, whole = case
    stream = torch.Generator().manual_seed(0)
    small = torch.randn(folded_shape(whole.shape, more), generator=stream, dtype=torch.float64)
    for into in (less, None):
        shape = folded_shape(whole.shape, into)
        large = torch.randn(shape, generator=stream, dtype=torch.float64)
        there = (unfold(small, more, into) * large).sum()
        back = (small * fold_gradient(large, into, more)).sum()
        torch.testing.assert_close(there, back)


# -- nets --------------------------------------------------------------------------------------


@pytest.mark.slow
@given(two_folds())
@settings(max_examples=100, deadline=None)
def test_a_gpu_gathers_by_index_what_the_cpu_copies_piece_by_piece(case):
    more, less, whole = case
    for layout in (torch.contiguous_format, torch.channels_last):
        wanted = whole.contiguous(memory_format=layout)
        small = select(wanted, more)
        for found, copied in (
            (fold_index.gather(small, more, None), unfold(small, more)),
            (fold_index.gather(small, more, less), unfold(small, more, less)),
            (fold_index.gather(wanted, None, more), small),
        ):
            assert torch.equal(found, copied) and found.stride() == copied.stride()
        rows, columns = whole.shape[-2:]
        part = (rows // 2, rows - rows // 2), (columns // 3, 1)
        cut = whole.narrow(-2, *part[0]).narrow(-1, *part[1])
        assert torch.equal(fold_index.gather(small, more, None, part), cut)
        for kept in (None, less):
            gradient = wanted if kept is None else select(wanted, less)
            others = (None, None) if kept is None else kept.axes
            pieces = [_pieces(*axes) for axes in zip(more.axes, others)]
            found = fold_index.add_up(gradient, kept, more, pieces)
            torch.testing.assert_close(found, fold_gradient(gradient, kept, more))


def conv(name, bottom, more, outputs=3):
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "uniform" }'
    body = f"convolution_param {{ num_output: {outputs} {filler} {more} }}"
    return layer(name, "Convolution", bottom, name, body)


def pool(name, bottom, more="kernel_size: 2 stride: 2"):
    return layer(name, "Pooling", bottom, name, f"pooling_param {{ {more} }}")


def relu(name):
    return layer(f"relu_{name}", "ReLU", name, name)


def end(bottom, size):
    """A loss over a skip from the first stage and the last map."""
    return (
        conv("out", bottom, "kernel_size: 1")
        + layer("all", "Reduction", "out", "all", "reduction_param { axis: 1 operation: SUMSQ }")
        + layer("scaled", "Scale", "p1", "scaled", "scale_param { bias_term: true }")
        + conv("skip", "scaled", "kernel_size: 1")
        + layer("some", "Crop", ["skip", "data"], "some", "crop_param { axis: 2 offset: 2 }")
        + layer("seen", "Reduction", "some", "seen", "reduction_param { axis: 1 operation: SUMSQ }")
        + layer("loss", "Eltwise", ["all", "seen"], "loss", "loss_weight: 0.01")
    )


STAGES = (
    data(2, 2, 9, 12)
    + conv("c1", "data", "kernel_size: 3 pad: 20") + relu("c1")
    + conv("c2", "c1", "kernel_size: 3 pad: 1") + relu("c2") + pool("p1", "c2")
    + conv("c3", "p1", "kernel_size: 3 pad: 1 dilation: 1") + relu("c3") + pool("p2", "c3")
    + conv("c4", "p2", "kernel_size: 3 pad: 2 dilation: 2")
    + end("c4", 9)
)  # fmt: skip


def both(make, text, phase=caffe.TEST, shape=None):
    """A net that folds and one that does not, with the same numbers in."""
    nets = []
    for folding in (True, False):
        caffe.engine.set_folding(folding)
        net = make(text, phase)
        fill(net, 1)
        if shape:
            net.blobs["data"].reshape(*shape)
        values = np.random.RandomState(0).standard_normal(net.blobs["data"].shape)
        net.blobs["data"].data[...] = values
        nets.append(net)
    return nets


def left_out(net):
    """How many rows are left out on either side of each top that is made folded."""
    return {
        name: fold.top.rows.out
        for name, one in zip(net._layer_names, net.layers)
        for fold in one._folds
        if fold is not None
    }


def test_stages_of_a_large_pad_leave_out_what_their_last_layer_allows(make):
    net, plain = both(make, STAGES)
    net.forward()
    plain.forward()
    # c1 repeats rows 0 to 17, c2 1 to 16, p1 1 to 7: 6 of p1 to spare, 12 before it; c3 2 to 6,
    # p2 1 to 2: 1 to spare, 2 before it.
    assert left_out(net) == {"c1": 12, "c2": 12, "p1": 6, "c3": 2, "p2": 1, "skip": 6}
    assert not left_out(plain)


def test_vgg_leaves_out_what_is_known_of_its_pad_of_100(make):
    text = data(1, 1, 20, 30) + conv("c11", "data", "kernel_size: 3 pad: 100", 1)
    text += conv("c12", "c11", "kernel_size: 3 pad: 1", 1) + pool("p1", "c12")
    below = "p1"
    for stage, count in ((2, 2), (3, 3), (4, 3), (5, 3)):
        for i in range(1, count + 1):
            name = f"c{stage}{i}"
            text += conv(name, below, "kernel_size: 3 pad: 1", 1) + relu(name)
            below = name
        text += pool(f"p{stage}", below)
        below = f"p{stage}"
    caffe.engine.set_folding(True)
    net = make(text)
    net.forward()
    assert left_out(net) == {
        "c11": 92, "c12": 92, "p1": 46, "c21": 40, "c22": 40, "p2": 20, "c31": 12, "c32": 12,
        "c33": 12, "p3": 6,
    }  # fmt: skip


@pytest.mark.parametrize("shape", [None, (1, 2, 30, 7), (1, 2, 1, 1)])
def test_every_blob_reads_as_without_folding(make, shape):
    net, plain = both(make, STAGES, shape=shape)
    for _ in range(2):
        for one in (net, plain):
            one.forward()
        for name, blob in plain.blobs.items():
            np.testing.assert_allclose(net.blobs[name].data, blob.data, rtol=1e-5, atol=1e-5)


def test_backward_of_a_net_that_is_not_lean_gives_every_diff(make):
    net, plain = both(make, "force_backward: true " + STAGES, caffe.TRAIN)
    for one in (net, plain):
        one.forward()
        one.backward()
    for name, blob in plain.blobs.items():
        np.testing.assert_allclose(net.blobs[name].diff, blob.diff, rtol=1e-4, atol=1e-5)
    for name, blobs in plain.params.items():
        for mine, wanted in zip(net.params[name], blobs):
            np.testing.assert_allclose(mine.diff, wanted.diff, rtol=1e-4, atol=1e-4)


def test_a_blob_that_is_written_into_is_taken_as_it_is(make):
    net, plain = both(make, STAGES)
    for one in (net, plain):
        one.forward()
        one.blobs["c1"].data[:, :, 3:8, 5] = 7
        one.forward(start="c2")
    np.testing.assert_allclose(net.blobs["c2"].data, plain.blobs["c2"].data, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net.blobs["all"].data, plain.blobs["all"].data, rtol=1e-4)


def test_a_view_that_is_held_shows_every_pass(make):
    net, plain = both(make, STAGES)
    held = net.blobs["c2"].data
    for value in (1, 2):
        for one in (net, plain):
            one.blobs["data"].data[...] = value
            one.forward()
        np.testing.assert_allclose(held, plain.blobs["c2"].data, rtol=1e-5, atol=1e-5)


def test_pictures_of_any_size_in_turn_are_folded_each_in_its_way(make):
    net, plain = both(make, STAGES)
    stream = np.random.RandomState(1)
    for size in ((9, 12), (14, 3), (9, 12), (30, 31)):
        for one in (net, plain):
            one.blobs["data"].reshape(1, 2, *size)
        values = stream.standard_normal((1, 2, *size))
        for one in (net, plain):
            one.blobs["data"].data[...] = values
            one.forward()
        np.testing.assert_allclose(net.blobs["p2"].data, plain.blobs["p2"].data, atol=1e-5)
        np.testing.assert_allclose(net.blobs["all"].data, plain.blobs["all"].data, rtol=1e-4)


def test_training_folded_and_lean_is_training_as_caffe_does(make_solver):
    text = 'net: "net.prototxt" base_lr: 1e-4 momentum: 0.9 lr_policy: "fixed" snapshot_prefix: "s"'
    trained = []
    for changed in (False, True):
        caffe.engine.set_folding(changed)
        caffe.engine.set_lean(changed)
        solver = make_solver(STAGES, text)
        for seed in range(4):
            values = np.random.RandomState(seed).standard_normal((2, 2, 9, 12))
            solver.net.blobs["data"].data[...] = values
            solver.step(1)
        assert bool(left_out(solver.net)) == changed
        trained.append(params(solver.net))
    for plain, folded in zip(*trained):
        np.testing.assert_allclose(folded, plain, rtol=1e-4, atol=1e-6)


def cropped(offset):
    text = "force_backward: true " + data(1, 2, 8, 8) + conv("c1", "data", "kernel_size: 3 pad: 9")
    text += relu("c1") + layer("cut", "Crop", ["c1", "data"], more=f"crop_param {{ {offset} }}")
    sum_of_squares = "loss_weight: 1 reduction_param { operation: SUMSQ }"
    return text + layer("loss", "Reduction", "cut", more=sum_of_squares)


@pytest.mark.parametrize("offset, told", [("8, 8", True), ("8, 3", False), ("0", False)])
def test_a_crop_reads_and_gives_folded_blobs(make, offset, told):
    text, found = cropped(f"axis: 2 offset: [{offset}]"), []
    for folding in (False, True):
        caffe.engine.set_folding(folding)
        caffe.engine.set_lean(True)
        net = make(text, caffe.TRAIN)
        caffe.engine.keep(net, "c1", "cut")
        fill(net)
        net.blobs["data"].data[...] = np.random.RandomState(0).standard_normal((1, 2, 8, 8))
        net.clear_param_diffs()
        net.forward()
        crop = net.layer_dict["cut"]
        if folding:
            assert net.blobs["c1"].fold is not None  # still, though it was cropped
            assert (crop._folded_parts() is not None) == told
        gradient = net.backward()["data"].copy()
        found.append([net.blobs["cut"].data.copy(), gradient])
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-4, atol=1e-5)
    assert found[0][1].any()


@pytest.mark.parametrize("lean", [False, True])
def test_a_gpu_has_the_cpus_numbers_and_waits_for_nothing(make, lean):
    text = (
        "force_backward: true " + data(1, 1, 4, 4, name="one") + data(1, 2, 8, 8)
        + conv("c1", "data", "kernel_size: 3 pad: 12")
        + relu("c1") + pool("p1", "c1") + conv("c2", "p1", "kernel_size: 3 pad: 1") + relu("c2")
        + pool("p2", "c2") + conv("s2", "p2", "kernel_size: 1")
        + layer("cut", "Crop", ["s2", "one"], more="crop_param { axis: 2 offset: 2 }")
        + layer("loss", "Reduction", "cut", more="loss_weight: 1")
    )  # fmt: skip
    caffe.engine.set_lean(lean)
    found = []
    with emulated_gpus(1):
        for set_mode in (caffe.set_mode_cpu, caffe.set_mode_gpu):
            set_mode()
            net = make(text, caffe.TRAIN)
            fill(net)
            net.blobs["data"].data[...] = np.random.RandomState(0).standard_normal((1, 2, 8, 8))
            for _ in range(2):
                net.clear_param_diffs()
                waits.clear()
                net._passes.forward(0, len(net.layers) - 1)
                net._backward(len(net.layers) - 1, 0)
            assert not waits and left_out(net)
            diffs = [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
            found.append([net.blobs["data"].diff.copy(), *diffs])
    for mine, wanted in zip(found[1], found[0]):
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4)
