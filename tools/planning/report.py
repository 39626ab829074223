"""A plan as an aligned table: nets side by side."""

from __future__ import annotations

from tools.common.memory_sizes import shown
from tools.common.tables import table
from tools.planning.figures import BOTH, INFERENCE, TRAINING


def lines(plans, markdown=False):
    """The figures of several plans, a column each."""
    header = ["", *(title(plan) for plan in plans)]
    rows = [[label, *cells] for label, cells in _rows(plans) if any(cell != "-" for cell in cells)]
    found = table(header, rows, markdown)
    where = "allocated on a GPU" if plans[0]["gpu"] else "of the process, on the CPU"
    return [
        *found,
        "",
        f"memory: the most that is in use, {where}; multiply-adds: of a forward pass",
    ]


def title(plan):
    size = "x".join(map(str, plan["size"]))
    classes = f" {plan['classes']} classes" if plan["classes"] else ""
    return f"{plan['net']} {size}{classes}"


def _rows(plans):
    def row(label, of):
        return label, [of(plan) for plan in plans]

    yield row("parameters", lambda p: f"{p['parameters']:,}")
    yield row("multiply-adds, 10^9", lambda p: f"{p['multiply_adds'] / 1e9:,.1f}")
    for what in (INFERENCE, TRAINING, BOTH):
        yield row(f"memory, {what}", lambda p, w=what: _memory(p, w, False))
        if what != INFERENCE:
            yield row("  with --recompute auto", lambda p, w=what: _memory(p, w, True))
    yield row("most in use in training at", _place)
    yield row("iterations", lambda p: _number(p, "iterations"))
    yield row("snapshots", lambda p: _number(p, "snapshots"))
    yield row("  one of them", lambda p: _size(p, "snapshot_bytes"))
    yield row("  disk, all kept", lambda p: _size(p, "disk_bytes"))
    yield row("seconds, inference", lambda p: _time(p, "seconds_forward"))
    yield row("seconds, iteration", lambda p: _time(p, "seconds_iteration"))
    yield row("hours, whole training", lambda p: _time(p, "hours"))


def _memory(plan, what, recomputed):
    peak = plan["memory"].get(what)
    if peak is not None and recomputed:
        peak = peak.get("recomputed")
    return "-" if peak is None else shown(peak["bytes"])


def _place(plan):
    peak = plan["memory"].get(TRAINING)
    return "-" if peak is None else peak["layer"]


def _number(plan, key):
    return f"{plan[key]:,}" if key in plan else "-"


def _size(plan, key):
    return shown(plan[key]) if key in plan else "-"


def _time(plan, key):
    return f"{plan[key]:,.3g}" if plan.get(key) is not None else "-"
