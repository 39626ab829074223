"""What is read out of a trace of PyTorch's profiler."""

from __future__ import annotations

import json

import pytest

from tools.gpu import torch_timing, traces


def event(kind, name, ts, dur, **args):
    return {"ph": "X", "cat": kind, "name": name, "ts": ts, "dur": dur, "args": args}


def launch(number, ts, kind="cuda_runtime"):
    return event(kind, "launch", ts, 2, correlation=number)


def kernel(number, ts, dur, kind="kernel"):
    return event(kind, "kernel", ts, dur, correlation=number)


PARTS = [event("user_annotation", f"layer:{n}", ts, 10) for n, ts in (("b", 20), ("a", 0))]


def test_a_kernel_belongs_to_the_part_that_launched_it():
    """However late it runs; copies count, and launches through the driver."""
    events = [*PARTS, launch(1, 3), launch(2, 25, "cuda_driver"), launch(3, 26)]
    events += [kernel(1, 100, 5), kernel(2, 110, 7), kernel(3, 120, 1, "gpu_memcpy")]
    named, total = traces.work({"traceEvents": events}, "layer:")
    assert named["layer:a"] == traces.Work(pytest.approx(5e-6), 1)
    assert named["layer:b"] == traces.Work(pytest.approx(8e-6), 2)
    assert total == traces.Work(pytest.approx(13e-6), 3)


def test_what_is_launched_in_no_part_counts_in_the_whole_alone():
    events = [*PARTS, launch(1, 15), kernel(1, 50, 5), kernel(9, 60, 5)]
    named, total = traces.work({"traceEvents": events}, "layer:")
    assert named == {} and total == traces.Work(pytest.approx(10e-6), 2)


def test_kernels_that_run_side_by_side_take_their_time_once():
    events = [*PARTS, launch(1, 1), launch(2, 2), launch(3, 3)]
    events += [kernel(1, 100, 10), kernel(2, 105, 10), kernel(3, 107, 2)]
    assert traces.work({"traceEvents": events}, "layer:")[1].busy == pytest.approx(15e-6)


def test_a_trace_of_the_cpu_has_the_parts_and_no_kernels(tmp_path):
    notes = torch_timing.Annotations()

    def run():
        for name in ("layer:a", "layer:b"):
            notes.begin(name)
            notes.end()

    torch_timing.trace(None, run, tmp_path / "trace.json")
    found = json.loads((tmp_path / "trace.json").read_text())
    names = [e["name"] for e in found["traceEvents"] if e.get("cat") == "user_annotation"]
    assert [name for name in names if name.startswith("layer:")] == ["layer:a", "layer:b"]
    assert traces.work(found, "layer:") == ({}, traces.Work(0.0, 0))
