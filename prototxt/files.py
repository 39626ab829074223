"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO


def wrong_kind(path: str, wanted: str, *accepted: str) -> str:
    """That the file `path` is of another kind than `wanted` ("a picture"; `accepted` are the
    engine's short names of kinds), and what to do; "" where the engine does not run, or knows no
    better."""
    import caffe  # here: PyTorch is slow to import, and this is for files that are wrong

    engine = getattr(caffe, "engine", None)
    return engine.misfit(path, wanted, *accepted) if engine else ""


def in_the_way(path, what: str, ours: Callable[[BinaryIO], bool]) -> str:
    """Why the file `path` is not to be replaced by `what` ("a mask"), and what to do; "" where
    nothing is there, or an empty file, or one that `ours(file)` knows as written by us.

    ours: is given the file opened for reading bytes, at its beginning.
    """
    if not os.path.lexists(path):
        return ""
    if not os.path.isfile(path):
        return "what is there is no regular file; give another name"
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0 or ours(file):
                return ""
    except OSError as error:
        return f"is there and cannot be read ({error.strerror}); give another name"
    return f"the file that is there is not {what}, and is kept; delete it, or give another name"


@contextlib.contextmanager
def replacing(path) -> Iterator[str]:
    """Yield the path of a new file beside `path`, which takes its place when the block ends.

    Whatever happens, `path` is there as it was or as it is to be: the new file is flushed to disk
    before it is renamed, and removed where an error ends the block. An OSError names `path`.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    os.makedirs(folder or ".", exist_ok=True)
    part = os.path.join(folder, f".{os.getpid()}.{name}")
    try:
        yield part
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(part, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def write_atomic(path, data: bytes | str) -> None:
    """Write bytes or text as the file `path`: never half a file."""
    with replacing(path) as beside, open(beside, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
