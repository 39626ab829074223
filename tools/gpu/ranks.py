"""Stage `ranks`: a training in two processes, beside one with iter_size 2."""

from __future__ import annotations

import time

from tools.common.cli import Failure
from tools.common.tables import table
from tools.gpu import training_data
from tools.gpu.steps import Step, log_times

TITLE = "Two processes, beside one with twice the passes"
NET = "dilated-fcn2s-vgg16"
ITERATIONS, DRY_ITERATIONS = 12, 3
LIMIT = 1e-2
RULE = ("type=SGD", "base_lr=1e-3", "momentum=0.9")
"""In place of the recipe's Adam, whose steps are as long where a gradient is all rounding."""
WORDS = f"""
{NET} of the stage `training`, the same weights and frames: {ITERATIONS} iterations of SGD in two
processes, and in one with `iter_size: 2`. With a second GPU each process has its own and
gradients go by NCCL; with one GPU the two share it (`--gpu 0,0`) and gradients go by Gloo through
the host, which shows that the numbers are right, and nothing of speed. The deviation is the largest
difference of any parameter, divided by the most that training has moved any number of that
parameter; the limit is {LIMIT:g}. Milliseconds are of an iteration, from the log.
"""


def devices(job):
    """(`--gpu` for two processes, the way of their gradients in words); the CPU's in a dry run."""
    if job.gpu is None:
        return None, "Gloo, on the CPU"
    import caffe

    other = next((n for n in range(caffe.engine.cuda_device_count()) if n != job.gpu), None)
    if other is None:
        return f"{job.gpu},{job.gpu}", "Gloo, of two processes on one GPU"
    return f"{job.gpu},{other}", "NCCL, between two GPUs"


def run(job):
    data = training_data.data_set(job)
    task = training_data.recipe(data, job.folder)
    folder = job.folder / NET
    training_data.write_nets(task, NET, folder, job.shrink)
    init = folder / "init.caffemodel"
    Step(job, "surgery/make_init.py", "--net", folder / "train.prototxt", "--from",
         training_data.trunk(job), "--out", init, "--fill-missing", "msra").finish()  # fmt: skip
    both, way = devices(job)
    one = ["--cpu"] if both is None else ["--gpu", str(job.gpu)]
    alone = _train(job, folder, init, "alone", [], [*one, "--set", "iter_size=2"])
    job.result("run", processes=1, way="none", **alone)
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    several, device = (several, ["--cpu"]) if both is None else ([], ["--gpu", both])
    job.result("run", processes=2, way=way, **_train(job, folder, init, "two", several, device))
    worst, name = _deviation(init, *(_weights(folder, prefix) for prefix in ("alone", "two")))
    job.result("deviation", worst=worst, parameter=name)
    if not worst <= LIMIT:
        raise Failure(f"{name} deviates by {worst:.1e}; the limit is {LIMIT:g}")


def _count(job):
    return DRY_ITERATIONS if job.gpu is None else ITERATIONS


def _train(job, folder, init, prefix, launcher, device):
    """{ms, seconds} of a training that leaves `prefix`_iter_N.caffemodel."""
    began = time.monotonic()
    changes = [f"snapshot_prefix={folder / prefix}", "snapshot=0", "display=1", *RULE]
    Step(
        job, *launcher, "solvers/solve.py", "--solver", folder / "solver.prototxt", "--weights",
        init, "--iterations", _count(job), "--log", folder / f"{prefix}.log",
        *(word for one in changes for word in ("--set", one)), *device,
    ).finish()  # fmt: skip
    seconds = time.monotonic() - began
    log = (folder / f"{prefix}.log").read_text(errors="replace")
    known = sorted(log_times(log).values())
    half = len(known) // 2  # the first ones are slower: cuDNN looks for algorithms
    ms = 1e3 * (known[-1] - known[half]) / max(1, len(known) - 1 - half)
    return {"ms": ms, "seconds": seconds}


def _weights(folder, prefix):
    (path,) = folder.glob(f"{prefix}_iter_*.caffemodel")
    return path


def _deviation(init, alone, two):
    """(The largest deviation of a parameter, its name)."""
    import numpy as np

    from caffe.engine import read_weights

    start, expected, got = (
        {f"{layer}[{i}]": array for layer, _, blobs in read_weights(str(path))
         for i, (_, array) in enumerate(blobs)}
        for path in (init, alone, two)
    )  # fmt: skip
    worst = (0.0, "no parameter")
    for name, after in expected.items():
        if name not in start:
            continue
        moved = float(np.abs(after - start[name]).max())
        off = float(np.abs(got[name] - after).max())
        if moved:
            worst = max(worst, (off / moved, name))
    if worst[1] == "no parameter":
        raise Failure("no parameter has moved")
    return worst


def main_figure(results):
    """The worst deviation, in words."""
    found = [r for r in results if r["kind"] == "deviation"]
    return f"parameters deviate by {found[0]['worst']:.1e} at most" if found else None


def markdown(results):
    rows = [
        [str(r["processes"]), r["way"], f"{r['ms']:,.1f}", f"{r['seconds']:,.1f}"]
        for r in results if r["kind"] == "run"
    ]  # fmt: skip
    lines = table(
        ["processes", "gradients by", "ms an iteration", "seconds in all"], rows, True, left=2
    )
    for r in results:
        if r["kind"] == "deviation":
            lines += ["", f"Largest deviation: {r['worst']:.1e}, of {r['parameter']}."]
    return "\n".join(lines)
