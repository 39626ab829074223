"""Faults into trainings, by the hundred: whatever happens, the training that is resumed ends with
the bits of one that nothing happened to.

    python -m tests.soak.faults --runs 100 --seed 1 --jobs 2

Each run is that of `tests/helpers/tiny_run.py`, in a folder where another training has gone on to
iteration LEFT; it goes back to iteration BACK with another rate, so that snapshots of the branch
that was left lie under the names of its own. The kinds of faults take turns: two kills at random
instants, one between the renames of a snapshot, one full disk, one output that goes away. The
folders of failed runs are kept. The exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.helpers import tiny_run

LEFT, BACK, LAST, EVERY = 30, 10, 120, 5
KINDS = ("kill", "renames", "kill", "disk", "output")
PATIENCE = 300.0
"""Seconds that a training may take."""
SOLVE = [sys.executable, str(tiny_run.ROOT / "solvers/solve.py"), "--solver", "solver.prototxt"]
SAME = ["--cpu", "--iterations", str(LAST), "--set", f"snapshot={EVERY}", "--set", "display=1",
        "--set", "base_lr=3e-6"]  # fmt: skip
GO_BACK = ["--resume", f"out/train_iter_{BACK}.solverstate", *SAME]
GO_ON = ["--resume", "auto", *SAME]

KILLED_AT = """
import os, signal, sys

left = int(sys.argv.pop(1))

def counted(function):
    def call(*args, **more):
        global left
        if "/out/train_iter_" in os.path.abspath(args[-1]):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **more)
    return call

os.replace, os.unlink = counted(os.replace), counted(os.unlink)
from solvers.solve import main
from tools.common.cli import run
run(main, sys.argv[1:])
"""
LIMITED = """
import resource, signal, sys
limit = int(sys.argv.pop(1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from solvers.solve import main
from tools.common.cli import run
run(main, sys.argv[1:])
"""


def prepare(folder):
    """Lay out the run in `folder`, with a training that has gone on to iteration LEFT."""
    tiny_run.lay_out(folder)
    tiny_run.save_init(folder)
    call = ["--weights", "init.caffemodel", "--cpu", "--iterations", str(LEFT)]
    finish(folder, [*call, "--set", f"snapshot={EVERY}"])


def finish(folder, words):
    """Run solve.py to its end; returns what it says. Raises AssertionError unless it is done."""
    done = subprocess.run(
        [*SOLVE, *words], cwd=folder, env=tiny_run.environment(), timeout=PATIENCE,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    return done.stderr


def started(folder, program, **streams):
    """solve.py, or another program of Python's words, going back in `folder`."""
    env = tiny_run.environment(GLOG_minloglevel="0")
    settings = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return subprocess.Popen([*program, *GO_BACK], cwd=folder, env=env, **{**settings, **streams})


def injected(text, number):
    return [sys.executable, "-c", text, str(number), "--solver", "solver.prototxt"]


def ended(process):
    try:
        return process.wait(PATIENCE)
    finally:
        process.kill()


# -- the faults: each returns what happened, in a word ------------------------------------------


def kill(folder, rng, seconds):
    """SIGKILL at a random instant of the time that the training takes."""
    process = started(folder, SOLVE)
    time.sleep(rng.uniform(0, seconds))
    process.kill()
    return "killed" if ended(process) == -signal.SIGKILL else "was done"


def renames(folder, rng, seconds):
    """SIGKILL before a random one of the steps in which files of snapshots take their places."""
    steps = 4 * (LAST - BACK) // EVERY
    code = ended(started(folder, injected(KILLED_AT, rng.randrange(steps))))
    assert code in (-signal.SIGKILL, 0), f"exit {code}"
    return "killed" if code else "was done"


def disk(folder, rng, seconds):
    """No room: a small file system where this may mount one, else a limit on the size of files."""
    out, kept = folder / "out", folder / "kept"
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in out.iterdir())
    size = used + rng.randrange(8, 120)
    out.rename(kept)
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(out)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        out.rmdir()
        kept.rename(out)
        code = ended(started(folder, injected(LIMITED, rng.randrange(200, 2500))))
        return f"exit {code}, limited"
    try:
        for path in kept.iterdir():
            shutil.copy2(path, out)
        code = ended(started(folder, SOLVE))
        shutil.rmtree(kept)
        shutil.copytree(out, kept)
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)
    out.rmdir()
    kept.rename(out)
    assert code in (0, 1, 2), f"exit {code}"
    return f"exit {code}"


def output(folder, rng, seconds):
    """A reader that goes away, a full disk under the log, no streams, a terminal that is closed."""
    way = rng.choice(("reader", "full", "closed", "terminal"))
    if way == "closed":
        words = ["bash", "-c", 'exec "$@" >&- 2>&-', "bash", *SOLVE]
        process = started(folder, words)
    elif way == "full":
        with open("/dev/full", "w") as full:
            process = started(folder, SOLVE, stdout=full, stderr=full)
    else:
        mine, its = pty.openpty() if way == "terminal" else os.pipe()
        session = dict(start_new_session=True)
        words = SOLVE
        if way == "terminal":  # made the controlling one, so that closing it sends SIGHUP
            take = "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); "
            words = [sys.executable, "-c", take + "os.execv(sys.argv[1], sys.argv[1:])", *SOLVE]
        process = started(folder, words, stdout=its, stderr=its, **session)
        os.close(its)
        os.read(mine, 1)
        time.sleep(rng.uniform(0, seconds / 2))
        os.close(mine)
    code = ended(process)
    assert code == 0, f"{way}: exit {code}"
    return way


FAULTS = {"kill": kill, "renames": renames, "disk": disk, "output": output}


# -- runs ---------------------------------------------------------------------------------------


def branch(folder):
    """The id of the training that has written in `folder` last."""
    return json.loads((folder / "out/train.run.json").read_text())["run"]


class Soak:
    """Runs with faults beside one that nothing happens to."""

    def __init__(self, place, seed):
        self.place, self.seed = Path(place), seed
        self.model = self.place / "model"
        self.model.mkdir()
        prepare(self.model)
        through = self.copy("through")
        begun = time.monotonic()
        finish(through, GO_BACK)
        self.seconds = time.monotonic() - begun
        self.expected = tiny_run.result(through, LAST)
        self.left = branch(self.model)

    def copy(self, name):
        return Path(shutil.copytree(self.model, self.place / name))

    def run(self, number, kind):
        """(What happened, the problem or None) of a run."""
        rng = random.Random(f"{self.seed} {number} {kind}")
        folder = self.copy(f"{number}-{kind}")
        try:
            what = FAULTS[kind](folder, rng, self.seconds)
            if not (folder / f"out/train_iter_{LAST}.solverstate").exists() or what != "was done":
                # Before its first iteration the training has not begun: the call is repeated.
                finish(folder, GO_BACK if branch(folder) == self.left else GO_ON)
            assert tiny_run.result(folder, LAST) == self.expected, "other bits"
            leftovers = [path.name for path in folder.glob("out/.*.part")]
            assert len(leftovers) <= 3, f"left behind: {leftovers}"
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            return kind, f"run {number}, {kind}: {error or type(error).__name__} ({folder})"
        shutil.rmtree(folder)
        return f"{kind}: {what}", None


def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.faults", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--runs", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    parser.add_argument("--kind", choices=FAULTS, help="faults of this kind only")
    args = parser.parse_args(argv)
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    soak = Soak(place, args.seed)
    kinds = [args.kind or KINDS[number % len(KINDS)] for number in range(args.runs)]
    with ThreadPoolExecutor(args.jobs) as pool:
        found = list(pool.map(soak.run, range(args.runs), kinds))
    for what, count in sorted(Counter(what for what, problem in found if not problem).items()):
        print(f"{count:5d}  {what}")
    problems = [problem for _, problem in found if problem]
    print("\n".join(problems) if problems else f"{len(found)} runs, the same bits in all of them")
    if not problems:
        shutil.rmtree(place)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
