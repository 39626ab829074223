"""MemoryData: arrays from `Net.set_input_arrays`, batch by batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import caffe
from caffe.engine import InputError
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.layer_runs import Run, pattern

PARAM = "memory_data_param { batch_size: 2 channels: 1 height: 3 width: 4 }"


def text(param=PARAM, rest=""):
    return f'layer {{ name: "d" type: "MemoryData" top: "data" top: "label" {param} {rest} }}'


def arrays(count):
    return pattern(count, 1, 3, 4), np.arange(count, dtype=np.float32)


def test_the_tops_have_the_given_shape_before_there_are_arrays(make):
    net = make(text())
    assert net.blobs["data"].shape == (2, 1, 3, 4)
    assert net.blobs["label"].shape == (2,)


def test_batches_follow_the_arrays_and_go_round(make):
    data, labels = arrays(6)
    net = make(text())
    net.set_input_arrays(data, labels)
    for start in (0, 2, 4, 0, 2):
        net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data, data[start : start + 2])
        np.testing.assert_array_equal(net.blobs["label"].data.ravel(), [start, start + 1])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9))
def test_any_number_of_batches_goes_round(batch, batches, times):
    param = f"memory_data_param {{ batch_size: {batch} channels: 1 height: 1 width: 1 }}"
    run = Run("MemoryData", param, tops=2)
    count = batch * batches
    run.layer.set_arrays(pattern(count, 1, 1, 1), np.arange(count, dtype=np.float32))
    found = []
    for _ in range(times):
        run.forward()
        found += run.top[1].data.ravel().tolist()
    assert found == [i % count for i in range(batch * times)]


def test_labels_of_four_axes_are_taken_too(make):
    data, labels = arrays(2)
    net = make(text())
    net.set_input_arrays(data, labels.reshape(2, 1, 1, 1))
    net.forward()
    assert net.blobs["label"].data.ravel().tolist() == [0, 1]


def test_new_arrays_begin_at_their_first_batch(make):
    net = make(text())
    net.set_input_arrays(*arrays(4))
    net.forward()
    data, labels = arrays(4)
    net.set_input_arrays(data + 100, labels + 100)
    net.forward()
    assert net.blobs["label"].data.ravel().tolist() == [100, 101]
    np.testing.assert_array_equal(net.blobs["data"].data, data[:2] + 100)


def test_what_is_written_into_the_arrays_shows_in_the_next_forward(make):
    data, labels = arrays(2)
    net = make(text())
    net.set_input_arrays(data, labels)
    net.forward()
    data[0], labels[1] = 55, 77
    net.forward()
    assert (net.blobs["data"].data[0] == 55).all()
    assert net.blobs["label"].data.ravel().tolist() == [0, 77]


def test_the_net_does_not_write_into_the_arrays(make):
    data, labels = arrays(2)
    net = make(text())
    net.set_input_arrays(data, labels)
    net.forward()
    net.blobs["data"].data[...] = 9
    np.testing.assert_array_equal(data, arrays(2)[0])


def test_arrays_that_may_not_be_written_are_read(make, recwarn):
    data, labels = arrays(2)
    data.flags.writeable = labels.flags.writeable = False
    net = make(text())
    net.set_input_arrays(data, labels)
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data, data)
    assert not recwarn.list


def test_arrays_go_to_the_gpu_without_a_wait():
    data, labels = arrays(4)
    with emulated_gpus():
        caffe.set_mode_gpu()
        run = Run("MemoryData", PARAM, tops=2)
        run.layer.set_arrays(data, labels)
        waits.clear()
        for start in (0, 2, 0):
            run.layer.reshape(run.bottom, run.top)
            run.layer.forward(run.bottom, run.top)
            tops = [top.read() for top in run.top]
            assert waits == []
            assert all(top.is_cuda for top in tops)
            np.testing.assert_array_equal(tops[0].cpu().numpy(), data[start : start + 2])
            np.testing.assert_array_equal(tops[1].cpu().numpy().ravel(), [start, start + 1])
            waits.clear()


def test_a_transformation_is_left_out_with_a_warning(make, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    data, labels = arrays(2)
    net = make(text(rest="transform_param { scale: 5 }"))
    net.set_input_arrays(data, labels)
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data, data)
    assert "does not transform array data" in capfd.readouterr().err


@pytest.mark.parametrize("missing", ["batch_size: 2", "channels: 1", "height: 3", "width: 4"])
def test_a_size_that_is_not_given_is_refused(refused, missing):
    refused(text(PARAM.replace(missing, "")), "batch_size, channels, height and width", "given")


def test_a_forward_without_arrays_is_refused(refused):
    refused(text(), "call Net.set_input_arrays(data, labels)", forward=1)


GOOD, LABELS = arrays(4)
WRONG = {
    "doubles": (GOOD.astype(np.float64), LABELS, "data array must be float32"),
    "three axes": (GOOD[:, 0], LABELS, "data array must be 4-d"),
    "every second one": (np.repeat(GOOD, 2, axis=0)[::2], LABELS, "data array must be C contig"),
    "a list": (GOOD.tolist(), LABELS, "data array must be C contiguous"),
    "two channels": (np.repeat(GOOD, 2, axis=1), LABELS, "data array has wrong channels: 2, not 1"),
    "one row less": (GOOD[:, :, 1:].copy(), LABELS, "data array has wrong height: 2, not 3"),
    "one column less": (GOOD[..., 1:].copy(), LABELS, "data array has wrong width: 3, not 4"),
    "whole labels": (GOOD, LABELS.astype(np.int64), "labels array must be float32"),
    "labels of two axes": (GOOD, LABELS[:, None], "labels array must be 4-d"),
    "two labels each": (GOOD, np.ones((4, 2, 1, 1), "f4"), "labels array has wrong channels"),
    "fewer labels": (GOOD, LABELS[:2], "the same first dimension"),
    "half a batch": (GOOD[:3], LABELS[:3], "multiple of batch size"),
    "nothing": (GOOD[:0], LABELS[:0], "multiple of batch size"),
}


@pytest.mark.parametrize("what", WRONG)
def test_other_arrays_are_refused_and_the_ones_before_stay(make, what):
    data, labels, words = WRONG[what]
    net = make(text())
    net.set_input_arrays(GOOD, LABELS)
    with pytest.raises(InputError, match=f"^layer 'd' .MemoryData.: .*{words}") as error:
        net.set_input_arrays(data, labels)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data, GOOD[:2])


def test_a_net_that_begins_with_another_layer_takes_no_arrays(make):
    net = make('layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    with pytest.raises(InputError, match="the first layer is no MemoryData layer"):
        net.set_input_arrays(GOOD, LABELS)


def test_a_restored_state_goes_on_in_the_arrays_that_are_set(make):
    data, labels = arrays(6)
    first, second = make(text()), make(text())
    for net in (first, second):
        net.set_input_arrays(data, labels)
    first.forward()
    state = first.layer_dict["d"].state()
    second.layer_dict["d"].restore_state(state)
    for net in (first, second):
        net.forward()
    np.testing.assert_array_equal(second.blobs["label"].data, first.blobs["label"].data)
    second.set_input_arrays(*(array[:2] for array in (data, labels)))
    second.layer_dict["d"].restore_state(state)  # they end before
    second.forward()
    assert second.blobs["label"].data.ravel().tolist() == [0, 1]
    with pytest.raises(ValueError):
        second.layer_dict["d"].restore_state({"at": 1})
