"""Exceptions as the one line and the exit code that a command ends with."""

from __future__ import annotations

import traceback

from ..compute.gpu_errors import gpu_error
from ..errors import visible

_WRONG_INPUT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def error_line(error: BaseException) -> str:
    """`error` as one line. One that was not foreseen is named, with where it arose: in a user's
    Python layer, that is the layer's file and line."""
    error = gpu_error(error) or error
    if isinstance(error, OSError) and error.strerror and not hasattr(error, "exit_code"):
        named = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return visible(named)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return visible("out of memory" + (f": {text}" if text else ""))
    if not hasattr(error, "exit_code"):
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}; " if frames else ""
        text = f"{type(error).__name__}: {text} ({place}TRACEBACK=1 shows more)"
    return visible(text)


def exit_code(error: BaseException) -> int:
    """2 where the call or an input is wrong, otherwise 1."""
    error = gpu_error(error) or error
    return getattr(error, "exit_code", 2 if isinstance(error, _WRONG_INPUT) else 1)
