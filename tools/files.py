"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile

from tools.cli import UserError


def write_atomic(path, data):
    """Write bytes or text beside `path`, flush to disk, then rename: never half a file."""
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=os.path.basename(path) + ".", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)  # mkstemp's own mode hides the file from others
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def make_folder(path):
    """Make a folder that will be written to; raises UserError before the work, not after it."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a folder ({error.strerror})") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: not writable; choose another folder")


def check_target(path):
    """Raise UserError unless the file `path` can be written; makes its folder."""
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; name a file")
    make_folder(os.path.dirname(path) or ".")
