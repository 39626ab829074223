"""Faults into trainings of several processes: all end soon, in one line, none is left, and the
training that goes on ends with the bits of one that nothing happened to.

    python -m tests.soak.ranks --runs 20 --seed 1 [--kind kill]

Each run is that of `tests/helpers/tiny_run.py`, with dropout, in PROCESSES processes of a torchrun.
The kinds take turns:

kill      SIGKILL of a random rank at a random instant; torchrun --max-restarts begins again
torchrun  SIGKILL of torchrun itself; the command is given again, with --resume auto
hang      SIGSTOP of a random rank; torchrun --max-restarts begins again
stop      SIGTERM or SIGINT to torchrun; the command is given again, with --resume auto
start     a rank without its data at its start
net, list, solver   a rank that has another one

The folders of failed runs are kept. The exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers import many, tiny_run

PROCESSES, LAST, EVERY, HEARTBEAT = 2, 400, 20, 5
KINDS = ("kill", "torchrun", "hang", "stop", "start", "net", "list", "solver")
SAME = ["--solver", "solver.prototxt", "--cpu", "--iterations", str(LAST), "--set",
        f"snapshot={EVERY}", "--set", "display=0", "--heartbeat", str(HEARTBEAT)]  # fmt: skip
TRAIN = ["--resume", "auto", "--weights", "init.caffemodel", *SAME]
ALONE = ["--standalone", "--nproc-per-node", str(PROCESSES)]


def prepare(folder):
    """Lay out the run in `folder`."""
    tiny_run.lay_out(folder)
    tiny_run.save_init(folder)


def start(folder, *options):
    return many.torchrun(folder, [*ALONE, *options], many.SOLVE, *TRAIN, "--log", "train.log")


def finish(folder):
    """Train to the end. AssertionError where that fails."""
    code, lines = many.ended(start(folder))
    assert code == 0, f"exit {code}: {lines[-5:]}"


def at_random(process, folder, rng):
    """Wait for a random instant: of the start, or, more often, of the training; the workers."""
    if rng.random() < 0.25:
        time.sleep(rng.uniform(0, 8))
    else:
        many.wait_for(lambda: process.poll() is not None or tiny_run.snapshots(folder), "snapshot")
        time.sleep(rng.uniform(0, 2))
    return many.workers(process)


def gone(numbers):
    """Whether none of the processes `numbers` is there."""
    return not any(Path(f"/proc/{number}").exists() for number in numbers)


def said(lines):
    """What the commands themselves say of the end."""
    words = ("error:", "stopped at", "torchrun is gone")
    return [line for line in lines if line.startswith(words)]


# -- the faults: each returns (seconds until all had ended, lines) and leaves a training to go on --


def kill(folder, rng):
    process = start(folder, "--max-restarts", "3")
    found = at_random(process, folder, rng)
    if found:
        signal_to(found[rng.choice(sorted(found))], signal.SIGKILL)
    return again(process, found)


def hang(folder, rng):
    process = start(folder, "--max-restarts", "3")
    found = at_random(process, folder, rng)
    if found:
        signal_to(found[rng.choice(sorted(found))], signal.SIGSTOP)
    return again(process, found)


def again(process, workers):
    """Until a torchrun with --max-restarts is through."""
    begun = time.monotonic()
    if workers:
        # One that is stopped before it has joined the others is waited for, five minutes.
        over = lambda: gone(workers.values()) or process.poll() is not None  # noqa: E731
        many.wait_for(over, "workers stay", timeout=420)
    seconds = time.monotonic() - begun
    code, lines = many.ended(process)
    assert code == 0, f"exit {code}: {lines[-5:]}"
    return seconds, said(lines)


def torchrun(folder, rng):
    process = start(folder)
    found = at_random(process, folder, rng)
    begun = time.monotonic()
    process.kill()
    many.wait_for(lambda: gone(found.values()), "workers are left")
    _, lines = many.ended(process)
    return time.monotonic() - begun, said(lines)


def stop(folder, rng):
    process = start(folder)
    found = at_random(process, folder, rng)
    begun = time.monotonic()
    process.send_signal(rng.choice([signal.SIGTERM, signal.SIGINT]))
    _, lines = many.ended(process)
    assert gone(found.values()), "workers are left"
    return time.monotonic() - begun, said(lines)


def differing(change, expected):
    def fault(folder, rng):
        other = Path(shutil.copytree(folder, folder / "other"))
        change(other)
        rank = rng.randrange(1, PROCESSES)
        begun = time.monotonic()
        ends = many.run_group(
            folder, PROCESSES, many.SOLVE, *TRAIN,
            each=lambda r: {"folder": other} if r == rank else {},
        )  # fmt: skip
        lines = [line for _, _, err in ends for line in said(err)]
        assert [code for code, _, _ in ends] == [2] * PROCESSES, ends
        assert len(lines) == 1 and lines[0].startswith(f"error: rank {rank}: "), lines
        assert expected in lines[0], lines
        shutil.rmtree(other)
        return time.monotonic() - begun, lines

    return fault


def rewrite(name, before, after):
    def change(folder):
        path = folder / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    return change


def signal_to(number, which):
    with contextlib.suppress(ProcessLookupError):  # it was done
        os.kill(number, which)


FAULTS = {
    "kill": kill,
    "torchrun": torchrun,
    "hang": hang,
    "stop": stop,
    "start": differing(lambda folder: shutil.rmtree(folder / "voc/JPEGImages"), "p0.jpg"),
    "net": differing(rewrite("train.prototxt", "num_output: 4", "num_output: 5"), "layer 'conv'"),
    "list": differing(
        rewrite("voc/ImageSets/Segmentation/train.txt", "p0\np1", "p1\np0"), "layer 'data'"
    ),
    "solver": differing(rewrite("solver.prototxt", "momentum: 0.9", "momentum: 0.8"), "momentum"),
}


class Soak:
    """Runs with faults beside one that nothing happens to."""

    def __init__(self, place, seed):
        self.place, self.seed = Path(place), seed
        self.model = self.place / "model"
        self.model.mkdir()
        prepare(self.model)
        through = self.copy("through")
        finish(through)
        self.expected = tiny_run.result(through, LAST)

    def copy(self, name):
        return Path(shutil.copytree(self.model, self.place / name))

    def run(self, number, kind):
        """(A line about the run, whether it went well)."""
        rng = random.Random(f"{self.seed} {number} {kind}")
        folder = self.copy(f"{number}-{kind}")
        try:
            seconds, lines = FAULTS[kind](folder, rng)
            if LAST not in tiny_run.snapshots(folder):
                finish(folder)
            assert tiny_run.result(folder, LAST) == self.expected, "other bits"
        except (AssertionError, OSError) as error:
            return f"run {number}, {kind}: {error or type(error).__name__} ({folder})", False
        shutil.rmtree(folder)
        line = re.sub(r"process \d+ on \S+", "process N on HOST", " | ".join(lines)) or "-"
        return f"{kind}: all ended after {seconds:.1f} s: {line}", True


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.ranks", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--runs", type=int, default=len(KINDS), metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=FAULTS, help="faults of this kind only")
    args = parser.parse_args(argv)
    place = Path(tempfile.mkdtemp(prefix="ranks-"))
    soak = Soak(place, args.seed)
    failed = 0
    for number in range(args.runs):
        line, well = soak.run(number, args.kind or KINDS[number % len(KINDS)])
        print(line, flush=True)
        failed += not well
    if not failed:
        shutil.rmtree(place)
        print(f"{args.runs} runs, the same bits in all of them")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
