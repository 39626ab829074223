"""When the host and the GPU are at which place of a pass: CUDA events, and PyTorch's profiler."""

from __future__ import annotations

import time

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from tools.gpu import torch_facts


class Marks:
    """Places in what is launched: when the host was there, and when the device was.

    On the CPU (gpu None) the host's times alone.
    """

    def __init__(self, gpu):
        self.gpu, self.host, self.events = gpu, [], []
        if gpu is not None:
            self.stream = torch.cuda.current_stream(gpu)
            self.base = self._event()
            torch_facts.synchronize(gpu)
        self.zero = time.perf_counter()

    def _event(self):
        event = torch.cuda.Event(enable_timing=True)
        event.record(self.stream)
        return event

    def mark(self):
        """Set a mark here; its number."""
        if self.gpu is not None:
            self.events.append(self._event())
        self.host.append(time.perf_counter())
        return len(self.host) - 1

    def seconds(self):
        """([the host's times at the marks], [the device's, or None]), seconds since the start."""
        torch_facts.synchronize(self.gpu)
        host = [moment - self.zero for moment in self.host]
        if self.gpu is None:
            return host, None
        return host, [self.base.elapsed_time(event) / 1e3 for event in self.events]


class Annotations:
    """Names what the host does from `begin` to `end`, in a trace."""

    def __init__(self):
        self.open = None

    def begin(self, name):
        self.open = record_function(name)
        self.open.__enter__()

    def end(self):
        if self.open is not None:
            self.open.__exit__(None, None, None)
        self.open = None


def trace(gpu, run, path):
    """Run `run()` under PyTorch's profiler and write the trace to `path`, JSON as of Chrome's
    tracing. It makes the host slower: only what kernels take is as without it."""
    kinds = [ProfilerActivity.CPU] + ([] if gpu is None else [ProfilerActivity.CUDA])
    with profile(activities=kinds) as found:
        run()
        torch_facts.synchronize(gpu)
    found.export_chrome_trace(str(path))
