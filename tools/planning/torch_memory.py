"""The memory of PyTorch's tensors and buffers on the CPU, as its own profiler counts it."""

from __future__ import annotations

import gc
import json
import os
import tempfile

import torch


def peak_of(run):
    """The most bytes that PyTorch has in use while `run()` runs once: what is held before, and
    what comes on top. What `run` holds must be as much after it as before."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profiler.export_chrome_trace(path)
        with open(path, encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"
    ]
    live = most = 0
    for _, change in sorted(changes, key=lambda one: one[0]):
        live += change
        most = max(most, live)
    return _held() - live + most


def _held():
    """The bytes of all tensors that Python knows."""
    found = {}
    for one in gc.get_objects():
        if type(one) in (torch.Tensor, torch.nn.Parameter) and one.layout == torch.strided:
            storage = one.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())
