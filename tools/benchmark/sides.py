"""The bench's worker processes: started, asked one thing at a time, taking turns."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tools.common.cli import Failure, warn

REPO = str(Path(__file__).resolve().parents[2])
TOOL = os.path.join(REPO, "tools", "bvlc-caffe")
SECONDS = 1800  # for one answer: a machine that swaps never ends
ENGINES = ("engine", "unfolded", "engine-rows")  # sides that import the engine


def bvlc_is_installed():
    found = subprocess.run([TOOL, "path"], capture_output=True, text=True)
    return os.path.exists(os.path.join(found.stdout.strip(), ".complete"))


def environment(side, threads):
    """The environment of a side's process: module path, threads, quiet logs."""
    folders = [REPO, os.path.join(REPO, "data_layers")]
    if side in ENGINES:
        folders.insert(0, os.path.join(REPO, "engine"))
    if side != "bvlc":  # where packages are, on a machine that names them so
        folders += filter(None, [os.environ.get("PYTHONPATH")])
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(folders), GLOG_minloglevel="2")
    for name in ("OMP", "OPENBLAS", "MKL"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    # BVLC Caffe's own descriptors live in the C++ implementation of its old protobuf.
    env.pop("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", None)
    return env


class Worker:
    """A process for one side; `call` asks it.

    began       when it was started, monotonic seconds
    patience    seconds that one answer may take
    """

    def __init__(self, side, threads, gpu=None, patience=SECONDS):
        self.side, self.patience = side, patience
        python = [TOOL, "python"] if side == "bvlc" else [sys.executable]
        number = [] if gpu is None else [str(gpu)]
        self.log = tempfile.TemporaryFile(  # noqa: SIM115  (closed in `close`)
            "w+", encoding="utf-8", errors="replace"
        )
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*python, "-m", "tools.benchmark.worker", side, str(threads), *number],
            env=environment(side, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=REPO,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def call(self, what, **job):
        """The worker's answer, a dict. Raises Failure."""
        try:
            self.process.stdin.write(json.dumps({"do": what, **job}) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=self.patience)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            self.process.kill()  # a late answer would be taken for another's
            self.process.wait()
            raise Failure(f"{self.side}: {what}: no answer in {self.patience:.0f} s") from None
        if not line:
            raise Failure(f"{self.side}: {what}: the process ended ({self._last_words()})")
        result = json.loads(line)
        if "error" in result:
            raise Failure(f"{self.side}: {what}: {result['error']}")
        return result

    def printed_lines(self):
        """The lines that the process has printed, without empty ones."""
        self.log.seek(0)
        return [line.strip() for line in self.log if line.strip()]

    def _last_words(self):
        code = self.process.wait(10)
        said = self.printed_lines()
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{ended}: {said[-1]}" if said else ended

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if kind is not None:
            self.process.kill()
        self.close()


class Team:
    """Workers of several sides that take turns; one that fails drops out, with a warning.

    Use as a context manager. `failed`: what became of those that dropped out, by side.
    """

    def __init__(self):
        self.workers, self.failed = {}, {}

    def start(self, side, threads, gpu):
        worker = self.workers[side] = Worker(side, threads, gpu)
        return worker

    def call(self, side, what, **job):
        """The side's answer; None where it has dropped out."""
        if side not in self.workers:
            return None
        try:
            return self.workers[side].call(what, **job)
        except Failure as failure:
            warn(f"{failure}; going on without it")
            self.failed[side] = str(failure)
            with self.workers.pop(side) as worker:
                worker.process.kill()
            return None

    def turns(self, rounds, what, step, **job):
        """{side: its answers}: each side in turn, `rounds` times, another first each time.

        All answers of one round stand at the same place, so that they can be compared: the
        machine was then as busy for all. `step(side)` is called after each.
        """
        answers = {side: [] for side in self.workers}
        for number in range(rounds):
            sides = list(self.workers)
            first = number % max(1, len(sides))
            for side in sides[first:] + sides[:first]:
                answers[side].append(self.call(side, what, **job))
                step(side)
        return {side: found for side, found in answers.items() if side in self.workers}

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        for worker in self.workers.values():
            if kind is not None:
                worker.process.kill()
            worker.close()


def driver_name(gpu, env):
    """What the driver calls the GPU that CUDA numbers `gpu` under the environment `env`: of the
    numbers or UUIDs in CUDA_VISIBLE_DEVICES, where that is set, the one in this place."""
    seen = env.get("CUDA_VISIBLE_DEVICES")
    return seen.split(",")[gpu].strip() if seen else str(gpu)


def gpu_used(gpu):
    """Memory of a GPU that is in use, by whomever, as its driver sees it: bytes, or None."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        name = driver_name(gpu, os.environ)
        found = subprocess.run(
            [*command, "-i", name], capture_output=True, text=True, timeout=60, check=True
        )
        return int(found.stdout.split()[0]) << 20
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def spread(values):
    """{median, least, most} of numbers; None of none."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ratios(theirs, ours):
    """The spread of theirs / ours, round by round."""
    return spread([a / b for a, b in zip(theirs, ours) if a and b])
