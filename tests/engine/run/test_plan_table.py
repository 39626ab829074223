"""caffe.engine.plan: what it tells of a net, against what the passes then do."""

from __future__ import annotations

import pytest

import caffe
from tests.engine.run.test_lean import CONV, POOL, feed
from tests.helpers.net_texts import data, fill, ip, layer, losses

FOLDED = (
    data(2, 2, 9, 8) + data(2, name="label")
    + layer("conv1", "Convolution", "data", more=CONV.replace("pad: 1", "pad: 12"))
    + layer("relu1", "ReLU", "conv1", "conv1") + layer("conv2", "Convolution", "conv1", more=CONV)
    + layer("relu2", "ReLU", "conv2", "conv2") + layer("pool", "Pooling", "conv2", more=POOL)
    + layer("conv3", "Convolution", "pool", more=CONV)
    + ip("ip", "conv3") + losses()
)  # fmt: skip


def held(net) -> int:
    """Bytes of blobs and of parameters' diffs that there are now, but for diffs of zeros."""
    memories = {id(m): m for blob in net.blobs.values() for m in (blob._data, blob._diff)}
    diffs = [blob._diff for blobs in net.params.values() for blob in blobs]
    memories.update((id(memory), memory) for memory in diffs)
    tensors = [
        memory._host if memory.given is None else memory.given
        for memory in memories.values()
        if not memory.blank
    ]
    return sum(tensor.numel() * 4 for tensor in tensors)


def bytes_seen(net) -> dict:
    """The bytes after each layer's forward and, in TRAIN, backward pass, by layer number."""
    seen = {"forward": {}, "backward": {}}
    net.after_forward(lambda i: seen["forward"].update({i: held(net)}))
    net.after_backward(lambda i: seen["backward"].update({i: held(net)}))
    net.forward()
    if net.phase == caffe.TRAIN:
        net.backward()
    return seen


def made(make, text, phase):
    net = make(text, phase)
    fill(net)
    feed(net, 0)
    return net


@pytest.mark.parametrize("lean", [False, True], ids=["whole", "lean"])
def test_the_bytes_are_those_that_a_backward_pass_takes(make, lean):
    caffe.engine.set_lean(lean)
    net = made(make, FOLDED, caffe.TRAIN)
    if lean:
        caffe.engine.recompute(net, "conv1")
    rows = caffe.engine.plan(net).rows
    seen = bytes_seen(net)["backward"]
    ran = [i for i, row in enumerate(rows) if row.backward_bytes is not None]
    assert [seen[i] for i in ran] == [rows[i].backward_bytes for i in ran] and len(ran) > 6


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST], ids=["TRAIN", "TEST"])
@pytest.mark.parametrize("lean", [False, True], ids=["whole", "lean"])
def test_the_bytes_are_those_that_a_forward_pass_takes(make, phase, lean):
    caffe.engine.set_lean(lean)
    net = made(make, FOLDED, phase)
    rows = caffe.engine.plan(net).rows
    seen = bytes_seen(net)["forward"]
    inputs = len(net.inputs)
    assert [seen[i] for i in range(inputs, len(rows))] == [r.forward_bytes for r in rows[inputs:]]


def test_a_folded_top_is_shown_in_the_shape_that_it_is_stored_in(make):
    net = made(make, FOLDED, caffe.TEST)
    rows = {row.layer: row for row in caffe.engine.plan(net).rows}
    net._passes.forward(0, list(net.layer_dict).index("conv2"))
    tensor, fold = net.blobs["conv2"].stored()
    assert fold is not None
    assert rows["conv2"].folds == " × ".join(map(str, tensor.shape))
    assert not rows["ip"].folds


def test_a_lean_net_takes_less_and_less_still_where_blobs_are_made_again(make):
    found = []
    for lean, again in ((False, []), (True, []), (True, ["conv1"])):
        caffe.engine.set_lean(lean)
        net = made(make, FOLDED, caffe.TRAIN)
        if again:
            caffe.engine.recompute(net, *again)
        table = caffe.engine.plan(net)
        found.append((table.peak, {row.layer: row.backward_bytes for row in table.rows}["ip"]))
    (whole, _), (lean, kept), (_, less) = found
    assert whole > lean and kept > less
    assert "backward runs conv1, relu1 forward again" in str(table)


def test_the_table_says_who_masks_whom_and_what_is_updated_and_given_back(make):
    caffe.engine.set_lean(True)
    text = str(caffe.engine.plan(made(make, FOLDED, caffe.TRAIN)))
    for said in ("does the backward pass of relu2", "backward is done by pool",
                 "forward gives back conv2", "updates 8 parameters", "Peak"):  # fmt: skip
        assert said in text, text


def test_a_plan_can_be_asked_for_before_and_after_passes_and_changes_no_number(make):
    caffe.engine.set_lean(True)
    net, other = (made(make, FOLDED, caffe.TEST) for _ in range(2))
    before = caffe.engine.plan(net)
    ends = [one.forward()["loss"].copy() for one in (net, other)]
    assert ends[0] == ends[1] and caffe.engine.plan(net) == before


def test_the_table_is_of_the_shapes_that_the_blobs_have_now_and_later_passes_of_theirs(make):
    net = made(make, FOLDED, caffe.TEST)
    first = caffe.engine.plan(net)
    net.blobs["data"].reshape(1, 2, 9, 8)
    net.blobs["label"].reshape(1)
    net.reshape()
    second = caffe.engine.plan(net)
    assert second.rows[2].folds.startswith("1 × ") and first.rows[2].folds.startswith("2 × ")
    net.blobs["data"].reshape(2, 2, 9, 8)
    net.blobs["label"].reshape(2)
    net.reshape()
    net.forward()
    assert caffe.engine.plan(net) == first
