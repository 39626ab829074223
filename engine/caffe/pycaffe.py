"""What pycaffe has beside nets and solvers: a timer, and a log that scripts write to."""

from __future__ import annotations

import sys
import time
import types

from . import log as _log
from .compute.device import synchronize


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


def init_log(level: int = _log.INFO, stderr: bool = True) -> None:
    """Write log lines of `level` (0 info, 1 warning, 2 error) and above, from now on.

    With stderr=False only errors: there are no log files that the rest could go to.
    """
    _log.set_min_level(int(level) if stderr else max(int(level), _log.ERROR))


class _CallableLog(types.ModuleType):
    """`caffe.log` is this module, and pycaffe's function: `caffe.log("message")`."""

    def __call__(self, message: str) -> None:
        self.log(str(message), where="pycaffe.py:1")


sys.modules[_log.__name__].__class__ = _CallableLog
