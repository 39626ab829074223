"""The folders that Python layers may be loaded from.

A prototxt names a module; loading it runs its code. So a module that is not imported yet must lie
directly in a folder that the user has named: one on Python's path (PYTHONPATH, the running
script's folder, what a script has appended to `sys.path`) that is no part of the Python
installation, `data_layers/` of this checkout, or one that was added with `add`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

_added: list[Path] = []


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


def folders() -> list[Path]:
    """The allowed folders, resolved; Python's own and site-packages are never among them."""
    on_path = [Path(entry or os.getcwd()).resolve() for entry in sys.path]
    checkout = Path(__file__).resolve().parents[3]
    found = [*on_path, checkout / "data_layers", *_added]
    return [place for place in found if place.is_dir() and not _is_installation(place)]
