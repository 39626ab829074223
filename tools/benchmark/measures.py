"""What the bench measures: each measure is a function of the Setup that yields results.

A result is a dict that goes into performance.json as it is: measure, net, size, classes, and
`sides`: what each side gave. Times are in seconds, memory in bytes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import namedtuple

from tools.benchmark import data as bench_data, nets as bench_nets, sides as bench_sides
from tools.benchmark.nets import Case
from tools.common.cli import Progress

Setup = namedtuple("Setup", "nets sizes sides rounds threads gpu folder shrink product quick data")
Setup.__doc__ = """How the bench is run.

nets, sizes, sides   what is measured; sizes are (height, width)
rounds               turns of every side after its first pass
threads, gpu         of every side; gpu None: the CPU
folder               for nets, weights and images
shrink               channels are divided by it (bench_nets.Case)
product              side of the ceiling's matrices
quick                whether few points are enough
data                 a data set in VOC's layout for `score`, or None
"""

SMALL = (96, 96)
CHECK_RATES = {"fcn8s-vgg16": 1e-9}
CHECK_RATE = 1e-7
"""base_lr of the measure `agreement`, of a net that CHECK_RATES does not name: a few steps move the
loss, and do not yet diverge, which would make noise of rounding errors."""
GROWTH_SIZES = (64, 128, 256, 500, 707, 1000)
GROWTH_CLASSES = (2, 21, 60, 150, 400)
GROWTH_CLASSES_SIZE = (256, 256)


def weight_files(setup, case):
    """(caffemodel, safetensors): where the weights of a case's net lie."""
    stem = os.path.join(setup.folder, f"{case.net}-{case.classes}-{case.shrink}")
    return f"{stem}.caffemodel", f"{stem}.safetensors"


def weights(setup, case):
    """As weight_files; the files are made where they are not there yet."""
    files = weight_files(setup, case)
    if not all(map(os.path.exists, files)):
        net = os.path.join(setup.folder, "weights.prototxt")
        bench_nets.write(net, bench_nets.net_of(case, "train"))
        job = {"net": net, "case": list(case), "caffemodel": files[0], "tensors": files[1]}
        with bench_sides.Worker("engine", setup.threads) as worker:
            worker.call("save_weights", **job)
    return files


def job_of(setup, case, mode, dropout=True, base_lr=None):
    """What every side's `open` is told; the files that it names are written."""
    import numpy as np

    caffemodel, tensors = weights(setup, case)
    stem = os.path.join(setup.folder, "case-")
    files = {name: f"{stem}{name}.prototxt" for name in ("train", "val", "deploy", "solver")}
    for name in ("train", "val", "deploy"):
        bench_nets.write(files[name], bench_nets.net_of(case, name, dropout))
    val = files["val"] if mode == "both" else None
    solver = bench_nets.solver_of(case, files["train"], val, base_lr)
    bench_nets.write(files["solver"], solver)
    image = f"{stem}image.npz"
    np.savez(image, **bench_nets.image(case))
    return {
        "mode": mode,
        "net": case.net,
        "classes": case.classes,
        "shrink": case.shrink,
        "dropout": dropout,
        "deploy": files["deploy"],
        "solver_file": files["solver"],
        "solver": {k: getattr(solver, k) for k in ("base_lr", "momentum", "weight_decay")},
        "weights": caffemodel,
        "tensors": tensors,
        "image": image,
        "product": setup.product,
    }


def result_of(measure, case, sides, failed, **more):
    return {
        "measure": measure,
        "net": case.net,
        "size": list(case.size),
        "classes": case.classes,
        "sides": sides,
        "failed": failed,
        **more,
    }


def compare(setup, case, mode, measure=None, sides=None, rounds=None, **changes):
    """All sides in turn on one case; `mode` is forward, step (forward, backward, update) or both
    (a step, and a forward pass of the test net). `changes`: see job_of.

    Of every side: cold (from the start of its process to the end of the first pass), seconds and
    losses of the rounds, peak memory, and what its GPU held more when it had run twice.
    """
    measure, sides, rounds = measure or mode, sides or setup.sides, rounds or setup.rounds
    job = job_of(setup, case, mode, **changes)
    found = {}
    with team_of(f"{measure}: {bench_nets.title(case)}", len(sides) * (rounds + 1)) as (team, step):
        for side in sides:
            used = None if setup.gpu is None else bench_sides.gpu_used(setup.gpu)
            worker = team.start(side, setup.threads, setup.gpu)
            team.call(side, "open", job=job)
            first = team.call(side, "run")
            found[side] = {"cold": time.monotonic() - worker.began, "first": first}
            if used is not None:
                team.call(side, "run")
                found[side]["driver"] = (bench_sides.gpu_used(setup.gpu) or used) - used
            step(side)
        for side, answers in team.turns(rounds, "run", step).items():
            for name in ("seconds", "loss", "rate"):
                values = [answer.get(name) for answer in answers]
                if values[0] is not None:
                    found[side][name] = values
            found[side].update(team.call(side, "memory") or {})
            if mode == "forward" and side != "ceiling":
                found[side].update(team.call(side, "loss", image=job["image"]) or {})
    for side in team.failed:
        found.pop(side, None)
    return result_of(measure, case, found, team.failed, flop=bench_nets.flop(case))


@contextlib.contextmanager
def team_of(what, calls):
    """(Team, function to be called with the side after each of so many calls: shows progress)."""
    with bench_sides.Team() as team, Progress(calls, what, "runs") as bar:
        yield team, lambda side: bar.update(note=side)


def cases(setup, sizes=None):
    for net in setup.nets:
        for size in sizes or setup.sizes:
            yield Case(net, size, shrink=setup.shrink)


def forward(setup):
    """A forward pass, TEST phase."""
    for case in cases(setup):
        yield compare(setup, case, "forward")


def step(setup):
    """A training step: forward, backward, update."""
    for case in cases(setup):
        yield compare(setup, case, "step")


def both(setup):
    """Training with a test net beside it, as the paper's table 6 has it; the first size."""
    sides = [side for side in setup.sides if side not in ("unfolded", "ceiling")]
    for case in cases(setup, setup.sizes[:1]):
        yield compare(setup, case, "both", sides=sides)


def agreement(setup):
    """The losses of a few steps without dropout, at a rate that moves them: same on all sides?"""
    sides = [side for side in setup.sides if side != "ceiling"]
    for case in cases(setup, [SMALL]):
        changes = {"dropout": False, "base_lr": CHECK_RATES.get(case.net, CHECK_RATE)}
        yield compare(setup, case, "step", "agreement", sides, rounds=3, **changes)


def small(setup):
    """A training step on a small image, where padding is most of the arithmetic."""
    for case in cases(setup._replace(nets=setup.nets[:1]), [SMALL]):
        yield compare(setup, case, "step", "small")


def load(setup):
    """Reading the weights into a net that is there."""
    sides = [side for side in setup.sides if side != "ceiling"]
    for case in cases(setup, [SMALL]):
        job = job_of(setup, case, "forward")
        with team_of(f"load: {case.net}", len(sides) * (setup.rounds + 1)) as (team, step):
            for side in sides:
                team.start(side, setup.threads, setup.gpu)
                team.call(side, "open", job=job)
                step(side)
            answers = team.turns(setup.rounds, "load", step)
        found = {side: {"seconds": [a["seconds"] for a in said]} for side, said in answers.items()}
        size = os.path.getsize(job["weights"])
        yield result_of("load", case, found, team.failed, bytes=size)


def overhead(setup):
    """Forward and backward of a net of small layers."""
    net = os.path.join(setup.folder, "small.prototxt")
    with open(net, "w", encoding="utf-8") as file:
        file.write(bench_nets.small_layers())
    count = 50 if setup.quick else 500
    sides = [side for side in ("engine", "bvlc") if side in setup.sides]
    if not sides:
        return
    with team_of("overhead: 20 small layers", len(sides) * setup.rounds) as (team, step):
        for side in sides:
            team.start(side, setup.threads, setup.gpu)
        answers = team.turns(setup.rounds, "iterate", step, net=net, count=count)
    found = {side: {"seconds": [a["seconds"] for a in said]} for side, said in answers.items()}
    yield result_of("overhead", Case("small", (8, 8), 4), found, team.failed)


def score(setup):
    """score.py's own code on photographs, and what of it is not the net's forward passes."""
    if "engine" not in setup.sides:
        return
    case = Case(setup.nets[0], (bench_data.HEIGHT, bench_data.WIDTH), shrink=setup.shrink)
    params, count = bench_data.score_source(setup.folder, setup.data, 2 if setup.quick else 10)
    net = os.path.join(setup.folder, "val-data.prototxt")
    bench_nets.write(net, bench_nets.val_net(case, **params))
    caffemodel, _ = weights(setup, case)
    with team_of("score", setup.rounds) as (team, step):
        team.start("engine", setup.threads, setup.gpu)
        team.call("engine", "open_score", net=net, weights=caffemodel)
        answers = team.turns(setup.rounds, "score_all", step)
    found = {
        side: {name: [answer[name] for answer in said] for name in said[0]}
        for side, said in answers.items()
    }
    yield result_of("score", case, found, team.failed, images=count)


def growth(setup):
    """Time and memory of the engine as the image, and as the number of classes, grows."""
    if "engine" not in setup.sides:
        return
    sizes = GROWTH_SIZES[:2] if setup.quick else GROWTH_SIZES
    classes = GROWTH_CLASSES[:2] if setup.quick else GROWTH_CLASSES
    net = setup.nets[0]
    points = [Case(net, (side, side), shrink=setup.shrink) for side in sizes]
    points += [Case(net, GROWTH_CLASSES_SIZE, count, setup.shrink) for count in classes]
    for number, case in enumerate(points):
        axis = "size" if number < len(sizes) else "classes"
        for mode in ("forward", "step"):
            rounds = min(setup.rounds, 3)
            found = compare(setup, case, mode, "growth", ["engine"], rounds)
            yield {**found, "axis": axis, "mode": mode}
        if case.classes != bench_nets.CLASSES:  # no other measure takes them
            for path in weights(setup, case):
                os.unlink(path)


MEASURES = {
    function.__name__: function
    for function in (forward, step, agreement, load, small, overhead, score, growth, both)
}
