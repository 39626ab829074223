"""The one way in which the data layers open files: regular files, at most so large."""

from __future__ import annotations

import os
from typing import BinaryIO

from segmentation.params import DataError

LARGEST_LIST = 512 << 20
"""Bytes of a list of ids or of a text."""
LARGEST_PICTURE = 1 << 30
"""Bytes of a picture's file."""


def open_regular(path, most: int) -> BinaryIO:
    """The file `path`, open to read its bytes. OSError where it cannot be opened; DataError for a
    FIFO (which would be waited for), a device or a socket, and for more than `most` bytes."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise DataError(f"{path}: a pipe, a device or a socket; expected a regular file")
    file = open(path, "rb")  # noqa: SIM115 (the caller's to close)
    size = os.fstat(file.fileno()).st_size
    if size > most:
        file.close()
        raise DataError(f"{path}: larger than {most} bytes ({size}); is it the right file?")
    return file


def read_regular(path, most: int) -> bytes:
    """The content of the file `path`; what it raises is as of `open_regular`."""
    with open_regular(path, most) as file:
        return file.read()
