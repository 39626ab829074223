"""The report at the end: what was compared, how many cases, the worst relative error of each."""

from __future__ import annotations

from pathlib import Path

_rows: dict = {}

TITLES = {
    "one layer": "Layers: random nets of one layer",
    "net": "Nets: rules, splits, sharing, sizes, ranges, Python layers",
    "data": "Layers that read data",
    "50 iterations": "Solvers: 50 iterations of a small convolutional net",
    "20 iterations": "Solver settings: 20 iterations",
    "solvers": "Solvers: updates, nets, log",
    "files": "Files written by one and read by the other",
    "pycaffe": "pycaffe",
    "own tests": "BVLC Caffe's own tests of pycaffe, passed by the engine",
    "models": "Published models",
    "real caffemodels": "Caffemodels trained for real",
    "every net": "Every task's every net",
    "published nets": "The VOC nets, whole, on a photograph",
    "scripts": "The toolkit's scripts under both",
}
HEAD = """# The engine against BVLC Caffe 1.0

Written by `make conformance`. Errors are max|engine - BVLC Caffe| / max|BVLC Caffe| of an array,
the worst over all arrays and cases of a row; 0 means equal to the bit.
"""


def record(group, what, errors=(), cases=1):
    """Note that `what` (of `group`) was compared: `errors` maps names to relative errors."""
    row = _rows.setdefault((group, what), {"cases": 0, "worst": 0.0, "where": ""})
    row["cases"] += cases
    for name, error in dict(errors).items():
        if error > row["worst"]:
            row["worst"], row["where"] = error, name


BLOBS_AND_GRADIENTS = {"blobs": "data ", "gradients": "gradient ", "diffs": "diff "}


def record_parts(group, what, errors, parts=BLOBS_AND_GRADIENTS):
    """Record each kind of array by itself, as `what` and its name; `parts` maps the kinds to the
    beginnings of the arrays' names."""
    for kind, prefix in parts.items():
        some = {name: error for name, error in errors.items() if name.startswith(prefix)}
        if some:
            record(group, what + kind, some)


def _number(error):
    return f"{error:.1e}" if error else "0"


def _aligned(rows):
    """Markdown lines of a table, its first row the head, with columns of one width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in rows]


def _layers(rows):
    """One row a layer type: what is recorded as "<type>, outputs" and "<type>, gradients"."""
    found: dict = {}
    for what, row in rows.items():
        kind, _, part = what.rpartition(", ")
        found.setdefault(kind, {})[part] = row
    table = [["layer", "cases", "outputs", "with gradients", "gradients"]]
    for kind, parts in sorted(found.items()):
        line = [kind]
        for part in ("outputs", "gradients"):
            row = parts.get(part)
            line += [str(row["cases"]), _number(row["worst"])] if row else ["", ""]
        table.append(line)
    return table


def _plain(rows):
    table = [["what", "cases", "worst", "in"]]
    for what, row in sorted(rows.items()):
        table.append([what, str(row["cases"]), _number(row["worst"]), row["where"]])
    return table


def complete():
    """Whether every part of the report has been compared."""
    return {group for group, _ in _rows} >= set(TITLES)


def lines():
    """The report's tables, in Markdown, a section a group; empty where nothing was compared."""
    found = []
    for group in sorted({g for g, _ in _rows}, key=[*TITLES].index):
        rows = {what: row for (one, what), row in _rows.items() if one == group}
        table = _layers(rows) if group == "one layer" else _plain(rows)
        found += [f"## {TITLES[group]}", "", *_aligned(table), ""]
    return found


def write(path, versions=""):
    """Write the whole report: the tables, between a head and what differs on purpose."""
    differs = (Path(__file__).parent / "differs.md").read_text()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEAD, versions, "", *lines(), differs.rstrip()]) + "\n")
