"""Which snapshot a run goes on from."""

from __future__ import annotations

import os
import re

import numpy as np

import caffe
from solvers import snapshots as written
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
    go on from, else in words that they are of a branch that it has left, or that it diverged."""
    engine = getattr(caffe, "engine", None)
    found = [(iteration, path, None) for iteration, path in snapshots(prefix)]
    if engine is not None:
        found = engine.snapshots(prefix)
    marked = written.problems(prefix)
    return [(at, path, problem or marked.get(at)) for at, path, problem in found]


def infinite(net):
    """The first of a net's weights that are infinite or no numbers, as layer[number], or None."""
    for name, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            if not np.isfinite(blob.data).all():
                return f"{name}[{number}]"
    return None


def restore(solver, path):
    """Restore from a solverstate. UserError, or the engine's own, where its weights are not
    finite."""
    solver.restore(path)
    bad = None if hasattr(caffe, "engine") else infinite(solver.net)
    if bad is not None:
        raise UserError(
            f"{path}: its weights of {bad} are not finite: that training had diverged; go on from "
            "an earlier snapshot"
        )


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
            restore(solver, path)
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
