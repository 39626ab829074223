"""The one way in which the toolkit opens files to read them: regular files, at most so large."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

LARGEST_TEXT = 8 << 20
"""Bytes of a prototxt, a TOML or another text that people write."""
LARGEST_LIST = 512 << 20
"""Bytes of a list of ids or paths."""
LARGEST_PICTURE = 1 << 30
"""Bytes of a picture's file."""


class UnfitFile(OSError):
    """What a path names is no regular file, or too large. `strerror` says so."""

    exit_code = 2

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_regular(path, most: int | None = None) -> BinaryIO:
    """The regular file `path`, open to read its bytes. OSError where it cannot be opened; UnfitFile
    for a FIFO (which is not waited for), a device or a socket, and for more than `most` bytes."""
    path = os.fspath(path)
    _check(path, os.stat(path), most)  # before opening: a device may do something when opened
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(path, os.fstat(handle), most)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path, most: int = LARGEST_TEXT) -> bytes:
    """The content of the regular file `path`. OSError as `open_regular`."""
    with open_regular(path, most) as file:
        content = file.read()
    if len(content) > most:  # it grew, or is one whose size is not told, as those of /proc
        raise UnfitFile(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
    return content


def _check(path, found, most) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFile(
            errno.EINVAL, "it is a pipe, a device or a socket, not a regular file", path
        )
    if most is not None and found.st_size > most:
        raise UnfitFile(errno.EFBIG, f"{found.st_size} bytes are more than {most}", path)
