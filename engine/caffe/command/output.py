"""A lost stdout or stderr ends no command: `| head`, a closed terminal, a full disk under a log."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

_LOST = (OSError, ValueError, AttributeError)  # the last two: closed, or None from the beginning


class _Expendable:
    """A text stream whose writes never fail: what cannot be written is dropped. What a user's
    Python layer prints goes through it too."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(*_LOST):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(*_LOST):
            self._stream.flush()

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextlib.contextmanager
def expendable():
    """Context in which stdout and stderr are expendable. What they hold at its end is written out,
    or goes nowhere where it cannot: Python would fail at its own end otherwise."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Expendable, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _settle(stream)


def _settle(stream) -> None:
    try:
        stream.flush()
    except _LOST:
        with contextlib.suppress(*_LOST):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
