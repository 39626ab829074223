"""A part of a training, trained again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common.cli import Failure, UserError, device_words
from tools.receipts import compare, files

SOLVE = Path(__file__).resolve().parents[2] / "solvers" / "solve.py"


class Run:
    """A training's folder: its receipt, losses and snapshots."""

    def __init__(self, path):
        self.folder = os.path.dirname(path) or "."
        self.receipt = files.read(path)
        if self.receipt is None or not self.receipt["parts"]:
            raise UserError(f"{path}: is no receipt")
        self.lines = list(files.lines(os.path.join(self.folder, files.LOSSES)))
        self.path = path

    def states(self):
        """{iteration: path} of the solverstates that are there."""
        name = re.escape(self.receipt["parts"][-1]["snapshots"])
        pattern = re.compile(name + r"_iter_(\d+)\.solverstate(\.h5)?$")
        found = map(pattern.match, sorted(os.listdir(self.folder)))
        return {int(m[1]): os.path.join(self.folder, m[0]) for m in found if m}

    def begin(self, wanted, count):
        """(The iteration to begin with, the solverstate that it starts from, None at 0): the newest
        snapshot with `count` iterations after it, or the most that there are, if none is `wanted`.
        """
        first = self.receipt["parts"][0]["from"]  # of what was trained before it does not tell
        states = {0: None, **self.states()}
        known = {at: state for at, state in states.items() if at >= first}
        last = max((line["iter"] for line in self.lines if "losses" in line), default=-1)
        if last < 0:
            raise UserError(f"{self.path}: there are no losses beside it to compare with")
        if not any(at <= last for at in known):
            raise UserError(
                f"{self.path}: no snapshot from iteration {first} on, where the receipt begins, is "
                "left to train again from"
            )
        if wanted is not None and wanted not in known:
            raise UserError(
                f"--from {wanted}: there is no such snapshot; there are "
                + ", ".join(map(str, sorted(known)))
            )
        chosen = wanted
        if wanted is None:
            chosen = max(
                (n for n in known if n <= last), key=lambda n: (min(last + 1 - n, count), n)
            )
        if chosen > last:
            raise UserError(
                f"{self.path}: nothing was trained after iteration {chosen}; name an earlier "
                "snapshot with --from"
            )
        return chosen, known[chosen]

    def part(self, iteration):
        """The part of the receipt that trained from `iteration` on."""
        return [p for p in self.receipt["parts"] if p["from"] <= iteration][-1]

    def after(self, begin, end):
        """The lines of the iterations from `begin` to `end`, and of the parameters there."""
        return [
            line for line in self.lines
            if ("losses" in line and begin <= line["iter"] < end)
            or ("weights" in line and begin < line["iter"] <= end)
        ]  # fmt: skip


def shared(before, after):
    """Both sequences of lines without the checksums that only one has."""
    kept = set.intersection(
        *({n["iter"] for n in one if "weights" in n} for one in (before, after))
    )
    return [[n for n in one if "losses" in n or n["iter"] in kept] for one in (before, after)]


def command(run, part, begin, state, end, place, args):
    """solve.py's, which trains again into the folder `place`."""
    home = os.path.normpath(os.path.join(run.folder, part["folder"]))
    start = ["--weights", part["start"]["path"]]
    if state is not None:
        start = ["--resume", os.path.relpath(state, home)]
    changes = [word for one in part["set"] for word in ("--set", one)]
    several = []
    if part["processes"] > 1:
        count = str(part["processes"])
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count, "--"]
    return home, [
        sys.executable, *several, str(SOLVE), "--solver", part["solver"], *start, *changes,
        "--set", f"snapshot_prefix={os.path.join(place, part['snapshots'])}",
        "--stop-at", str(end), "--log", os.path.join(place, "log"), *part["options"],
        *device_words(args),
    ]  # fmt: skip


def differences(run, part, now):
    """What differs between the part of a receipt and the one of the training again: (inputs,
    surroundings), in lines."""
    data = [None if p["data"] is None else r["data"][p["data"]]
            for r, p in ((run.receipt, part), (now, now["parts"][-1]))]  # fmt: skip
    again = now["parts"][-1]
    inputs = [
        *compare.settings(part["settings"], again["settings"]),
        *compare.files("net", part["files"], again["files"]),
        *compare.data(*data),
    ]
    if part["from"] == again["from"] == 0:
        start = [{"the weights": one["start"]["sha256"]} for one in (part, again)]
        inputs += compare.files("start", *start)
    return inputs, compare.surroundings(part, again)


def replay(args, path):
    """Train the part that `args` name of the training with the receipt `path` again, and print what
    differs; the exit code."""
    then = Run(path)
    begin, state = then.begin(args.begin, args.iterations)
    part = then.part(begin)
    last = max(line["iter"] for line in then.lines if "losses" in line) + 1
    end = min(begin + args.iterations, last)
    print(f"iterations {begin} to {end} of {then.path}, trained again:", flush=True)
    with tempfile.TemporaryDirectory(prefix="replay-") as place:
        home, words = command(then, part, begin, state, end, place, args)
        done = subprocess.run(words, cwd=home, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise Failure("solve.py has not trained them; its line says why", done.returncode)
        now = Run(os.path.join(place, files.RECEIPT))
    inputs, around = differences(then, part, now.receipt)
    before, after = shared(then.after(begin, end), now.after(begin, end))
    passes = sum("losses" in line for line in before)
    layers = sum(len(line.get("weights", ())) for line in before)
    same = f"the losses of {passes} passes, the parameters of {layers} layers"
    return compare.told(inputs, around, compare.losses(before, after), same)
