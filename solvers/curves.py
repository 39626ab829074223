"""A training's metrics.jsonl: losses and scores, written line by line."""

from __future__ import annotations

import math
import os
import time

from solvers.lines import Lines
from tools.common import run_metrics
from tools.common.files import check_target


class Curves:
    """The metrics of the training in `folder` that starts, or goes on, at iteration `begin`: lines
    of what is trained from now on are taken away. UserError where another file is in the place.

    Each line is complete in the file when its method returns; where it cannot be written, a warning
    says so once, and the training goes on."""

    def __init__(self, folder, begin):
        self.path = os.path.join(folder, run_metrics.NAME)
        check_target(self.path, run_metrics.LINES)
        found = run_metrics.read(self.path) if os.path.exists(self.path) else []
        lines = [one for one in found if one["iter"] < begin + ("scores" in one)] if begin else []
        self._kept = lines
        self.scores = run_metrics.scored(lines)
        """{iteration: mean IU}, in the order of the iterations."""
        spent = [one["seconds"] for one in lines if isinstance(one.get("seconds"), (int, float))]
        self._since = time.monotonic() - max(spent, default=0)
        self._lines = Lines(self.path, lines, run_metrics.LINES)

    def kept_of(self, iteration):
        """The lines of an iteration that are of before."""
        return [one for one in self._kept if one["iter"] == iteration]

    def displayed(self, iteration, loss, rate, memory):
        """memory: bytes, or None."""
        entry = {
            "iter": iteration, "loss": number(loss), "lr": number(rate),
            "seconds": round(time.monotonic() - self._since, 3),
            "memory": None if memory is None else round(memory / 1e6, 1),
        }  # fmt: skip
        self._lines.add(entry)
        return entry

    def scored(self, iteration, scores, loss, names):
        """scores: of `metrics.metrics`; names: of the classes."""
        kept = {key: number(scores[key]) for key in run_metrics.SCORES[:-1]}
        classes = {name: number(iu) for name, iu in zip(names, scores["iu"])}
        entry = {"iter": iteration, "scores": {**kept, "loss": number(loss)}, "classes": classes}
        self._lines.add(entry)
        self.scores[iteration] = float(scores["mean_iu"])
        return entry

    def close(self):
        self._lines.close()


def number(value):
    """A number for JSON: null for what is none, or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def stalled(scores, count):
    """(the best mean IU, its iteration) where the last `count` of {iteration: mean IU} have not
    risen above it, else None."""
    best = best_of(scores)
    if best is None:
        return (math.nan, 0) if len(scores) > count else None
    behind = [at for at in scores if at > best]
    return (scores[best], best) if len(behind) >= count else None


def best_of(scores):
    """The first iteration of {iteration: mean IU} with the highest, or None."""
    known = {at: value for at, value in scores.items() if not math.isnan(value)}
    return max(known, key=lambda at: (known[at], -at), default=None)
