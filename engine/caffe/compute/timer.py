"""pycaffe's timer."""

from __future__ import annotations

import time

from .device import synchronize


class Timer:
    """Measures between `start()` and `stop()`; `ms` is the time in milliseconds (0 before).

    On a GPU both wait for its work to be done.
    """

    def __init__(self):
        self._started = None
        self._ms = 0.0

    def start(self) -> None:
        synchronize()
        self._started = time.perf_counter()

    def stop(self) -> None:
        if self._started is not None:
            synchronize()
            self._ms = (time.perf_counter() - self._started) * 1e3
            self._started = None

    @property
    def ms(self) -> float:
        """Stops a timer that runs."""
        self.stop()
        return self._ms
