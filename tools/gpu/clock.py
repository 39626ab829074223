"""How long a pass takes: each waited for, and several in a row without waiting."""

from __future__ import annotations

import statistics
import time

WARM = 3  # passes before any is counted: kernels are loaded, algorithms chosen, memory is reserved
MOST = 12  # passes that are counted, of each kind


def repeated(run, wait, seconds, run_in_a_row=None, warm=WARM):
    """Times of `run()`, whose work `wait()` waits for, in about so many `seconds`;
    `run_in_a_row(count)` runs so many passes, by default one after the other; the first `warm`
    are not counted.

    Returns {first, median, least, most, in_a_row: seconds of one pass, count}: `first` of the very
    first, in_a_row the mean of `count` passes that are waited for only at their end, where the
    host may run ahead of the device; the others of `count` passes each waited for.
    """
    first = _timed(run, wait)
    for _ in range(warm - 1 if first < seconds else 0):
        run()
    wait()
    times = [_timed(run, wait)]
    count = max(1, min(MOST, int(seconds / max(times[0], 1e-9)) // 2))
    times += [_timed(run, wait) for _ in range(count - 1)]
    began = time.perf_counter()
    if run_in_a_row is None:
        for _ in range(count):
            run()
    else:
        run_in_a_row(count)
    wait()
    return {
        "first": first,
        "median": statistics.median(times),
        "least": min(times),
        "most": max(times),
        "in_a_row": (time.perf_counter() - began) / count,
        "count": count,
    }


def _timed(run, wait):
    began = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - began
