"""The table at the end: what was compared, how many cases, the worst relative error of each."""

from __future__ import annotations

from pathlib import Path

_rows: dict = {}


def record(group, what, errors=(), cases=1):
    """Note that `what` (of `group`) was compared: `errors` maps names to relative errors."""
    row = _rows.setdefault((group, what), {"cases": 0, "worst": 0.0, "where": ""})
    row["cases"] += cases
    for name, error in dict(errors).items():
        if error > row["worst"]:
            row["worst"], row["where"] = error, name


def table():
    """The lines of the report, in Markdown; empty where nothing was compared."""
    if not _rows:
        return []
    head = [
        "| part | what | cases | worst relative error | in |",
        "| --- | --- | --- | --- | --- |",
    ]
    return head + [
        f"| {group} | {what} | {row['cases']} | {row['worst']:.1e} | {row['where']} |"
        for (group, what), row in sorted(_rows.items())
    ]


def write(path):
    lines = table()
    if lines:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("# The engine against BVLC Caffe 1.0\n\n" + "\n".join(lines) + "\n")
