"""The folders that Python layers may be loaded from.

A prototxt names a module; loading it runs its code. So a module that is not imported yet must lie
directly in a folder that somebody has named: one on Python's path (PYTHONPATH, the running
script's folder, what a script has appended to `sys.path`) that is no part of the Python
installation, `data_layers/` of this checkout, or one that was added with `add`. The folder that
the process stands in, maybe a download with a prototxt and code beside it, is not named by that:
Python puts it on its path for `python -m`, `python -c` and an empty or `.` entry of PYTHONPATH.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

_added: list[Path] = []
_START = os.getcwd()


def add(folder) -> None:
    """Let Python layers come from `folder`, and put it on Python's path."""
    place = Path(folder).resolve()
    _added.append(place)
    if str(place) not in sys.path:
        sys.path.append(str(place))


def _is_installation(place: Path) -> bool:
    """Whether a folder belongs to Python or to packages that were installed for it."""
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    keys = ("stdlib", "platstdlib")
    return any(
        place == home or home in place.parents
        for home in (Path(sysconfig.get_path(key)).resolve() for key in keys)
    )


def _script_folder() -> str | None:
    """Where the running script lies; None for `python -c`, an interactive Python and a module that
    is only being looked for."""
    script = sys.argv[0] if sys.argv else ""
    return None if script in ("", "-c", "-m") else os.path.dirname(os.path.abspath(script))


def _named() -> list[str]:
    """The entries of Python's path that somebody has named."""
    entries = list(sys.path)
    if entries and entries[0] == _START != _script_folder():
        entries = entries[1:]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    standing = [entry for entry in given if os.path.normpath(entry or ".") == "."]
    told = any(os.path.abspath(entry) == _START for entry in given if entry not in standing)
    if given != [""] and standing and not told and _START in entries:
        entries.remove(_START)  # Python has written such an entry out, once
    return [entry for entry in entries if entry]


def folders() -> list[Path]:
    """The allowed folders, resolved; Python's own and site-packages are never among them."""
    checkout = Path(__file__).resolve().parents[3]
    found = [*map(Path, _named()), checkout / "data_layers", *_added]
    places = [place.resolve() for place in found]
    return [place for place in places if place.is_dir() and not _is_installation(place)]


def find(name: str):
    """The spec of what an import of module `name` begins with, its outermost package; None where
    there is none. To find a submodule would already run its package's code."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    top = parts[0]
    if top in sys.modules:
        return getattr(sys.modules[top], "__spec__", None)
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def allows(spec) -> bool:
    """Whether what `find` found lies right in an allowed folder.

    Not anywhere below one: site-packages often lies below the working folder (.venv).
    """
    if spec.submodule_search_locations is not None:  # a package, maybe in several folders
        places = [Path(place).parent for place in spec.submodule_search_locations]
    else:  # built-in and frozen modules have no location
        places = [Path(spec.origin).parent] if spec.has_location else []
    allowed = folders()
    return bool(places) and all(place.resolve() in allowed for place in places)
