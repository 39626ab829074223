"""The one way in which files are opened to be read: regular files only, at most so large.

Opening never waits, as it would for a FIFO that nobody writes to, and nothing is mapped: a mapped
file that another process cuts short ends this one.
"""

from __future__ import annotations

import mmap
import os
import stat
from io import BufferedReader, FileIO

from caffe.errors import InputError
from caffe.proto import not_utf8
from caffe.proto.files import reason

LARGEST_LIST = 512 << 20
"""Bytes of a text that lists pictures, windows or files."""
LARGEST_MESSAGE = (1 << 31) - 1
"""What protobuf's C++ readers, BVLC Caffe's among them, accept for one message."""
LARGEST_PICTURE = 1 << 30
"""Bytes of a picture's file."""

_PIECE = 1 << 24  # read at once
_PAGE = 1 << 16  # kept by FileBytes, whose readers go from one place to the next
# NOCTTY: a terminal named by mistake does not become this process's own.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO or pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class RegularFile(BufferedReader):
    """A file that takes no more memory to be read than what is left of it, whatever number of bytes
    is asked for: readers ask for as many as a damaged file says."""

    def read(self, size=-1, /):
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size is None or size < 0 or (not left and size <= _PIECE):
            return super().read(size)
        return super().read(min(size, left))


def _size(name: str, found: os.stat_result, most: int | None) -> int:
    if not stat.S_ISREG(found.st_mode):
        other = next((what for test, what in _OTHERS if test(found.st_mode)), "something else")
        raise InputError(f"cannot read {name}: it is {other}, not a regular file")
    if most is not None and found.st_size > most:
        raise InputError(f"cannot read {name}: {found.st_size} bytes are more than {most}")
    return found.st_size


def check_regular(path, most: int | None = None) -> int:
    """Size in bytes of the regular file ``path``; InputError if it is none, or larger than
    ``most`` bytes."""
    name = not_utf8.path(path)
    try:
        return _size(name, os.stat(name), most)
    except (OSError, ValueError) as err:
        raise InputError(f"cannot read {name}: {reason(err)}") from err


def open_regular(path, most: int | None = None) -> RegularFile:
    """The regular file ``path``, open to read its bytes. InputError, which names it, if it is
    none, cannot be read, or is larger than ``most`` bytes."""
    name = not_utf8.path(path)
    check_regular(name, most)  # before opening: a device may do something when it is opened
    try:
        handle = os.open(name, _FLAGS)
        try:
            _size(name, os.fstat(handle), most)
            return RegularFile(FileIO(handle, "rb"))
        except BaseException:
            os.close(handle)
            raise
    except OSError as err:
        raise InputError(f"cannot read {name}: {reason(err)}") from err


def read_regular(path, most: int) -> bytes:
    """The content of the regular file ``path``; InputError as ``open_regular``."""
    with open_regular(path, most) as file:
        try:
            content = file.read()
        except OSError as err:
            raise InputError(f"cannot read {not_utf8.path(path)}: {reason(err)}") from err
    if len(content) > most:  # it grew, or is one whose size is not told, as those of /proc
        raise InputError(f"cannot read {not_utf8.path(path)}: it has more than {most} bytes")
    return content


def _shorter(name: str) -> InputError:
    return InputError(f"{name}: became shorter while it was read; copy or download it again")


def read_whole(path, most: int = LARGEST_MESSAGE) -> memoryview:
    """A file's bytes, read-only, in memory of their own, which is given back to the system with
    the last view of it. InputError as ``open_regular``, and for an empty file."""
    name = not_utf8.path(path)
    with open_regular(name, most) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise InputError(f"{name}: the file is empty")
        try:
            view = memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            filled = 0
            while filled < size:
                count = file.readinto(view[filled : filled + _PIECE])
                if not count:
                    raise _shorter(name)
                filled += count
        except OSError as err:
            raise InputError(f"cannot read {name}: {reason(err)}") from err
    return view.toreadonly()


class FileBytes:
    """The bytes of a regular file, read where they are asked for: ``len``, ``[i]``, ``[a:b]`` and
    ``find``, as ``bytes`` has them. A context; InputError as ``open_regular``, and where the file
    has become shorter."""

    def __init__(self, path):
        self.name = not_utf8.path(path)
        self._file = open_regular(self.name)
        self._length = os.fstat(self._file.fileno()).st_size
        self._page, self._start = b"", 0

    def __enter__(self) -> FileBytes:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def _read(self, start: int, end: int) -> bytes:
        try:
            self._file.seek(start)
            found = self._file.read(end - start)
        except OSError as err:
            raise InputError(f"cannot read {self.name}: {reason(err)}") from err
        if len(found) < end - start:
            raise _shorter(self.name)
        return found

    def __getitem__(self, place):
        if isinstance(place, slice):
            start, end, _ = place.indices(self._length)
            return self._read(start, max(start, end))
        if not 0 <= place < self._length:
            raise IndexError(place)
        if not 0 <= place - self._start < len(self._page):
            self._start = place
            self._page = self._read(place, min(place + _PAGE, self._length))
        return self._page[place - self._start]

    def find(self, sought: bytes, start: int = 0) -> int:
        """The first place of ``sought`` from ``start`` on, or -1."""
        while start < self._length:
            found = self[start : start + _PIECE].find(sought)
            if found >= 0:
                return start + found
            # What is sought may begin in this piece and end in the next.
            start += _PIECE - len(sought) + 1
        return -1
