"""A training whose loss is no number any more: it is stopped, and told how to go on."""

from __future__ import annotations

import numpy as np

from solvers import losses, rates, resume
from tools.common.cli import Failure


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
                advice = _advice(param, iteration)
                raise Diverged(f"iteration {iteration}: {name} is not finite{advice}")

    losses.watch(solver, see)


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
