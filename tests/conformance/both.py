"""Running one scenario under BVLC Caffe and under the engine, and comparing what came out."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
TOOL = REPO / "tools" / "bvlc-caffe"
SIDES = ("bvlc", "engine")
# CONFORMANCE_ENGINE=bvlc checks the suite itself, and how far BVLC Caffe agrees with itself.
BVLC_ON_BOTH_SIDES = os.environ.get("CONFORMANCE_ENGINE") == "bvlc"


def command(side):
    """The command that starts this side's Python."""
    if side == "bvlc" or BVLC_ON_BOTH_SIDES:
        return [str(TOOL), "python"]
    return [sys.executable]


def environment(side, threads=1):
    """The environment of this side's processes: module path, threads, quiet logs."""
    folders = [REPO, REPO / "data_layers"]
    if command(side) == [sys.executable]:
        folders.insert(0, REPO / "engine")
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, folders)), GLOG_minloglevel="2")
    env.update(PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0", CUDA_VISIBLE_DEVICES="")
    for name in ("OMP", "OPENBLAS", "MKL"):
        env[f"{name}_NUM_THREADS"] = str(threads)
    # BVLC Caffe's own descriptors live in the C++ implementation of its old protobuf.
    env.pop("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", None)
    return env


class ScenarioFailed(Exception):
    """A scenario that did not end well; `side` says where, the text why, and `refused` whether
    it was caffe that refused its input."""

    def __init__(self, side, text, refused=False):
        super().__init__(f"[{side}] {text}")
        self.side = side
        self.refused = refused


class Worker:
    """One long-lived `worker.py` under one side's caffe, with so many threads."""

    def __init__(self, side, threads):
        self.side = side
        self.process = subprocess.Popen(
            [*command(side), "-m", "tests.conformance.worker"],
            env=environment(side, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
        )
        self.about = self.answer(120)

    def answer(self, timeout):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            raise ScenarioFailed(
                self.side, f"the worker {'died' if ready else 'gave no answer'}; see stderr"
            )
        return json.loads(line)

    def start(self, folder, scenario, args, arrays, timeout):
        folder.mkdir(parents=True, exist_ok=True)
        job = {"scenario": scenario, "args": args, "timeout": timeout}
        (folder / "job.json").write_text(json.dumps(job))
        if arrays:
            np.savez(folder / "in.npz", **arrays)
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()

    def finish(self, folder, timeout):
        """The job's results, arrays and other values in one dict. Raises ScenarioFailed."""
        end = self.answer(timeout + 30)
        if end != {"code": 0}:
            log = (folder / "log.txt").read_text(errors="replace")
            if end.get("signal") == signal.SIGALRM:
                raise ScenarioFailed(self.side, f"no end after {timeout} s\n{log[-2000:]}")
            refused = end.get("signal") == signal.SIGABRT or end.get("code") == 2
            raise ScenarioFailed(self.side, f"ended with {end}\n{log[-3000:]}", refused)
        results = json.loads((folder / "out.json").read_text())
        with np.load(folder / "out.npz") as data:
            results.update({name: data[name] for name in data.files})
        return results

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


_workers: dict = {}


def worker(side, threads=1):
    """The worker of this side, started at first use."""
    key = (side, threads)
    if key not in _workers:
        _workers[key] = Worker(side, threads)
    return _workers[key]


def close_workers():
    while _workers:
        _workers.popitem()[1].close()


def run(side, scenario, args=None, arrays=None, timeout=60, threads=1, folder=None):
    """One scenario under one side; its results as a dict. Raises ScenarioFailed."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        folder = Path(folder or scratch) / side
        one = worker(side, threads)
        one.start(folder, scenario, args or {}, arrays, timeout)
        return one.finish(folder, timeout)


def run_both(scenario, args=None, arrays=None, timeout=60, threads=1):
    """One scenario under both sides at once: (BVLC Caffe's results, the engine's).

    Raises ScenarioFailed if either fails, BVLC Caffe's failure first: then the scenario itself
    is wrong. `both_or_neither` is for inputs that may be refused."""
    results = both_or_neither(scenario, args, arrays, timeout, threads)
    if results is None:
        raise ScenarioFailed("both", f"{scenario} {args} was refused by both")
    return results


def both_or_neither(scenario, args=None, arrays=None, timeout=60, threads=1):
    """As run_both, but None where both refuse the input: BVLC Caffe by ending its process, the
    engine by an error with exit code 2. Raises ScenarioFailed where only one of them does."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        folders = {side: Path(scratch) / side for side in SIDES}
        for side in SIDES:
            worker(side, threads).start(folders[side], scenario, args or {}, arrays, timeout)
        results, failures = {}, {}
        for side in SIDES:
            try:
                results[side] = worker(side, threads).finish(folders[side], timeout)
            except ScenarioFailed as failure:
                failures[side] = failure
    if len(failures) == 2 and all(failure.refused for failure in failures.values()):
        return None
    if failures:
        # A failure that is no refusal first; then BVLC Caffe's: the scenario itself is wrong.
        raise min(failures.values(), key=lambda failure: failure.refused)
    return results["bvlc"], results["engine"]


def one_after_the_other(scenario, args=None, arrays=None, timeout=60, threads=1):
    """One scenario under BVLC Caffe, then under the engine, which is also given the tops that
    BVLC Caffe's results name ("top …"): (BVLC Caffe's results, the engine's), without the tops."""
    theirs = run("bvlc", scenario, args, arrays, timeout, threads)
    tops = {key: theirs.pop(key) for key in list(theirs) if key.startswith("top ")}
    ours = run("engine", scenario, args, {**(arrays or {}), **tops}, timeout, threads)
    return theirs, ours


def relative_error(theirs, ours, floor=0.0):
    """max|ours - theirs| / max(max|theirs|, floor); 0 where both are all zero, inf where only
    theirs is or where a NaN stands in one alone."""
    theirs, ours = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    if theirs.size == 0:
        return 0.0
    if (np.isfinite(theirs) != np.isfinite(ours)).any():
        return float("inf")
    same = np.isfinite(theirs)
    largest = np.abs(np.where(same, theirs, 0)).max()
    difference = np.abs(np.where(same, ours - np.where(same, theirs, 0), 0)).max()
    if difference == 0:
        return 0.0
    return float(difference / max(largest, floor)) if max(largest, floor) > 0 else float("inf")


def norm_error(theirs, ours):
    """The Euclidean norm of ours - theirs, relative to that of theirs."""
    theirs, ours = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    size = np.linalg.norm(theirs)
    difference = np.linalg.norm(ours - theirs)
    return float(difference / size) if size else float(0 if difference == 0 else "inf")


def compare(theirs, ours, tolerance, floor=0.0, names=("BVLC Caffe", "the engine")):
    """Compare two result dicts: keys and plain values must be equal, arrays must have equal
    shapes and lie within `tolerance` (a number, or a function of the array's name). `names` says
    whose they are.

    Returns {array name: relative error}. Raises AssertionError naming every difference."""
    one, another = names
    assert list(theirs) == list(ours), (
        f"only {one} has {sorted(set(theirs) - set(ours))}, only {another} has "
        f"{sorted(set(ours) - set(theirs))}, or the order differs"
    )
    errors, wrong = {}, []
    for name, value in theirs.items():
        other = ours[name]
        if not isinstance(value, np.ndarray):
            if value != other:
                wrong.append(f"{name}: {one} has {value!r}, {another} {other!r}")
        elif value.shape != other.shape:
            wrong.append(f"{name}: {one}'s shape is {value.shape}, {another}'s {other.shape}")
        else:
            errors[name] = relative_error(value, other, floor)
            limit = tolerance(name) if callable(tolerance) else tolerance
            if not errors[name] <= limit:
                wrong.append(
                    f"{name} {value.shape}: relative error {errors[name]:.2e} > {limit:.0e} "
                    f"(in norm {norm_error(value, other):.1e}); largest |value| "
                    f"{np.abs(value).max():.4g}, {another}'s {np.abs(other).max():.4g}"
                )
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:30]])
    return errors
