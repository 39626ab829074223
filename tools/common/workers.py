"""Work spread over processes that end with this one, whatever it dies of, and are no loss."""

from __future__ import annotations

import collections
import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from tools.common.cli import warn

DIED = object()
"""The result of an item whose worker was killed or crashed."""


def each(work, items, jobs, start=None, args=(), fresh=True, batch=1):
    """Yield (item, work(item)) for every item, as they are done, from `jobs` processes.

    work, start  functions that a process can import; start(*args) is called first in each
    fresh        whether processes begin anew; otherwise, where the system forks, they have what is
                 imported here: quicker, but a fork of a process with busy threads (BLAS,
                 PyTorch) may hang
    batch        items handed to a process at a time, at most

    Ctrl-C reaches this process alone. An item that kills its worker (out of memory, a crash) has
    the result DIED, and the others go on. Where no process comes up at all, the work is done in
    this one, with a warning.
    """
    items = list(items)
    size = max(1, min(batch, len(items) // (4 * jobs)))
    waiting = collections.deque(items[i : i + size] for i in range(0, len(items), size))
    begin = (fresh, start, args)
    proven = False  # whether a process has ever done anything
    while waiting:
        lost = []
        for item, result in _run(work, waiting, min(jobs, len(waiting)), begin):
            if result is DIED:
                lost.append(item)
            else:
                proven = True
                yield item, result
        if lost and not (proven or _comes_up(begin)):
            warn("no worker process comes up (see above); going on in this one, which is slower")
            lost += [item for group in waiting for item in group]
            waiting.clear()
            if start is not None:
                start(*args)
            yield from ((item, work(item)) for item in lost)
        else:
            proven = True
            for item in lost:  # one of them killed the worker: each by itself
                yield from _run(work, collections.deque([[item]]), 1, begin)


def _run(work, waiting, jobs, begin):
    """Yield (item, result) until `waiting` is used up or a worker dies.

    What was under way then has the result DIED; the rest stays in `waiting`.
    """
    under_way, broken = {}, False
    pool = _pool(jobs, begin)
    try:
        while under_way or (waiting and not broken):
            while waiting and not broken and len(under_way) < 3 * jobs:
                try:
                    under_way[_submit(pool, _do, work, waiting[0])] = waiting[0]
                    waiting.popleft()
                except BrokenProcessPool:
                    broken = True
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                group = under_way.pop(future)
                try:
                    results = future.result()
                except BrokenProcessPool:
                    broken = True
                    results = [DIED] * len(group)
                yield from zip(group, results)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(jobs, begin):
    fresh, start, args = begin
    context = multiprocessing.get_context("spawn" if fresh else None)
    return ProcessPoolExecutor(jobs, context, _begin, (start, args))


def _submit(pool, *call):
    """pool.submit(*call); processes that it makes have SIGINT blocked until `_begin`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(*call)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _comes_up(begin):
    pool = _pool(1, begin)
    try:
        return _submit(pool, os.getpid).result() != os.getpid()
    except BrokenProcessPool:
        return False
    finally:
        pool.shutdown()


def _begin(start, args):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*args)


def _end_with_parent():
    """A worker whose parent was killed would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _do(work, items):
    return [work(item) for item in items]
