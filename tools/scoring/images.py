"""Scores image by image."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np

from tools.common.metrics import metrics
from tools.common.score_tables import percent
from tools.common.tables import table
from tools.common.written import Written, begins, json_of

SHOWN = 10
TABLE = begins("scores by image of score.py", "id,pixel_accuracy,", "snapshot,id,pixel_accuracy,")
LIST = json_of("scores by image of score.py", "id", "pixel_accuracy", "mean_iu", "loss", "iu")


def row(name: str, hist: np.ndarray, loss: float | None) -> dict:
    """One image's scores from its confusion matrix, None for what is not defined: `id`,
    `pixel_accuracy`, `mean_iu`, `loss`, `iu` (a list, each class's).

    Mean IU is over the classes that the image's truth or its prediction has; void pixels count for
    neither.
    """
    found = metrics(hist)
    return {
        "id": name,
        "pixel_accuracy": _number(found["pixel_accuracy"]),
        "mean_iu": _number(found["mean_iu"]),
        "loss": None if loss is None else _number(loss),
        "iu": [_number(iu) for iu in found["iu"]],
    }


def _number(value):
    return float(value) if math.isfinite(value) else None


def worst_first(rows: list[dict]) -> list[dict]:
    """The rows by rising mean IU, then in their order; those of void alone last."""
    return sorted(rows, key=lambda one: math.inf if one["mean_iu"] is None else one["mean_iu"])


def lines(rows: list[dict]) -> list[str]:
    """The worst and the best images as lines of text, all where they are few."""
    order = worst_first(rows)
    cells = [
        [one["id"], percent(one["mean_iu"]), percent(one["pixel_accuracy"]), _loss(one["loss"])]
        for one in order
    ]
    if len(cells) > 2 * SHOWN:
        left = len(cells) - 2 * SHOWN
        cells = [*cells[:SHOWN], [f"({left} more)", "", "", ""], *cells[-SHOWN:]]
    header = ["image, worst first", "mean IU", "pixel accuracy", "loss"]
    if all(one["loss"] is None for one in order):
        header, cells = header[:3], [cell[:3] for cell in cells]
    return table(header, cells)


def _loss(value):
    return "-" if value is None else f"{value + 0.0:.4g}"


def kind(path: str) -> Written:
    """What the file `path` is to be: a JSON list or, by any other ending than .json, a CSV."""
    return LIST if path.lower().endswith(".json") else TABLE


def content(path: str, parts: list[tuple[str, list[dict]]], names: list[str]) -> str:
    """The text of the file `path`: rows of each snapshot of `parts` (label, rows), worst first.

    names: of the classes. A column, or key, `snapshot` is there where they are several.
    """
    rows = [
        {**({"snapshot": label} if len(parts) > 1 else {}), **one}
        for label, found in parts
        for one in worst_first(found)
    ]
    if kind(path) is LIST:
        named = [{**one, "iu": dict(zip(names, one["iu"]))} for one in rows]
        return json.dumps(named, indent=1, ensure_ascii=False) + "\n"
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [key for key in rows[0] if key != "iu"]
    writer.writerow([*keys, *(f"IU of {name}" for name in names)])
    for one in rows:
        writer.writerow(["" if v is None else v for v in [*(one[k] for k in keys), *one["iu"]]])
    return out.getvalue()
