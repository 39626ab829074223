"""Ctrl-C and its kin, heard between a training's iterations."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

EARLY = 128
"""`stop` of a training that is to end as it becomes no better: above the number of any signal."""
TWICE = 2.0
"""Seconds within which a second signal to one of several processes is the first again: from the
terminal and from torchrun."""


def torchrun_passes_on(name):
    """Whether torchrun has started this process, and ends it after it was sent that signal."""
    told = os.environ.get("TORCHELASTIC_SIGNALS_TO_HANDLE", name)  # older ones do not tell
    return "TORCHELASTIC_RUN_ID" in os.environ and name in told.split(",")


class SignalRequests:
    """What signals have asked for: `stop` (the signal's number) and `snapshot`.

    alone: whether this process is, so that a second signal is meant as one. Of several, SIGHUP
    stops where torchrun has passed it on: it kills them 30 s later."""

    def __init__(self, alone=True):
        self.stop = 0
        self.alone, self.since = alone, 0.0
        self.snapshot = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_stop)
        stops = not alone and torchrun_passes_on("SIGHUP")
        signal.signal(signal.SIGHUP, self._on_stop if stops else self._on_snapshot)

    def _on_stop(self, number, frame):
        if self.stop:
            if time.monotonic() - self.since > TWICE:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.stop, self.since = number, time.monotonic()
        if self.alone:
            signal.signal(number, signal.SIG_DFL)
        # Not print: a handler may interrupt one.
        line = b"\nstopping after this iteration, with a snapshot; once more stops at once\n"
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be closed
            os.write(sys.stderr.fileno(), line)

    def _on_snapshot(self, number, frame):
        self.snapshot = True

    def action(self):
        """For the solver's action function: "stop", "snapshot" or None."""
        if self.stop:
            return "stop"
        wanted, self.snapshot = self.snapshot, False
        return "snapshot" if wanted else None
