"""Whether snapshots can be written where they are to be, and where else a last one can go."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator

from ..errors import InputError

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def check_prefix(prefix: str) -> None:
    """Raise InputError for a snapshot_prefix under which no file can be written: at once, not
    after the first iterations."""
    folder = os.path.dirname(prefix) or "."
    if "\0" in prefix:
        raise _wrong(prefix, "has a NUL character, which no file name can have")
    if not os.path.isdir(folder):
        remedy = f"make the folder {folder}"
        if os.path.exists(folder):
            remedy = f"{folder} is a file; choose another folder"
        raise _wrong(prefix, f"no file can be written there; {remedy}")
    if not os.access(folder, os.W_OK):
        raise _wrong(prefix, f"no file can be written there; make the folder {folder} writable")


def check_room(prefix: str, files: dict[str, int]) -> None:
    """Raise InputError unless the files `prefix` + name, of so many bytes each, could be written
    now, all of them; tried with files that are removed again."""
    check_prefix(prefix)
    folder, start = os.path.split(prefix)
    for name in files:
        if os.path.isdir(prefix + name):
            raise _wrong(prefix, f"{prefix + name} is a folder; move it away")
    try:
        with contextlib.ExitStack() as trials:
            for name, size in files.items():
                path = os.path.join(folder, f".{start}{name}.{os.getpid()}.part")
                _reserve(trials.enter_context(_temporary(path)), size)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _wrong(prefix, "is too long for a file name; choose a shorter one") from None
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            size = sum(files.values())
            raise _wrong(
                prefix,
                f"a snapshot takes {size / 1e6:.4g} MB and does not fit there "
                f"({error.strerror}); free space, or choose another folder",
            ) from None
        raise _wrong(prefix, f"no file can be written there ({error.strerror})") from None


def _wrong(prefix: str, what: str) -> InputError:
    shown = prefix if len(prefix) <= 120 else prefix[:100] + "…"
    return InputError(f"snapshot_prefix {shown!r}: {what}")


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(path)


def _reserve(handle: int, size: int) -> None:
    """Take `size` bytes for a file without writing them; OSError where they are not there. On file
    systems that cannot, the free space is asked for."""
    if size and not _fallocate(handle, size):
        free = os.fstatvfs(handle)
        if free.f_bavail * free.f_frsize < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _fallocate(handle: int, size: int) -> bool:
    # Not os.posix_fallocate: the C library would write where the file system cannot reserve.
    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if function is None:
        return False
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if function(handle, 0, 0, size) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code))


def elsewhere(prefix: str) -> Iterator[str]:
    """Other prefixes of the same name, in new folders, for a last snapshot that cannot be written
    at `prefix`. The folders that stay empty are removed."""
    for parent in dict.fromkeys([os.getcwd(), tempfile.gettempdir(), os.path.expanduser("~")]):
        try:
            folder = tempfile.mkdtemp(prefix="snapshot-", dir=parent)
        except OSError:
            continue
        yield os.path.join(folder, os.path.basename(prefix) or "snapshot")
        with contextlib.suppress(OSError):
            os.rmdir(folder)
