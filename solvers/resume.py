"""Which snapshot a run goes on from."""

from __future__ import annotations

import os
import re

import caffe
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


def judged(prefix):
    """`snapshots` as (iteration, path, why not): None for those that a training at this prefix may
    go on from, else in words that they are of a branch that it has left."""
    engine = getattr(caffe, "engine", None)
    if engine is not None:
        return engine.snapshots(prefix)
    return [(iteration, path, None) for iteration, path in snapshots(prefix)]


def reached(prefix):
    """The iteration of the newest snapshot that a training may go on from, 0 if there is none."""
    return next((iteration for iteration, _, problem in judged(prefix) if problem is None), 0)


def restore_newest(solver, prefix):
    """Restore from the newest snapshot that can be read; return its path, None if there is none.

    Snapshots that cannot be read, or are of a branch that the training has left, are passed over
    with a warning; UserError where there are snapshots and none can be used.
    """
    found = judged(prefix)
    for _, path, problem in found:
        if problem is not None:
            warn(f"passed over: {path} {problem}; to go on from it, give it to --resume")
            continue
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
            f"none of the {len(found)} snapshots {prefix}_iter_* can be used; name one with "
            "--resume, or move them away to start anew with --weights"
        )
    return None
