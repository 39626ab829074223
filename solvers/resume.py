"""Which snapshot a run goes on from."""

from __future__ import annotations

import os
import re

from tools.common.cli import UserError, error_line, warn


def snapshots(prefix):
    """The solverstates with this snapshot prefix as (iteration, path), newest first."""
    folder, name = os.path.split(prefix)
    pattern = re.compile(re.escape(name) + r"_iter_(\d+)\.solverstate(\.h5)?$")
    found = []
    for entry in os.listdir(folder or ".") if os.path.isdir(folder or ".") else []:
        match = pattern.match(entry)
        if match:
            found.append((int(match.group(1)), os.path.join(folder, entry)))
    return sorted(found, reverse=True)


def restore_newest(solver, prefix):
    """Restore from the newest snapshot that can be read; return its path, None if there is none.

    A snapshot that cannot be read is passed over with a warning; UserError where there are
    snapshots and none can be read.
    """
    found = snapshots(prefix)
    for _, path in found:
        try:
            solver.restore(path)
            return path
        except Exception as error:
            if not hasattr(error, "exit_code"):
                raise
            line = error_line(error)
            warn(f"passed over: {line if path in line else path + ': ' + line}")
    if found:
        raise UserError(
            f"none of the {len(found)} snapshots {prefix}_iter_* can be read; move them away to "
            "start anew with --weights"
        )
    return None
