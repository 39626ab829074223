"""Copies between host and device: what waits, and when the numbers are there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe.compute import transfers
from caffe.engine import Error
from tests.helpers import emulated_gpu
from tests.helpers.emulated_gpu import copies, emulated_gpus, waits

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu():
    with emulated_gpus(1):
        yield


@pytest.fixture(params=[CPU, GPU], ids=str)
def device(request, gpu):
    return request.param


def on(device, *numbers, dtype=torch.float32):
    made = torch.zeros(len(numbers), dtype=dtype, device=device)
    return made.copy_(torch.tensor(numbers, dtype=dtype))


def test_tensors_of_several_kinds_are_fetched_in_one_wait(gpu):
    near, far = on(CPU, 1.0, 2.0), on(GPU, 0.1, 3.0)
    double = on(GPU, 0.1, dtype=torch.float64).view(1, 1)
    waits.clear()
    found = transfers.fetch([near, far, double])
    assert [wait.bytes for wait in waits] == [3 * 8]
    assert [array.dtype for array in found] == [np.float32, np.float32, np.float64]
    assert found[1].tolist() == np.float32([0.1, 3.0]).tolist()
    assert found[2].tolist() == [[0.1]]


def test_nothing_is_fetched_of_nothing(device):
    assert transfers.fetch([]) == []
    assert transfers.fetch([on(device)])[0].shape == (0,)


def test_what_is_sent_may_change_at_once_and_does_not_wait(device):
    source, target = torch.ones(3), on(device, 0.0, 0.0, 0.0)
    waits.clear()
    transfers.send(source, target)
    source.fill_(2)
    assert waits == []
    assert target.cpu().tolist() == [1, 1, 1]


def test_what_is_fetched_later_is_as_it_was(device):
    first, second = on(device, 1.0, 2.0), on(device, 7.0)
    waits.clear()
    fetching = transfers.Fetching([first, second])
    first.zero_()
    assert waits == []
    assert [array.tolist() for array in fetching.arrays()] == [[1, 2], [7]]
    assert waits == (["synchronize"] if device == GPU else [])


def test_what_has_arrived_is_not_waited_for(device):
    fetching = transfers.Fetching([on(device, 5.0)])
    assert fetching.arrived()
    waits.clear()
    assert fetching.arrays()[0].tolist() == [5] and waits == []


def test_what_failed_on_the_gpu_before_is_one_line_where_it_is_waited_for(gpu, monkeypatch):
    def fail(mark):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    fetching = transfers.Fetching([on(GPU, 5.0)])
    monkeypatch.setattr(emulated_gpu._Mark, "synchronize", fail)
    monkeypatch.setattr(emulated_gpu._Mark, "query", fail)
    for wait in (fetching.arrived, fetching.arrays):
        with pytest.raises(Error, match="the GPU failed.*start again, from the newest snapshot"):
            wait()


def test_the_emulation_shows_numbers_that_are_read_before_they_are_there(gpu):
    fetching = transfers.Fetching([on(GPU, 5.0)])
    assert np.isnan(fetching._arrays[0].numpy()).all()


def test_the_emulation_counts_copies_out_of_pageable_memory_as_waits(gpu):
    target = on(GPU, 0.0, 0.0)
    waits.clear()
    copies.clear()
    target.copy_(torch.ones(2), non_blocking=True)
    torch.tensor([1, 2], device=GPU)
    target[target > 0]
    torch.ones(5).to(GPU)
    assert [wait.bytes for wait in waits] == [8, 16, 8, 20] and copies == []
    target.copy_(transfers.stage(torch.ones(2), GPU))  # pinned, but it says to wait
    assert len(waits) == 5
