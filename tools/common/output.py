"""Output that may go away while work goes on: `| head`, a closed terminal, a full disk."""

from __future__ import annotations

import contextlib
import os
import sys


class Expendable:
    """A text stream whose writes never fail: what cannot be written is dropped."""

    def __init__(self, stream):
        """stream: a text stream, or None, which Python has where one was closed before it."""
        self._stream = stream

    def write(self, text):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # None: it was closed
            self._stream.write(text)
        return len(text)

    def flush(self):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def isatty(self):
        return bool(self._stream is not None and self._stream.isatty())

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def expendable_output():
    """Context in which a lost stdout or stderr ends nothing."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    mine = {name: Expendable(stream) for name, stream in before.items()}
    for name, stream in mine.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in mine.items():
            settle(stream)
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])


def settle(stream):
    """Write out what a stream still holds, or nowhere where it cannot: Python would fail at its
    end otherwise."""
    try:
        getattr(stream, "_stream", stream).flush()
    except (OSError, ValueError, AttributeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
