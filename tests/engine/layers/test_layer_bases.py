"""What layers say of themselves to the plan, and what the bases do for those that say little."""

from __future__ import annotations

import numpy as np
import pytest
from torch.nn.functional import avg_pool2d

import caffe
from caffe.compute.folding import Window, like
from caffe.core.layer import Reads
from caffe.layers import _makers
from caffe.layers._windowed import Windowed
from tests.engine.compute.test_folding_beside_other_layers import (
    ROOT,
    conv,
    each_way,
    folds,
    pool,
    require_same,
    results,
    total,
)
from tests.engine.layers.test_gradients import CASES, CONV, SMALL, SameChance, case
from tests.helpers.net_texts import layer

MORE = {
    "Convolution": [case(CONV % "" + "param { lr_mult: 0 } param { lr_mult: 0 }", SMALL)],
    "Pooling": [case(f"pooling_param {{ pool: {pool} kernel_size: 3 pad: 2 }}", SMALL)
                for pool in ("MAX", "AVE")],
    "Scale": [case("scale_param { bias_term: true } param { lr_mult: 0 }", SMALL)],
    "ELU": [case("elu_param { alpha: -1 }", SMALL)],
}  # fmt: skip


def gradients(kind, spoilt, body, arrays, wanted, more):
    """The diffs that backward makes, after numbers that it says it does not read were spoilt."""
    run = SameChance(kind, body, *arrays, **more)
    run.layer.param_propagate_down = [spec.lr_mult != 0 for spec in run.layer.layer_param.param]
    run.layer.param_propagate_down += [True] * (
        len(run.layer.blobs) - len(run.layer.layer_param.param)
    )
    caffe.set_random_seed(1)
    for blob in run.layer.blobs:
        blob.data[...] = np.random.default_rng(0).uniform(0.5, 1.5, blob.shape)
    run.forward()
    reads = run.layer._backward_reads
    unread = [] if Reads.BOTTOM in reads else run.bottom[:1]
    unread = unread + ([] if Reads.FURTHER in reads else run.bottom[1:])
    unread = unread + ([] if Reads.TOPS in reads else run.top)
    for blob in unread if spoilt else ():
        blob.write().fill_(np.nan)
    weights = [np.random.default_rng(2).standard_normal(blob.shape) for blob in run.top]
    down = [wanted is None or i in wanted for i in range(len(arrays))]
    made = run.backward(*weights, down=down)
    return [*made, *(blob.diff.copy() for blob in run.layer.blobs)], unread


@pytest.mark.parametrize("kind", CASES)
def test_backward_reads_nothing_but_what_it_says(kind):
    for one in [*CASES[kind], *MORE.get(kind, [])]:
        wanted, _ = gradients(kind, False, *one)
        found, _ = gradients(kind, True, *one)
        for mine, its in zip(found, wanted):
            np.testing.assert_array_equal(mine, its)


def test_there_are_layers_of_each_answer():
    answers = {
        SameChance(kind, body, *arrays, **more).layer._backward_reads
        for kind, cases in CASES.items()
        for body, arrays, _, more in cases
    }
    assert {Reads.NOTHING, Reads.BOTTOM, Reads.BOTTOMS, Reads.FURTHER, Reads.TOPS, Reads.ALL} <= (
        answers
    )


class Blur(Windowed):
    """The mean of each element's 3 × 3 neighbours, with zeros around: a layer that knows no more
    than what it computes."""

    num_bottom = num_top = (1, 1)
    _backward_reads = Reads.NOTHING
    pad = [1, 1]

    def reshape(self, bottom, top):
        top[0].reshape_like(bottom[0])

    def _windows(self):
        return Window(3, 1, pad=1), Window(3, 1, pad=1)

    def compute(self, x, pad):
        return avg_pool2d(x, 3, 1, pad)

    def gradient(self, dy, x, pad, wanted):
        back = [2 - amount for amount in pad]
        grown = like(dy, [*dy.shape[:2], *(n + 2 * b for n, b in zip(dy.shape[2:], back))]).zero_()
        grown[:, :, back[0] : grown.shape[2] - back[0], back[1] : grown.shape[3] - back[1]] = dy
        assert avg_pool2d(grown, 3, 1).shape == x.shape
        return avg_pool2d(grown, 3, 1)


@pytest.mark.parametrize("behind", ["", "pool", "relu and pool"])
def test_a_layer_that_says_how_its_windows_lie_is_folded_and_masks(make, monkeypatch, behind):
    monkeypatch.setitem(_makers, "Blur", Blur)
    text, end = ROOT + layer("r1", "ReLU", "c1", "c1") + layer("b", "Blur", "c1"), "b"
    if "relu" in behind:
        text += layer("r2", "ReLU", "b", "b")
    if behind:
        text, end = text + pool("p", "b"), "p"
    text += conv("c2", end, "kernel_size: 3 pad: 1") + total("c2")
    nets = each_way(make, text)
    for _ in range(2):
        wanted = results(nets["plain"])
        for kind in ("folded", "folded and lean"):
            require_same(results(nets[kind]), wanted)
    for kind in ("folded", "folded and lean"):
        assert nets[kind].layer_dict["b"]._folds[0] is not None and folds(nets[kind])


@pytest.mark.parametrize("kind, kept", [("Dropout", "mask"), ("Pooling", "index")])
def test_what_a_layer_keeps_for_backward_is_gone_after_it_in_a_lean_net(make, kind, kept):
    more = "pooling_param { kernel_size: 2 }" if kind == "Pooling" else ""
    sizes = {}
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        net = make(
            "force_backward: true " + ROOT + layer("o", kind, "c1", more=more) + total("o"),
            caffe.TRAIN,
        )
        net.forward()
        assert getattr(net.layer_dict["o"], kept).tensor.numel()
        net.backward()
        sizes[lean] = getattr(net.layer_dict["o"], kept).tensor.numel()
    assert sizes[False] and not sizes[True]


@pytest.mark.parametrize("pad", [0, 1, 2])
def test_max_pooling_backward_without_forward_says_what_is_missing(pad):
    run = SameChance(
        "Pooling", f"pooling_param {{ kernel_size: 3 pad: {pad} }}", SMALL[..., :3, :].repeat(2, 3)
    )
    with pytest.raises(caffe.engine.InputError, match="needs a forward pass before it"):
        run.backward(np.ones(run.top[0].shape))
