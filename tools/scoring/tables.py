"""What score.py and compare.py print of the scores beyond the four, from their reports."""

from __future__ import annotations

from tools.common.score_tables import percent
from tools.common.tables import table
from tools.scoring import averaging, images
from tools.scoring.overlap import MEASURES


def lines(report: dict, more: bool, per_image: bool) -> list[str]:
    """One snapshot's further scores: a table, after an empty line, for each part of its report."""
    parts = []
    if more:
        parts.append(overlap_table(report))
    if "boundary" in report:
        parts += [boundary_table(report), trimap_table([report], [""])]
    if "calibration" in report:
        parts.append(calibration_table(report["calibration"]))
    if "averaged" in report:
        parts.append(averaging.lines(report, report["averaged"]))
    if per_image:
        parts.append(images.lines(report["per_image"]))
    return [line for part in parts for line in ["", *part]]


def overlap_table(report: dict) -> list[str]:
    """Dice, precision and recall of each class and their means, in percent."""
    rows = [
        (one["name"], *(percent(one[measure]) for measure in MEASURES)) for one in report["classes"]
    ]
    means = ("mean", *(percent(report[f"mean_{measure}"]) for measure in MEASURES))
    return table(("class", "Dice", "precision", "recall"), [*rows, ("", "", "", ""), means])


def boundary_table(report: dict) -> list[str]:
    """Boundary F and boundary IoU of each class and their means, in percent."""
    keys = ("boundary_f", "boundary_iou")
    rows = [(one["name"], *(percent(one[key]) for key in keys)) for one in report["classes"]]
    means = ("mean", *(percent(report["boundary"][key]) for key in keys))
    return table(("class", "boundary F", "boundary IoU"), [*rows, ("", "", ""), means])


def trimap_table(reports: list[dict], names: list[str], markdown: bool = False) -> list[str]:
    """Trimap mean IU in percent: a row for each report, a column for each of their common widths;
    names are left out where they are empty."""
    found = [report["boundary"] for report in reports]
    shared = [w for w in found[0]["widths"] if all(w in one["widths"] for one in found)]
    if not shared:
        return []
    header = ["trimap mean IU", *(f"{width} px" for width in shared)]
    rows = []
    for one, name in zip(found, names):
        values = dict(zip(one["widths"], one["trimap_mean_iu"]))
        rows.append([name, *(percent(values[width]) for width in shared)])
    return table(header, rows, markdown)


def calibration_table(found: dict) -> list[str]:
    """The bins of confidence that have pixels, and the expected calibration error, in percent."""
    rows = [
        (
            f"{100 * one['above']:.1f} – {100 * one['to']:.1f}",
            str(one["pixels"]),
            percent(one["confidence"]),
            percent(one["accuracy"]),
        )
        for one in found["bins"]
        if one["pixels"]
    ]
    error = ("expected calibration error", "", "", percent(found["ece"]))
    header = ("confidence above – to", "pixels", "confidence", "accuracy")
    return table(header, [*rows, ("",) * 4, error])


COLUMNS = (
    ("Dice", lambda report: report.get("mean_dice"), max),
    ("boundary F", lambda report: report.get("boundary", {}).get("boundary_f"), max),
    ("boundary IoU", lambda report: report.get("boundary", {}).get("boundary_iou"), max),
    ("trimap mean IU", lambda report: trimap_mean(report), max),
    ("calibration error", lambda report: report.get("calibration", {}).get("ece"), min),
)
"""Heading, what a report has (a fraction or None), and which is the best."""


def trimap_mean(report: dict) -> float | None:
    """The mean over the widths of a report's trimap mean IU; None where it has none."""
    found = report.get("boundary", {}).get("trimap_mean_iu", [])
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def comparison(reports: list[dict], names: list[str], markdown: bool = False) -> list[str]:
    """Further scores of reports beside each other, `*` at the best of a column; [] where none of
    them has any. A trimap's column is there where all have the same widths."""
    widths = {tuple(report["boundary"]["widths"]) for report in reports if "boundary" in report}
    columns = []
    for heading, value, best in COLUMNS:
        values = [value(report) for report in reports]
        known = [one for one in values if one is not None]
        if not known or (heading.startswith("trimap") and len(widths) > 1):
            continue
        top = best(known) if len(reports) > 1 else None
        cells = [percent(v) + ("*" if v is not None and v == top else " ") for v in values]
        columns.append((heading, cells))
    if not columns:
        return []
    header = ["snapshot", *(heading for heading, _ in columns)]
    rows = [list(row) for row in zip(names, *(cells for _, cells in columns))]
    return table(header, rows, markdown)
