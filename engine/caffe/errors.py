"""Errors that the engine raises, with the exit code a command line tool should end with."""

from __future__ import annotations

import re

_LONGEST = 2000
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
_UNSEEN_IN_LINES = re.compile(f"[{_UNSEEN}]")
_UNSEEN_IN_ONE_LINE = re.compile(f"[\t\n{_UNSEEN}]")


def visible(text: str, lines: bool = False) -> str:
    """`text` for a terminal: characters that would steer it, hide what follows, turn its direction
    or break the line are shown as escapes. With `lines`, line breaks and tabs stay."""
    unseen = _UNSEEN_IN_LINES if lines else _UNSEEN_IN_ONE_LINE
    return unseen.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _one_line(message: str) -> str:
    """Without line breaks, and its middle left out where it is long: names out of a damaged file
    stand in it."""
    line = visible(" ".join(message.rstrip("\r\n").replace("\r\n", "\n").split("\n")))
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"


class Error(RuntimeError):
    """The work failed: a disk is full, a device is lost, a number overflowed."""

    exit_code = 1

    def __init__(self, message=""):
        super().__init__(_one_line(str(message)))


class InputError(Error):
    """An input is wrong: a prototxt, a caffemodel, a shape, a device that is not there."""

    exit_code = 2


class FileError(InputError, OSError):
    """A file cannot be read; also an OSError, which scripts that skip such files catch."""


class WrongArray(InputError, ValueError):
    """An array, a file or a setting that does not fit; pycaffe raises a ValueError."""
