"""Host and device memory of blobs agree, whoever wrote last, on emulated CUDA devices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import caffe
from caffe.compute import device
from caffe.compute.folding import Fold, FoldedAxis
from caffe.core.blob import Blob
from caffe.core.memory import Content
from caffe.core.under_fold import data_under, diff_under
from caffe.engine import InputError
from tests.helpers.emulated_gpu import copies, emulated_gpus, waits

SIDES = st.sampled_from(["cpu", 0, 1])
PARTS = st.sampled_from(["data", "diff"])
WHICH = st.integers(0, 1)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def go_to(side):
    """Mode and device: "cpu", or a CUDA device's number."""
    if side == "cpu":
        caffe.set_mode_cpu()
    else:
        caffe.set_device(side)
        caffe.set_mode_gpu()


class Array:
    """Flat memory, as NumPy has it."""

    def __init__(self, count):
        self.flat = np.zeros(count, np.float32)


def require_content(memory):
    """What `Content` says of each side is so."""
    where, flat = memory.content, (memory._host, memory._device)
    assert (memory.given is not None) == (where in (Content.GIVEN, Content.FOLDED_DIFF))
    if where in (Content.GIVEN, Content.FOLDED_DIFF):
        assert flat == (None, None)
    if where in (Content.HOST, Content.BOTH):
        assert memory._host is not None
    if where in (Content.DEVICE, Content.BOTH):
        assert memory._device is not None
    if where is Content.BOTH:
        np.testing.assert_array_equal(memory._host.numpy(), memory._device.cpu().numpy())
    if where in (Content.BLANK, Content.RELEASED):
        assert not any(side.cpu().numpy().any() for side in flat if side is not None)


class TwoBlobs(RuleBasedStateMachine):
    """Two blobs, and beside them what their memory should hold."""

    def __init__(self):
        super().__init__()
        self.gpus = emulated_gpus(2)
        self.gpus.__enter__()
        self.number = 0.0

    def teardown(self):
        self.gpus.__exit__(None, None, None)

    @initialize(shape=SHAPES)
    def start(self, shape):
        self.blobs = [Blob(*shape), Blob(*shape)]
        self.shapes = [shape, shape]
        count = int(np.prod(shape, dtype=int))
        self.model = {part: [Array(count), Array(count)] for part in ("data", "diff")}

    def expected(self, part, i):
        count = int(np.prod(self.shapes[i], dtype=int))
        return self.model[part][i].flat[:count].reshape(self.shapes[i])

    def next_number(self):
        self.number += 1
        return self.number

    @rule(side=SIDES)
    def change_device(self, side):
        go_to(side)

    @rule(part=PARTS, i=WHICH)
    def write_on_the_device_wholly(self, part, i):
        number = self.next_number()
        (self.blobs[i].write if part == "data" else self.blobs[i].write_diff)().fill_(number)
        self.expected(part, i)[...] = number

    @rule(part=PARTS, i=WHICH)
    def write_on_the_device_in_part(self, part, i):
        if not self.expected(part, i).size:
            return
        number = self.next_number()
        tensor = self.blobs[i].write() if part == "data" else self.blobs[i].write_diff()
        tensor.view(-1)[-1:].add_(number)
        self.expected(part, i).reshape(-1)[-1:] += np.float32(number)

    @rule(part=PARTS, i=WHICH)
    def overwrite_on_the_device(self, part, i):
        if self.expected(part, i).size < self.model[part][i].flat.size:
            return  # what lies beyond is lost
        number = self.next_number()
        blob = self.blobs[i]
        (blob.overwrite if part == "data" else blob.overwrite_diff)().fill_(number)
        self.expected(part, i)[...] = number

    @rule(i=WHICH)
    def overwrite_on_the_host(self, i):
        if self.expected("data", i).size < self.model["data"][i].flat.size:
            return
        number = self.next_number()
        self.blobs[i].overwrite(torch.device("cpu")).fill_(number)
        self.expected("data", i)[...] = number

    @rule(part=PARTS, i=WHICH)
    def give(self, part, i):
        if self.expected(part, i).size < self.model[part][i].flat.size:
            return
        number, blob = self.next_number(), self.blobs[i]
        tensor = torch.zeros(blob.shape, device=device.current()).fill_(number)
        (blob.give if part == "data" else blob.give_diff)(tensor)
        self.expected(part, i)[...] = number

    @rule(part=PARTS, i=WHICH)
    def send(self, part, i):
        (self.blobs[i].send if part == "data" else self.blobs[i].send_diff)()

    @rule(i=WHICH)
    def clear_the_diff(self, i):
        self.blobs[i].clear_diff()
        self.model["diff"][i].flat[...] = 0

    @rule(part=PARTS, i=WHICH)
    def look_on_the_host(self, part, i):
        seen = self.blobs[i].peek() if part == "data" else self.blobs[i].peek_diff()
        np.testing.assert_array_equal(seen, self.expected(part, i))
        assert not seen.flags.writeable

    @rule(part=PARTS, i=WHICH)
    def write_on_the_host_in_part(self, part, i):
        number = self.next_number()
        getattr(self.blobs[i], part).reshape(-1)[:1] = number
        self.expected(part, i).reshape(-1)[:1] = number

    @rule(part=PARTS, i=WHICH)
    def read_on_the_device(self, part, i):
        tensor = self.blobs[i].read() if part == "data" else self.blobs[i].read_diff()
        assert tensor.device == device.current()
        np.testing.assert_array_equal(tensor.cpu().numpy(), self.expected(part, i))

    @rule(part=PARTS, i=WHICH)
    def read_on_the_host(self, part, i):
        np.testing.assert_array_equal(getattr(self.blobs[i], part), self.expected(part, i))

    @rule(i=WHICH, shape=SHAPES)
    def reshape(self, i, shape):
        self.blobs[i].reshape(*shape)
        self.shapes[i] = shape
        count = int(np.prod(shape, dtype=int))
        for part in ("data", "diff"):
            if count > self.model[part][i].flat.size:
                self.model[part][i] = Array(count)

    @rule(part=PARTS, i=WHICH)
    def share(self, part, i):
        if self.expected(part, 0).size != self.expected(part, 1).size:
            return
        mine, theirs = self.blobs[i], self.blobs[1 - i]
        (mine.share_data if part == "data" else mine.share_diff)(theirs)
        self.model[part][i] = self.model[part][1 - i]

    @invariant()
    def the_content_is_where_it_says(self):
        for blob in getattr(self, "blobs", ()):
            for memory in (blob._data, blob._diff):
                require_content(memory)

    @invariant()
    def shapes_hold(self):
        if hasattr(self, "blobs"):
            assert [blob.shape for blob in self.blobs] == self.shapes


TestTwoBlobs = pytest.mark.slow(TwoBlobs.TestCase)
TestTwoBlobs.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.fixture
def gpu():
    with emulated_gpus(2):
        go_to(0)
        yield


def test_the_emulation_refuses_tensors_of_two_devices(gpu):
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        Blob(3).read() + torch.ones(3)


def test_reading_on_the_device_does_not_copy_again(gpu):
    blob = Blob(3)
    blob.data[...] = 1
    blob.read()
    waits.clear()
    for _ in range(3):
        blob.read()
        blob.write().mul_(2)
    assert not waits
    assert blob.data.tolist() == [8, 8, 8] and waits == ["aten::copy_"]


def test_a_view_that_is_taken_anew_is_current_after_a_write_on_the_device(gpu):
    blob = Blob(3)
    old = blob.data
    blob.write().fill_(4)
    assert old.tolist() == [0, 0, 0]  # as in Caffe: a view is as old as its taking
    assert blob.data.tolist() == [4, 4, 4]
    assert old.tolist() == [4, 4, 4]


def test_what_is_overwritten_on_the_device_is_not_sent_there_first(gpu):
    blob = Blob(3)
    blob.data[...] = 1
    blob.diff[...] = 1
    waits.clear()
    blob.overwrite().fill_(2)
    blob.overwrite_diff().fill_(3)
    assert not waits
    assert blob.data.tolist() == [2, 2, 2] and blob.diff.tolist() == [3, 3, 3]


def test_what_a_layer_gives_is_not_mixed_with_what_the_host_held(gpu):
    blob = Blob(3)
    blob.data[...] = 1
    waits.clear()
    blob.give(torch.ones(3, device=device.current()).mul_(4))
    assert not waits
    assert blob.data.tolist() == [4, 4, 4]


def test_a_diff_that_somebody_holds_is_cleared_where_it_is(gpu):
    blob = Blob(3)
    held = blob.diff
    blob.write_diff().fill_(2)
    waits.clear()
    blob.clear_diff()
    blob.write_diff().add_(1)
    assert not waits
    assert blob.diff.tolist() == [1, 1, 1] == held.tolist()


def test_to_look_on_the_host_copies_down_once_and_never_up(gpu):
    blob = Blob(3)
    blob.write().fill_(2)
    waits.clear()
    for _ in range(2):
        assert blob.peek().tolist() == [2, 2, 2]
        blob.read()
    assert [wait.bytes for wait in waits] == [12]
    blob.write().fill_(3)
    assert blob.peek().tolist() == [3, 3, 3]


def test_what_is_sent_is_on_the_device_without_a_wait(gpu):
    blob = Blob(3)
    blob.data[...] = 1
    waits.clear()
    blob.send()
    blob.send()
    assert blob.read().is_cuda and not waits
    assert [copy.bytes for copy in copies] == [12]
    blob.data[...] = 2  # stale on the device now
    assert blob.read().cpu().tolist() == [2, 2, 2]


def test_what_nobody_wrote_is_zero_on_either_side_and_stays_unwritten(gpu):
    blob = Blob(3)
    waits.clear()
    assert not blob.read_diff().cpu().numpy().any() and not blob.peek_diff().any()
    assert blob.diff_is_zero and [wait.bytes for wait in waits] == [12]  # this test's own
    blob.write_diff().add_(1)
    assert not blob.diff_is_zero and blob.diff.tolist() == [1, 1, 1]


def test_what_was_given_back_is_zero_to_layers_and_an_error_to_users(gpu):
    blob = Blob(3)
    blob.write_diff().fill_(1)
    blob.release_diff()
    assert not blob.read_diff().cpu().numpy().any() and blob.diff_is_zero
    for look in (blob.peek_diff, lambda: blob.diff):
        with pytest.raises(InputError, match="given this blob's memory back"):
            look()
    blob.write_diff().fill_(2)
    assert blob.diff.tolist() == [2, 2, 2]


ONE_OF_THREE = Fold(FoldedAxis(3, 0, 2, 0), FoldedAxis(8, 0, 5, 2))
"""Columns 1 and 2 equal column 0, columns 6 and 7 equal column 5."""


@pytest.mark.parametrize("side", ["cpu", 0])
def test_data_is_told_under_any_fold_and_a_folded_diff_as_a_whole_no_more(side):
    with emulated_gpus(1):
        go_to(side)
        blob, whole = Blob(1, 1, 3, 8), torch.arange(24.0).view(1, 1, 3, 8)
        whole[..., 1:3], whole[..., 6:] = whole[..., :1], whole[..., 5:6]
        blob.give(whole.to(device.current()))
        folded = data_under(blob, ONE_OF_THREE)
        blob.give(folded, ONE_OF_THREE)
        assert blob.fold == ONE_OF_THREE and data_under(blob, None).cpu().equal(whole)
        assert blob._data.content is Content.GIVEN and blob.data.tolist() == whole.tolist()
        assert blob._data.content is Content.HOST and blob.fold is None
        blob.give_diff(whole.to(device.current()))
        sums = diff_under(blob, ONE_OF_THREE)
        assert sums[0, 0, 0].cpu().tolist() == [0, 3, 4, 15]
        blob.give_diff(sums, ONE_OF_THREE)
        with pytest.raises(InputError, match="folds this blob's diff"):
            blob.diff  # noqa: B018
        assert diff_under(blob, ONE_OF_THREE) is sums
