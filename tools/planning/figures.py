"""The figures of a plan: parameters, arithmetic, memory, disk, as a dict that goes into JSON."""

from __future__ import annotations

from tools import summary
from tools.common.cli import UserError
from tools.planning import nets as plan_nets, probe as plan_probe

HISTORIES = {"AdaDelta": 2, "Adam": 2}
"""Arrays of history for each parameter, of solvers with more than one."""

INFERENCE, TRAINING, BOTH = "inference", "training", "training with its test net"


def figures(name, found, size, classes, gpu, beside, timed):
    """The plan of one net at one size.

    gpu: whether for a GPU; beside: bytes of the program itself; timed: whether to probe this
    machine. Keys: net, size, classes, parameters, multiply_adds, memory (by what is done: bytes of
    the peak, its layer, and the same with blobs recomputed), and where there is a solver
    iterations, snapshots, disk; with `timed` also seconds and hours.
    """
    train, test, deploy = plan_nets.sized(found, size)
    size = plan_nets.size_of(deploy) or plan_nets.size_of(train or deploy)
    counts = summary.totals(summary.summarize(deploy, name))
    made = {
        "net": name,
        "size": list(size or ()),
        "classes": classes,
        "parameters": counts["learned"] + counts["fixed"],
        "multiply_adds": counts["macs"],
        "gpu": gpu,
        "program": beside,
        "memory": memory(train, test, deploy, found.solver, gpu, beside),
    }
    if found.solver is not None:
        made.update(schedule(found.solver, made["parameters"]))
    if timed:
        rates = plan_probe.seconds(deploy, train, name)
        made["seconds_forward"] = rates.forward
        if train is not None:
            passes = max(1, found.solver.iter_size) if found.solver is not None else 1
            made["seconds_iteration"] = rates.step * passes
            if found.solver is not None:
                made["hours"] = made["seconds_iteration"] * found.solver.max_iter / 3600
    return made


def memory(train, test, deploy, solver, gpu, beside):
    """{what is done: {bytes, layer, recomputed: {bytes, layer, blobs}}}; the last in training."""
    import caffe

    engine = caffe.engine
    found = {INFERENCE: _peak(engine.rehearse(deploy, gpu=gpu), beside)}
    if train is None:
        return found
    rules = solver if solver is not None else default_solver()
    for what, beside_it in ((TRAINING, None), (BOTH, test)):
        if what == BOTH and test is None:
            continue
        before, after = engine.choose_remade(train, rules, beside_it, gpu=gpu)
        found[what] = _peak(before, beside)
        if after.remade:
            found[what]["recomputed"] = _peak(after, beside)
    return found


def _peak(rehearsal, beside):
    made = {"bytes": rehearsal.taken + beside, "layer": f"{rehearsal.layer} {rehearsal.way}"}
    return {**made, "blobs": list(rehearsal.remade)} if rehearsal.remade else made


def default_solver():
    """SGD with momentum, for a net without a solver."""
    from caffe.proto import caffe_pb2

    return caffe_pb2.SolverParameter(momentum=0.9)


def schedule(solver, parameters):
    """Iterations, and the disk that snapshots take."""
    one = 4 * parameters * (2 + HISTORIES.get(solver.type, 1) - 1)
    every = solver.snapshot or solver.max_iter
    count = -(-solver.max_iter // every) if every else 0
    return {
        "iterations": solver.max_iter,
        "iter_size": solver.iter_size,
        "snapshot_bytes": one,
        "snapshots": count,
        "disk_bytes": one * count,
    }


def fit(found, solver, limit, train, test):
    """What of a plan's figures fits into `limit` bytes, and what would make the rest fit: lines.

    train, test: the sized nets.
    """
    lines = []
    for what, peak in found["memory"].items():
        lines.append(f"{what}: {_fit(what, peak, found, solver, limit, train, test)}")
    return lines


def _fit(what, peak, found, solver, limit, train, test):
    from tools.common.memory_sizes import shown

    if peak["bytes"] <= limit:
        return f"fits ({shown(peak['bytes'])})"
    least = peak.get("recomputed", peak)
    if least["bytes"] <= limit:
        import caffe

        beside_it = test if what == BOTH else None
        _, after = caffe.engine.choose_remade(
            train, solver or default_solver(), beside_it, limit - found["program"], found["gpu"]
        )
        return f"fits with --recompute {','.join(after.remade)} " + (
            f"({shown(after.taken + found['program'])}; {shown(peak['bytes'])} without)"
        )
    ways = ["smaller pictures (--size)"]
    ways += ["no test net beside it"] if what == BOTH else []
    again = "with all recomputed that helps" if least is not peak else "at least"
    return f"does not fit: {shown(least['bytes'])} {again}; give that much, or take " + (
        " or ".join(ways)
    )


def check(text, option):
    """A number of classes, 2 to MOST_CLASSES. UserError for others."""
    most = plan_nets.MOST_CLASSES
    if not text.isdecimal() or not 2 <= int(text) <= most:
        raise UserError(f"{option} {text}: is not a number of classes, 2 to {most}")
    return int(text)
