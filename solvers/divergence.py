"""A training whose loss is no number any more: it is stopped, and told how to go on."""

from __future__ import annotations

import json

import numpy as np

import caffe
from prototxt.opening import read_regular
from solvers import losses, rates, resume, snapshots
from tools.common.cli import Failure, UserError, warn


class Diverged(Failure):
    """The loss is no number: what was learned until then leads there, and is not kept."""

    keep = False


def watch(solver, param, bar):
    """Move the bar, and stop a run whose loss is no number any more, before a parameter has changed
    by it.

    param: the SolverParameter in force.
    """

    def see(iteration, found):
        bar.update(iteration - bar.count, bar.note)
        for name, value in found.items():
            bar.note = f"{name} {float(value.sum()) + 0.0:.4g}"  # -0 + 0 is 0
            if not np.all(np.isfinite(value)):
                mark(param.snapshot_prefix, iteration, f"{name} is not finite")
                advice = _advice(param, iteration)
                raise Diverged(f"iteration {iteration}: {name} is not finite{advice}")

    losses.watch(solver, see)


def check_weights(solver, param):
    """Stop a run whose weights are not finite, under another Caffe, which writes them as a snapshot
    all the same; the engine does not, and raises its NotFinite."""
    bad = None if hasattr(caffe, "engine") else resume.infinite(solver.net)
    if bad is not None:
        what = f"the weights of {bad} are not finite"
        mark(param.snapshot_prefix, solver.iter, what)
        raise Diverged(f"iteration {solver.iter}: {what}{_advice(param, solver.iter)}")


def named(error, param, iteration):
    """`error`, which ended a training at `iteration`; of weights that are not finite with marks at
    the snapshots and advice."""
    engine = getattr(caffe, "engine", None)
    if engine is None or not isinstance(error, engine.NotFinite):
        return error
    what = str(error).split(": ")[1]
    mark(param.snapshot_prefix, iteration, what)
    return Diverged(
        f"iteration {iteration}: {what}: no snapshot of them is written{_advice(param, iteration)}"
    )


GROWN = 5
"""A loss so many times the lowest at an earlier snapshot is one of a training that is diverging."""


def mark(prefix, iteration, what):
    """Mark the snapshots that lead to `what` ("loss is not finite") of `iteration` again: the one
    of that iteration, and those whose loss had grown already."""
    lowest, found = None, {}
    for at, path, problem in sorted(resume.judged(prefix)):
        if problem is not None or at > iteration:
            continue
        loss = _loss_at(path)
        if at == iteration:
            found[at] = f"is where the training diverged (iteration {iteration}: {what})"
        elif None not in (loss, lowest) and loss > GROWN * lowest > 0:
            found[at] = (
                f"is of a training that diverged (iteration {iteration}: {what}): its loss had "
                f"grown to {loss:.4g} already, from {lowest:.4g}"
            )
        elif loss is not None:
            lowest = loss if lowest is None else min(loss, lowest)
    if not found:
        return
    try:
        snapshots.mark(prefix, found)
    except (OSError, UserError) as error:
        warn(f"{snapshots.path_of(prefix)}: the snapshots cannot be marked there ({error})")


def _loss_at(state):
    """The smoothed loss at a solverstate of the engine's, None where it is not known."""
    if not hasattr(caffe, "engine"):
        return None
    try:
        losses = json.loads(read_regular(caffe.engine.position_path(state)))["losses"]
        return float(np.mean(losses)) if losses else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _advice(param, iteration):
    """How to go on from a loss that is not finite at `iteration`: by what snapshots there are."""
    rate = rates.at(param, iteration)
    said = "; " if rate is None else f", at a learning rate of {rate:.4g}; "
    judged = resume.judged(param.snapshot_prefix)
    found = [(at, path) for at, path, problem in judged if problem is None and at <= iteration]
    if not found:
        return said + (
            "there is no snapshot yet: start again with a smaller rate (--set base_lr=…), or look "
            "for wrong labels with tools/check_data.py"
        )
    (newest, path), *older = found
    otherwise = f"resume from an earlier one, as {older[0][1]}" if older else "start again"
    return said + (
        f"go on from the snapshot with a smaller rate: --resume {path} --set base_lr=…; if the "
        f"loss had grown before iteration {newest} already, {otherwise}"
    )
