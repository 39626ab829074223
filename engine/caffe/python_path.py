"""The folders that Python layers may be loaded from.

A prototxt names a module; loading it runs its code. So a module that is not imported yet must lie
in a folder that the user has named: on PYTHONPATH, the folder of the running script or the working
folder where Python itself put it first on its path, `data_layers/` of this checkout, or one that
was added with `add`.
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


def _installed() -> set[Path]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return {Path(sysconfig.get_path(key)).resolve() for key in keys}


def folders() -> list[Path]:
    """The allowed folders, resolved; Python's own and site-packages are never among them."""
    named = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if sys.path and not getattr(sys.flags, "safe_path", False):
        named.append(sys.path[0] or os.getcwd())
    checkout = Path(__file__).resolve().parents[2]
    found = [Path(p).resolve() for p in named] + [checkout / "data_layers", *_added]
    installed = _installed()
    return [p for p in found if p not in installed]
