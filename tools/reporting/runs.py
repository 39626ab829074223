"""What a training has left in its folder, as far as it is there."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field

from prototxt.opening import read_regular
from tools.common import run_metrics
from tools.common.cli import UserError
from tools.receipts import files as receipts

IN_FORCE, SOLVER, NET, TASK = (
    "solver_in_force.prototxt", "solver.prototxt", "val.prototxt", "task.toml",
)  # fmt: skip
SNAPSHOT = re.compile(r"(.+)_iter_(\d+)\.caffemodel(\.h5)?$")


@dataclass
class Run:
    """A training's folder.

    folder    its path
    lines     of its metrics.jsonl, [] without one
    receipt   its receipt.json, or None
    settings  the solver's settings in force, line by line
    task      the text of its TOML's copy, or None
    net       the path of its val net, or None
    snapshots {iteration: path of the weights}
    diverged  iterations whose snapshots are known to be no good
    missing   what is not there, a sentence each
    """

    folder: str
    lines: list[dict] = field(default_factory=list)
    receipt: dict | None = None
    settings: list[str] = field(default_factory=list)
    task: str | None = None
    net: str | None = None
    snapshots: dict[int, str] = field(default_factory=dict)
    diverged: set[int] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)

    def best(self) -> tuple[str, str] | None:
        """(weights, why): of the snapshot with the best mean IU of those that were scored and are
        still there, else of the newest that is not known to have diverged. None without any."""
        good = {at: path for at, path in self.snapshots.items() if at not in self.diverged}
        known = {at: iu for at, iu in run_metrics.scored(self.lines).items() if at in good}
        best = max((at for at in known if known[at] == known[at]),
                   key=lambda at: (known[at], -at), default=None)  # fmt: skip
        if best is not None:
            return good[best], "the best of the scored snapshots that are there"
        if good:
            return good[max(good)], "the newest snapshot"
        return None


def read(folder: str) -> Run:
    """The Run in `folder`. UserError where that is no folder, or holds nothing of a training."""
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: is not a folder; name one that solve.py or make train has left")
    run = Run(folder)
    _read_snapshots(run)
    _read_texts(run)
    path = os.path.join(folder, run_metrics.NAME)
    if os.path.exists(path):
        run.lines = run_metrics.read(path)
    if not run.lines:
        run.missing.append(f"no {run_metrics.NAME}: no curves")
    elif not run_metrics.scored(run.lines):
        run.missing.append("not scored while it was trained (--score-every): no curves of scores")
    run.receipt = receipts.read(os.path.join(folder, receipts.RECEIPT))
    if run.receipt is None:
        run.missing.append(f"no {receipts.RECEIPT}: no hashes of data, nets and weights")
    if not (run.lines or run.snapshots or run.settings or run.receipt):
        raise UserError(
            f"{folder}: holds no {run_metrics.NAME}, snapshots or settings of a training; name the "
            "folder of its snapshots"
        )
    return run


def _read_snapshots(run):
    for name in sorted(os.listdir(run.folder)):
        match = SNAPSHOT.match(name)
        if match:
            run.snapshots[int(match.group(2))] = os.path.join(run.folder, name)
        elif name.endswith(".snapshots.json"):
            run.diverged |= _diverged(os.path.join(run.folder, name))
    if not run.snapshots:
        run.missing.append("no snapshot")


def _diverged(path):
    try:
        found = json.loads(read_regular(path))["snapshots"]
        return {int(at) for at, one in found.items() if one.get("problem")}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return set()


def _read_texts(run):
    for name in (IN_FORCE, SOLVER):
        found = _text(os.path.join(run.folder, name))
        if found is not None:
            kept = (line.strip() for line in found.splitlines())
            run.settings = [line for line in kept if line and not line.startswith("#")]
            break
    else:
        run.missing.append(f"no {IN_FORCE}: no settings")
    run.task = _text(os.path.join(run.folder, TASK))
    beside = os.path.join(run.folder, NET)
    run.net = beside if os.path.isfile(beside) else _test_net(run)


def _text(path):
    try:
        return read_regular(path).decode("utf-8", "replace")
    except OSError:
        return None


def _test_net(run):
    """The settings' own test net, where it is found from here."""
    for line in run.settings:
        match = re.match(r"(?:test_net|net)\s*:\s*['\"](.+)['\"]$", line)
        if match and os.path.isfile(match.group(1)):
            return match.group(1)
    return None


def differing(lines: list[list[str]]) -> list[tuple[str, list[str | None]]]:
    """(setting, its value in each run or None) of what is not the same in all.

    lines: of each run, `name: value`; of a repeated name all values count.
    """
    parsed = []
    for own in lines:
        found: dict[str, list[str]] = {}
        for line in own:
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), []).append(value.strip())
        parsed.append({name: ", ".join(values) for name, values in found.items()})
    names = list(dict.fromkeys(name for own in parsed for name in own))
    table = [(name, [own.get(name) for own in parsed]) for name in names]
    return [(name, values) for name, values in table if len(set(values)) > 1]
