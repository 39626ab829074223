"""Files that are never half written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import BinaryIO

from caffe.errors import Error
from caffe.proto import not_utf8


def reason(err: Exception) -> str:
    """The system's own words for an OSError, without the errno and the path."""
    return getattr(err, "strerror", None) or str(err).split("\n", 1)[0] or type(err).__name__


def _sync_folder(path: str) -> None:
    # Not every file system lets a folder be opened or synced; the rename itself has happened.
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove what processes that were killed while writing `name` have left beside it."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):
            writer = entry[len(name) + 2 : -len(".part")]
            if entry != f".{name}.{writer}.part" or not writer.isdigit():
                continue
            try:
                os.kill(int(writer), 0)
            except ProcessLookupError:
                os.unlink(os.path.join(folder, entry))


def in_the_way(path, what: str, ours: Callable[[BinaryIO], bool]) -> str:
    """Why the file ``path`` must not be replaced by ``what`` ("a file of HDF5Output"), in words:
    something else is there. "" where nothing is, or an empty file, or one that ``ours(file)``,
    a binary file at its beginning, knows as written by us."""
    name = not_utf8.path(path)
    if not os.path.lexists(name):
        return ""
    if not os.path.isfile(name):
        return "no regular file is there; give another name"
    try:
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0 or ours(file):
                return ""
    except OSError as err:
        return f"it cannot be read ({reason(err)}); give another name"
    return f"the file that is there is not {what}; delete it, or give another name"


_together: list[list[tuple[str, str]]] = []
"""The innermost `together`'s files that are written: (where each lies, its place)."""


@contextlib.contextmanager
def together():
    """Context: what ``atomic_path`` writes in it takes its place at the end of the whole block, in
    the order of writing, after the file in the last one's place has gone: where the last one is,
    all the others are of the same writing. If the block fails, everything stays as it was; if one
    cannot take its place, the last one's is empty."""
    written: list[tuple[str, str]] = []
    _together.append(written)
    try:
        yield
        if written:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(written[-1][1])
        for part, target in written:
            os.replace(part, target)
    except BaseException as err:
        for part, _ in written:
            with contextlib.suppress(OSError):
                os.unlink(part)
        if isinstance(err, OSError):
            raise Error(f"cannot write {err.filename2 or err.filename}: {reason(err)}") from err
        raise
    finally:
        _together.pop()
    for folder in {os.path.dirname(target) for _, target in written}:
        _sync_folder(folder)


@contextlib.contextmanager
def atomic_path(path):
    """Context: a name beside ``path`` to write to; it takes ``path``'s place at the end.

    The file is synced, renamed, and its folder synced. If the block fails, the new file is
    removed and what stood at ``path`` stays as it was. OSErrors become ``caffe.errors.Error``.
    """
    target = os.path.realpath(not_utf8.path(path))
    folder, name = os.path.split(target)
    part = os.path.join(folder, f".{name}.{os.getpid()}.part")
    _remove_leftovers(folder, name)
    try:
        try:
            yield part
            handle = os.open(part, os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if _together:
                _together[-1].append((part, target))
                return
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as err:
        raise Error(f"cannot write {os.fspath(path)}: {reason(err)}") from err
    _sync_folder(folder)


@contextlib.contextmanager
def atomic_write(path):
    """Context: a binary file object whose content takes ``path``'s place at the end."""
    with atomic_path(path) as part, open(part, "wb") as file:
        yield file
