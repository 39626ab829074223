"""Processes of their own: a script's environment, and whether a process is gone."""

from __future__ import annotations

import os
import time


def environment(root, *folders):
    """The environment for a Python that imports from the checkout `root` and `folders`."""
    places = (*folders, root, root / "engine", root / "data_layers")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}


def gone(process, seconds=20):
    """Whether the process of that id ends within `seconds`. Needs /proc."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            with open(f"/proc/{process}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def wait_until(condition, seconds=60):
    """What condition() gives once it is true; fails after `seconds`."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not come about in time"
        time.sleep(0.02)
    return found
