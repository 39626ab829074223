"""Tables of scores: one snapshot's, or several beside each other as `score.py --json` has them."""

from __future__ import annotations

import os

import numpy as np

from tools.common.tables import table

COLUMNS = (
    # heading, key in the report
    ("pixel accuracy", "pixel_accuracy"),
    ("mean accuracy", "mean_accuracy"),
    ("mean IU", "mean_iu"),
    ("f.w. IU", "fw_iu"),
)
SHORT_NAME = 14


def report(scores, hist, loss, names, **more):
    """What is known of one snapshot as a JSON-able dict; what is not defined is null.

    scores: of `metrics.metrics`, fractions; hist: the confusion matrix; names: of the classes;
    more: net, weights (paths), images (ids).
    """

    def number(value):
        return float(value) if np.isfinite(value) else None

    return {
        **more,
        **{key: number(scores[key]) for key in list(scores) if np.ndim(scores[key]) == 0},
        "loss": number(loss),
        "classes": [
            {"name": name, "iu": number(iu), "accuracy": number(accuracy)}
            for name, iu, accuracy in zip(names, scores["iu"], scores["accuracy"])
        ],
        "hist": hist.tolist(),
    }


def snapshot_table(scores, loss, names):
    """One snapshot's scores (`metrics.metrics`) as lines of text, in percent, one class a line."""
    classes = zip(names, scores["iu"], scores["accuracy"])
    rows = [(name, _percent(iu), _percent(accuracy)) for name, iu, accuracy in classes]
    rows.append(("", "", ""))
    rows += [(label, _percent(scores[key]), "") for label, key in COLUMNS]
    if not np.isnan(loss):
        rows.append(("loss", _loss(loss), ""))
    return table(("class", "IU", "accuracy"), rows)


def _percent(value):
    return percent(None if np.isnan(value) else value)


def distinct(paths):
    """The paths by their file names, with as many folders before them as it takes to differ."""
    parts = [[part for part in os.path.abspath(path).split(os.sep) if part] for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def percent(value, digits=2):
    """A fraction as text in percent; `-` for None."""
    return "-" if value is None else f"{100 * value:.{digits}f}"


def comparison(reports, names, markdown=False, compare_loss=True):
    """Lines: one row of scores in percent per report, `*` at the best of a column.

    reports: as `score.report` makes them (fractions, None for what is not defined). The loss is
    marked only with `compare_loss`: those of different nets need not mean the same.
    """
    columns = [_marked([report[key] for report in reports], percent, max) for _, key in COLUMNS]
    header = ["snapshot", *(heading for heading, _ in COLUMNS)]
    losses = [report["loss"] for report in reports]
    if any(loss is not None for loss in losses):
        header.append("loss")
        columns.append(_marked(losses, _loss, min if compare_loss else None))
    keys = column_names(names)
    labels = names if keys == names else [f"{key} {name}" for key, name in zip(keys, names)]
    rows = [list(row) for row in zip(labels, *columns)]
    return table(header, rows, markdown)


def class_table(reports, names, markdown=False):
    """Lines: every class's IU in percent, one column per report. All must have one class list."""
    per_class = zip(*(report["classes"] for report in reports))
    rows = [[same[0]["name"], *(percent(one["iu"]) for one in same)] for same in per_class]
    return table(["IU of class", *column_names(names)], rows, markdown)


def column_names(names):
    """The names as headings; where they are long, #1, #2, ... for all."""
    if max(map(len, names)) <= SHORT_NAME:
        return names
    return [f"#{number}" for number in range(1, len(names) + 1)]


def _loss(value):
    return "-" if value is None else f"{value + 0.0:.4g}"  # -0 + 0 is 0


def _marked(values, form, best):
    """The values as text, all with room for the `*` that the best (max or min) has."""
    known = [value for value in values if value is not None]
    top = best(known) if best and len(values) > 1 and known else None
    return [form(v) + ("*" if v is not None and v == top else " ") for v in values]
