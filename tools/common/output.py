"""Output that may go away while work goes on (`| head`, a closed terminal, a full disk), and that a
name from a stranger's file could steer.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings

from prototxt.terminal import visible


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


class Plain:
    """A text stream that shows what could steer a terminal by an escape (`visible`); ends of lines,
    and tabs, stay."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        parts = re.split("([\n\t])", text)
        return self._stream.write("".join(p if p in ("\n", "\t") else visible(p) for p in parts))

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def plain_output():
    """Context in which stdout is Plain, and a warning of Python's or a library's one line of it on
    stderr."""
    before = sys.stdout

    def show(message, category, *place, **more):
        line = " ".join(str(message).split())
        print("warning: " + visible(line), file=Expendable(sys.stderr), flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        if before is not None:  # closed before this Python began
            sys.stdout = Plain(before)
        try:
            yield
        finally:
            sys.stdout = before


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
