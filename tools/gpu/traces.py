"""What a trace of PyTorch's profiler says of kernels: how long, and launched in which part."""

from __future__ import annotations

import bisect
from collections import namedtuple

LAUNCHES = ("cuda_runtime", "cuda_driver")
KERNELS = ("kernel", "gpu_memcpy", "gpu_memset")
MICRO = 1e-6  # a trace's unit of time, seconds

Work = namedtuple("Work", "busy launches")
Work.__doc__ = """What the GPU did: seconds in which at least one kernel or copy ran, and how many
there were."""


def work(trace, prefix):
    """({annotation: Work}, the Work of all) of a trace, a dict as Chrome's tracing has it.

    Annotations are those whose names begin with `prefix`; they do not overlap. A kernel belongs to
    the annotation in which the host launched it.
    """
    events = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    parts = sorted(
        (event["ts"], event["ts"] + event["dur"], event["name"])
        for event in events
        if event.get("cat") == "user_annotation" and event["name"].startswith(prefix)
    )
    begins = [part[0] for part in parts]
    launched = {}
    for event in events:
        correlation = event.get("args", {}).get("correlation")
        if event.get("cat") in LAUNCHES and correlation is not None:
            launched[correlation] = event["ts"]
    spans = {}
    for event in events:
        if event.get("cat") in KERNELS:
            moment = launched.get(event.get("args", {}).get("correlation"))
            name = None if moment is None else _part_at(parts, begins, moment)
            spans.setdefault(name, []).append((event["ts"], event["ts"] + event["dur"]))
    everything = [span for found in spans.values() for span in found]
    named = {name: _work(spans[name]) for name in spans if name is not None}
    return named, _work(everything)


def _part_at(parts, begins, moment):
    """The name of the part in which `moment` is, or None."""
    number = bisect.bisect_right(begins, moment) - 1
    return parts[number][2] if number >= 0 and moment <= parts[number][1] else None


def _work(spans):
    """The Work of spans of time, some of which may overlap."""
    busy, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return Work(busy * MICRO, len(spans))
