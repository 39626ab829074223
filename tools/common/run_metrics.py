"""The curves of a training: the lines of its metrics.jsonl, beside its snapshots.

A line is {"iter", "loss", "lr", "seconds", "memory"} of a displayed iteration, or {"iter",
"scores": {"pixel_accuracy", …, "loss"}, "classes": {name: iu}} of a score; what is not known, or no
number, is null.
"""

from __future__ import annotations

import csv
import io
import json
import os

from prototxt.opening import LARGEST_LIST, open_regular
from tools.common.cli import UserError
from tools.common.written import begins

NAME = "metrics.jsonl"
LINES = begins("the metrics of a training", '{"iter": ')
TABLE = begins("a table of a training's metrics", "iter,")
DISPLAYED = ("loss", "lr", "seconds", "memory")
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "fw_iu", "loss")


def is_metrics(path):
    """Whether the file `path` is a training's metrics.jsonl, by its name or its beginning."""
    if os.path.basename(path) == NAME:
        return True
    try:
        with open_regular(path) as file:
            return LINES.ours(file)
    except OSError:
        return False


def read(path):
    """The lines of a metrics.jsonl as dicts, in their order. A last line that is half written is
    left out; UserError for any other that is damaged."""
    found, broken = [], None
    try:
        with open_regular(path, LARGEST_LIST) as file:
            for number, line in enumerate(io.TextIOWrapper(file, "utf-8", "replace"), 1):
                if broken is not None:
                    break
                entry = _entry(line)
                if entry is None:
                    broken = number
                else:
                    found.append(entry)
            else:
                broken = None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if broken is not None:
        raise UserError(f"{path}:{broken}: is no line of a training's metrics; remove the line")
    return found


def _entry(line):
    """A line as a dict, or None where it is damaged."""
    try:
        entry = json.loads(line)
        known = isinstance(entry["iter"], int) and ("scores" in entry or "loss" in entry)
        scored = isinstance(entry.get("scores", {}), dict)
        return entry if known and scored and isinstance(entry.get("classes", {}), dict) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def displayed(lines, key):
    """{iteration: value} of `key` of the displayed iterations, NaN where it is null."""
    return {one["iter"]: _number(one.get(key)) for one in lines if "scores" not in one}


def scored(lines, key="mean_iu"):
    """{iteration: value} of a score, NaN where it is null."""
    return {one["iter"]: _number(one["scores"].get(key)) for one in lines if "scores" in one}


def classes(lines):
    """{class: {iteration: IU}}, NaN where it is null; in the order of the last score."""
    with_scores = [one for one in lines if "scores" in one]
    names = list(with_scores[-1].get("classes", {})) if with_scores else []
    return {
        name: {one["iter"]: _number(one.get("classes", {}).get(name)) for one in with_scores}
        for name in names
    }


def _number(value):
    return float(value) if isinstance(value, (int, float)) else float("nan")


def as_csv(lines):
    """A table of the lines as text: a row for each iteration, empty where there is nothing."""
    names = list(classes(lines))
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["iter", *DISPLAYED, *(f"score {key}" for key in SCORES),
                    *(f"iu {name}" for name in names)])  # fmt: skip
    rows: dict[int, dict] = {}
    for one in lines:
        rows.setdefault(one["iter"], {}).update(one)
    for at, row in sorted(rows.items()):
        scores, ius = row.get("scores", {}), row.get("classes", {})
        values = [row.get(key) for key in DISPLAYED]
        values += [scores.get(key) for key in SCORES] + [ius.get(name) for name in names]
        table.writerow([at, *("" if value is None else value for value in values)])
    return stream.getvalue()
