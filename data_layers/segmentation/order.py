"""The order of a split's items, and reading them ahead in the background without changing it."""

from __future__ import annotations

import atexit
import functools
import queue
import random
import threading
import time
import weakref

IDLE_SECONDS = 60.0
"""A thread that nobody took from for so long ends; a later `take` says so.

BVLC Caffe never frees its Python layers, so their threads cannot wait for that.
"""


class Order:
    """Which item of `count` comes k-th (k from 0), in file order or drawn at random.

    Random order is Python's `random.seed(seed)` followed by `random.randint(0, count - 1)` for
    every item: drawn with replacement, as the FCN reference's loader does.
    """

    def __init__(self, count, randomize, seed):
        self.count, self.randomize, self.seed = count, randomize, seed
        self._restart()

    def _restart(self):
        self.random = random.Random(self.seed)
        self.drawn, self.last = 0, None

    def __call__(self, k):
        if not self.randomize:
            return k % self.count
        if k < self.drawn - 1:
            self._restart()
        while self.drawn <= k:
            self.last = self.random.randint(0, self.count - 1)
            self.drawn += 1
        return self.last


class Ended(Exception):
    """The thread is gone and has left nothing: read the item in some other way."""


def following(start, step, batch, k):
    """The item after item k of one of `step` solvers, which takes `batch` items in a row, `start`
    the first of them, then leaves out those of the others."""
    last = (k - start) % (step * batch) == batch - 1
    return k + 1 + (step - 1) * batch * last


class Ahead:
    """Calls load(k) for `start` and the items `following` it, in a thread, at most `depth` ahead.

    An exception of load(k) is raised by the `take()` whose turn it is; nothing follows it.
    The thread holds no reference to this object and ends soon after it is collected.
    """

    def __init__(self, load, start, step, depth, idle=IDLE_SECONDS, batch=1):
        self.next = start
        self._following = functools.partial(following, start, step, batch)
        self._queue: queue.Queue = queue.Queue(maxsize=depth)
        self._stopped: list[bool] = []  # a plain list: set without a lock, from the collector too
        self._thread = threading.Thread(
            target=_work,
            args=(load, start, self._following, self._queue, self._stopped, idle),
            name="read-ahead",
            daemon=True,
        )
        weakref.finalize(self, self._stopped.append, True).atexit = False
        _running.add(self)
        self._thread.start()

    def take(self):
        """The next item, waiting for it where needed. Raises Ended, or what load(k) raised."""
        while True:
            try:
                item, error = self._queue.get(timeout=1.0)
                break
            except queue.Empty:
                if not self._thread.is_alive() and self._queue.empty():
                    raise Ended from None
        if error is not None:
            raise error
        self.next = self._following(self.next)
        return item

    def alive(self):
        """False in a forked child, which inherits no threads, and after an error."""
        return self._thread.is_alive()

    def stop(self):
        self._stopped.append(True)


def _work(load, k, following, results, stopped, idle):
    while not stopped:
        try:
            result: tuple = (load(k), None)
        except Exception as error:
            result = (None, error)
        since = time.monotonic()
        while not stopped:
            try:
                results.put(result, timeout=0.2)
                break
            except queue.Full:
                if time.monotonic() - since > idle:
                    stopped.append(True)
                    while not results.empty():  # a layer that is never freed holds the queue
                        results.get_nowait()
        if result[1] is not None:
            return
        k = following(k)


_running: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _stop_all():
    """Let no thread be inside a decoder while the interpreter goes away."""
    running = list(_running)
    for ahead in running:
        ahead.stop()
    for ahead in running:
        ahead._thread.join(timeout=5)
