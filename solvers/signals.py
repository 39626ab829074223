"""Ctrl-C and its kin, heard between a training's iterations."""

from __future__ import annotations

import contextlib
import os
import signal
import sys


class SignalRequests:
    """What signals have asked for: `stop` (the signal's number) and `snapshot`."""

    def __init__(self):
        self.stop = 0
        self.snapshot = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_snapshot)

    def _on_stop(self, number, frame):
        self.stop = number
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
