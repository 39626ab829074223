"""The files that flags name: looked for before anything else of a command is checked."""

from __future__ import annotations

import os
from difflib import get_close_matches

from ..errors import InputError


def names_of(text: str) -> list[str]:
    """The files that a flag such as -weights names, with commas between them."""
    return [name.strip() for name in text.split(",")] if text else []


def check_files(flags, *given: str) -> None:
    """Raise InputError where one of the flags `given` names what is no file."""
    for flag in given:
        for path in names_of(getattr(flags, flag)):
            check_file(path, f"-{flag} {path}" if path else f"-{flag} {getattr(flags, flag)}")


def check_file(path: str, where: str) -> None:
    """Raise InputError, which begins with `where`, unless there is a file `path`."""
    if not path:
        raise InputError(f"{where}: no file is named before or behind a comma")
    if os.path.isdir(path):
        raise InputError(f"{where}: is a folder; name a file")
    if not os.path.exists(path):
        raise InputError(f"{where}: no such file{_hint(path)}")


def _hint(path: str) -> str:
    """What was meant, in all likelihood; else where relative paths start."""
    folder, name = os.path.split(path)
    if folder and not os.path.isdir(folder):
        return f": there is no folder {folder}"
    # Endings are no sign that two files are alike.
    with os.scandir(folder or ".") as entries:
        names = sorted(entry.name for entry in entries if not entry.is_dir())
    stems = {entry: entry.lower().split(".")[0] for entry in names}
    near = get_close_matches(name.lower().split(".")[0], stems.values(), 1, 0.75)
    alike = [entry for entry, stem in stems.items() if stem in near]
    found = get_close_matches(name, alike, 1, 0) if alike else []
    if found:
        return f"; did you mean {os.path.join(folder, found[0])}?"
    return "" if os.path.isabs(path) else f" (the working folder is {os.getcwd()})"
