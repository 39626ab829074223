"""Files written whole or not at all, in places that are looked at before the work; what is not
ours is never replaced."""

from __future__ import annotations

import contextlib
import os

import prototxt.files
from tools.common.cli import UserError
from tools.common.written import Written


def make_folder(path) -> None:
    """Make a folder that will be written to; raises UserError before the work, not after it."""
    if os.path.isfile(path):
        raise UserError(f"{path}: is a file; name a folder")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: this folder cannot be made ({error.strerror})") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: this folder cannot be written to; choose another")


def check_ours(path, written: Written) -> None:
    """Raise UserError where a file `path` is there that is not one of those `written`."""
    problem = prototxt.files.in_the_way(path, *written)
    if problem:
        raise UserError(f"{path}: {problem}")


def check_target(path, written: Written) -> None:
    """Raise UserError unless the file `path` can be written, and nothing but one of those `written`
    is there; makes its folder."""
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; name a file")
    check_ours(path, written)
    make_folder(os.path.dirname(path) or ".")


@contextlib.contextmanager
def replacing(path, written: Written):
    """`prototxt.files.replacing` for one of those `written`: UserError where something else is
    there."""
    check_ours(path, written)
    with prototxt.files.replacing(path) as beside:
        yield beside


def write(path, data: bytes | str, written: Written) -> None:
    """Write bytes or text as the file `path`: never half a file, and over nothing but one of those
    `written` (UserError)."""
    check_ours(path, written)
    prototxt.files.write_atomic(path, data)
