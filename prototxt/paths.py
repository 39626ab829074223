"""What is said of a path at which there is nothing, or not what is wanted."""

from __future__ import annotations

import difflib
import glob
import os


def why_unreadable(path, error: OSError) -> str:
    """Why the file `path` could not be opened, and what may have been meant."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return absent(path)
    if isinstance(error, IsADirectoryError):
        return "is a folder; name a file in it"
    return f"cannot be read ({error.strerror or error})"


def absent(path, what: str = "file") -> str:
    """`no such file`, with the reason: a folder on the way that is not there, a name that is
    nearly this, or the folder that relative paths start from."""
    path = os.fspath(path)
    if glob.has_magic(path) and not os.path.exists(path):
        return f"no such {what}: nothing has a name of this pattern"
    missing = path
    while missing and not os.path.lexists(os.path.dirname(missing) or "."):
        missing = os.path.dirname(missing)
    folder, name = os.path.split(missing)
    if folder and not os.path.isdir(folder):
        return f"no such {what}: {folder} is a file, not a folder"
    found = near(name, _entries(folder, folders=missing != path or what == "folder"))
    said = f"no such {what}" + (f": there is no folder {missing}" if missing != path else "")
    if found:
        return f"{said}; did you mean {os.path.join(folder, found)}?"
    if not os.path.isabs(path):
        said += f" (relative paths start from the working folder, {os.getcwd()})"
    return said


def near(name: str, entries) -> str | None:
    """The one of `entries` that the file's `name` was to be, in all likelihood, or None."""
    stems = {entry: _stem(entry) for entry in sorted(entries)}
    found = difflib.get_close_matches(_stem(name), stems.values(), 1, 0.75)
    alike = [entry for entry in stems if stems[entry] in found]
    return min(alike, key=lambda entry: _unlike(name, entry)) if alike else None


def _stem(name: str) -> str:
    """Without its ending, which is no sign that two files are alike."""
    return name.lower().split(".")[0] or name.lower()


def _unlike(name: str, entry: str) -> float:
    return 1 - difflib.SequenceMatcher(None, name.lower(), entry.lower()).ratio()


def _entries(folder, folders: bool) -> list[str]:
    """The names of the folders, or else of the files, in a folder, without hidden ones."""
    try:
        with os.scandir(folder or ".") as found:
            return [e.name for e in found if e.is_dir() == folders and not e.name.startswith(".")]
    except OSError:
        return []
