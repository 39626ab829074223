"""Files written whole or not at all, and places for them that are looked at before the work."""

from __future__ import annotations

import os

from prototxt.files import replacing as replacing, write_atomic as write_atomic
from tools.common.cli import UserError


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


def check_target(path) -> None:
    """Raise UserError unless the file `path` can be written; makes its folder."""
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; name a file")
    make_folder(os.path.dirname(path) or ".")
