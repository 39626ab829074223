"""Log lines in the form of Google's logging library, which Caffe's log parsers read.

A log that cannot be written (its reader is gone, its disk is full, its terminal was closed) ends
no training: its lines are dropped.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import types

from .errors import visible

INFO, WARNING, ERROR = 0, 1, 2
_state: dict = {"min_level": None, "dropping": False}


def occupy_standard_streams() -> None:
    """Open the null device where a standard stream is closed: the next file that is opened, a
    snapshot say, would take its number, and log lines would be written into it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


occupy_standard_streams()


def set_min_level(level: int | None) -> None:
    """Leave out lines below `level`; None: as the variable GLOG_minloglevel says (default 0)."""
    _state["min_level"] = level


@contextlib.contextmanager
def silent():
    """Context in which no lines are written."""
    before = _state["min_level"]
    _state["min_level"] = ERROR + 1
    try:
        yield
    finally:
        _state["min_level"] = before


def shown(value) -> str:
    """A number as glog shows it, six digits, but 0 for -0: the mean of no labels is no loss."""
    return f"{value + 0.0:.6g}"


def log(message: str, level: int = INFO, where: str = "solver.py:1") -> None:
    """Write `I1231 23:59:59.999999 <thread> <where>] <message>` to file descriptor 2.

    As glog does: what a program puts in `sys.stderr`'s place is not the log's. A line that cannot
    be written is dropped; the first time a warning goes to `sys.stderr`, where that is elsewhere.
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
    line = f"{'IWE'[level]}{stamp} {thread:5d} {where}] {visible(message, lines=True)}\n"
    try:
        os.write(2, line.encode("utf-8", "replace"))
        _state["dropping"] = False
    except OSError as error:
        _warn_of_dropping(error)


def _warn_of_dropping(error: OSError) -> None:
    if _state["dropping"]:
        return
    _state["dropping"] = True
    try:
        if sys.stderr is not None and sys.stderr.fileno() != 2:
            reason = error.strerror
            print(
                f"warning: the log cannot be written ({reason}): lines are left out until it can",
                file=sys.stderr,
                flush=True,
            )
    except (OSError, ValueError):  # no output is left, or it has no number
        pass


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
