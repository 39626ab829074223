"""Log lines in the form of Google's logging library, which Caffe's log parsers read."""

from __future__ import annotations

import os
import sys
import threading
import time
import types

INFO, WARNING, ERROR = 0, 1, 2
_state: dict[str, int | None] = {"min_level": None}


def set_min_level(level: int | None) -> None:
    """Leave out lines below `level`; None: as the variable GLOG_minloglevel says (default 0)."""
    _state["min_level"] = level


def shown(value) -> str:
    """A number as glog shows it, six digits, but 0 for -0: the mean of no labels is no loss."""
    return f"{value + 0.0:.6g}"


def log(message: str, level: int = INFO, where: str = "solver.py:1") -> None:
    """Write `I1231 23:59:59.999999 <thread> <where>] <message>` to file descriptor 2.

    As glog does: what a program puts in `sys.stderr`'s place is not the log's.
    """
    least = _state["min_level"]
    if least is None:
        text = os.environ.get("GLOG_minloglevel", "0")  # noqa: SIM112 (glog's own name)
        least = int(text) if text.isdigit() else 0
    if level < least:
        return
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1e6):06d}"
    thread = threading.get_native_id()
    line = f"{'IWE'[level]}{stamp} {thread:5d} {where}] {message}\n"
    os.write(2, line.encode("utf-8", "replace"))


def init_log(level: int = INFO, stderr: bool = True) -> None:
    """Write log lines of `level` (0 info, 1 warning, 2 error) and above, from now on.

    With stderr=False only errors: there are no log files that the rest could go to.
    """
    set_min_level(int(level) if stderr else max(int(level), ERROR))


class _Callable(types.ModuleType):
    """`caffe.log` is this module, and pycaffe's function: `caffe.log("message")`."""

    def __call__(self, message: str) -> None:
        log(str(message), where="pycaffe.py:1")


sys.modules[__name__].__class__ = _Callable
