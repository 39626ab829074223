"""The page's tables of scores: the four, classes, images; and the confusion matrix."""

from __future__ import annotations

import json
import os

import numpy as np

from tools.common.score_tables import COLUMNS, percent
from tools.reporting.content import Content, Picture
from tools.reporting.markup import Markup, table, tag
from tools.scoring.images import worst_first

CELLS = 32
"""Classes of a confusion matrix that is drawn as one; of more, only the largest confusions."""
CONFUSIONS = 40
"""Rows of the table of the largest confusions."""
PICTURES = 4
"""Pictures that a cell opens."""
ROWS = 1000
"""Images in the table."""
COLUMNS_OF_CLASSES = 24
"""Classes that have a column in the table of images."""


def number(value, digits=1):
    """A table's cell of a fraction, in percent; sorts by the number, None last."""
    sort = "" if value is None else f"{value:.9g}"
    return percent(value, digits), {"class_": "number", "data_sort": sort}


def summary(content: Content) -> list[Markup]:
    """The four scores, a row for each run."""
    rows: list[list] = []
    for label, run, one in zip(content.labels, content.runs, content.scored):
        if one is None:
            rows.append([label, f"not scored: {'; '.join(run.missing)}"] + [""] * len(COLUMNS))
            continue
        cells = [number(one.report[key], 2) for _, key in COLUMNS]
        loss = one.report["loss"]
        cells.append(("-" if loss is None else f"{loss:.4g}", {"class_": "number"}))
        name = tag("span", os.path.basename(one.weights), title=one.weights)
        rows.append([label, [name, f" ({one.why})"], *cells])
    header = ["run", "snapshot", *(heading for heading, _ in COLUMNS), "loss"]
    notes = [
        tag("p", f"{label}: scored as {one.source} says.", class_="note")
        for label, one in zip(content.labels, content.scored)
        if one is not None and one.source
    ]
    return [table(header, rows), *notes]


def classes(content: Content) -> list[Markup]:
    """Each class's scores of the first run, and the IU of the others with the difference."""
    one = content.scored[0]
    if one is None:
        return []
    others = [
        (label, other.report["classes"])
        for label, other in zip(content.labels[1:], content.scored[1:])
        if other is not None
    ]
    truth = np.array(one.report["hist"]).sum(1)
    measures = ("iu", "accuracy", "precision", "dice")
    rows = []
    for place, found in enumerate(one.report["classes"]):
        cells = [number(truth[place] / truth.sum() if truth.sum() else None)]
        cells += [number(found[key]) for key in measures]
        for _, entries in others:
            there = entries[place]["iu"]
            cells += [number(there), _difference(there, found["iu"])]
        rows.append([swatch(content, place), *cells])
    header = ["class", "share of the pixels", "IU", "accuracy", "precision", "Dice"]
    for label, _ in others:
        header += [f"IU of {label}", "difference"]
    return [table(header, rows, class_="sortable")]


def _difference(there, here):
    if there is None or here is None:
        return "-", {"class_": "number", "data_sort": ""}
    value = 100 * (there - here)
    kind = "number more" if value > 0 else "number less" if value < 0 else "number"
    return f"{value:+.1f}", {"class_": kind, "data_sort": repr(value)}


def swatch(content: Content, place: int) -> Markup:
    """A class's name, or that of void, after its colour."""
    colour = "#{:02x}{:02x}{:02x}".format(*content.colours[place].tolist())
    name = content.names[place] if place < len(content.names) else "void (no truth)"
    box = tag("svg", tag("rect", width=12, height=12, fill=colour), viewBox="0 0 12 12",
              class_="swatch", aria_hidden="true")  # fmt: skip
    return tag("span", box, " ", name, class_="class")


def confusion(content: Content) -> list[Markup]:
    """The matrix, of not too many classes, and the largest confusions."""
    one = content.scored[0]
    if one is None:
        return []
    hist = np.array(one.report["hist"], np.int64)
    shown = {picture.name: place for place, picture in enumerate(content.shown())}
    parts = []
    if len(hist) <= CELLS:
        said = (
            "Rows are the truth, columns what was predicted; percent of the truth's pixels. A cell "
            "opens the images behind it."
        )
        parts = [tag("p", said), _matrix(content, hist, one, shown)]
    return [*parts, tag("h3", "The largest confusions"), _largest(content, hist, one, shown)]


def _matrix(content, hist, one, shown):
    header = ["truth ↓, predicted →"]
    header += [tag("span", name, class_="turned") for name in content.names]
    rows = []
    for i, counts in enumerate(hist):
        cells = [_cell(content, one, shown, hist, i, j) for j in range(len(counts))]
        rows.append([swatch(content, i), *cells])
    return table(header, rows, class_="matrix")


def _cell(content, one, shown, hist, i, j):
    if not hist[i, j]:
        return "", {"class_": "none"}
    share = hist[i, j] / hist[i].sum()
    kind = "right" if i == j else "wrong"
    depth = min(9, int(10 * share ** (1 if i == j else 0.5)))
    told = f"{100 * share:.0f}" if share >= 0.005 else "·"
    return _opener(content, one, shown, hist, i, j, told), {"class_": f"{kind} depth{depth}"}


def _opener(content, one, shown, hist, i, j, told):
    """A button that opens the images behind a pair of classes."""
    pictures = content.shown()
    counts = [(int(picture.hist[i, j]), place) for place, picture in enumerate(pictures)]
    behind = sorted((c for c in counts if c[0]), key=lambda c: (-c[0], c[1]))[:PICTURES]
    top = one.behind.of_pair(i, j) if one.behind is not None else []
    others = [[name, pixels] for name, pixels in top if name not in shown]
    words = f"truth {content.names[i]}, predicted {content.names[j]}: {_pixels(hist[i, j])}"
    return tag(
        "button", told, class_="opener", aria_label=words, data_pair=f"{i} {j}",
        data_pictures=" ".join(f"{place}:{pixels}" for pixels, place in behind),
        data_others=json.dumps(others) if others else None,
    )  # fmt: skip


def _pixels(count):
    return f"{int(count):,} pixel{'' if count == 1 else 's'}".replace(",", " ")


def _largest(content, hist, one, shown):
    wrong = hist.copy()
    np.fill_diagonal(wrong, 0)
    order = [divmod(int(at), len(hist)) for at in np.argsort(-wrong, axis=None, kind="stable")]
    rows = []
    for i, j in order[:CONFUSIONS]:
        if wrong[i, j]:
            count = {"class_": "number", "data_sort": int(wrong[i, j])}
            share = number(wrong[i, j] / hist[i].sum())
            opener = _opener(content, one, shown, hist, i, j, "images")
            rows.append([swatch(content, i), swatch(content, j),
                         (f"{wrong[i, j]:,}".replace(",", " "), count), share, opener])  # fmt: skip
    if not rows:
        return tag("p", "None: every pixel is right.", class_="note")
    header = ["truth", "predicted", "pixels", "percent of the truth", "behind it"]
    return table(header, rows, class_="sortable")


def images(content: Content) -> list[Markup]:
    """A row for each image of the split, worst first."""
    one = content.scored[0]
    if one is None or not one.rows:
        return [tag("p", "Not scored image by image.", class_="note")]
    rows, note = worst_first(one.rows), []
    if len(rows) > ROWS:
        said = f"The {ROWS // 2} worst and the {ROWS // 2} best of {len(rows)} images."
        rows, note = rows[: ROWS // 2] + rows[-ROWS // 2 :], [tag("p", said, class_="note")]
    names = content.names if len(content.names) <= COLUMNS_OF_CLASSES else []
    shown = {picture.name: place for place, picture in enumerate(content.shown())}
    lossy = any(row["loss"] is not None for row in rows)
    header = ["image", "mean IU", "pixel accuracy", *(["loss"] if lossy else [])]
    header += [f"IU of {name}" for name in names]
    body = [_image_row(row, shown, lossy, len(names)) for row in rows]
    return [*note, table(header, body, class_="sortable")]


def _image_row(row, shown, lossy, classes):
    place, name = shown.get(row["id"]), row["id"]
    head = name if place is None else tag("a", name, href=f"#image-{place}")
    cells = [number(row["mean_iu"]), number(row["pixel_accuracy"])]
    if lossy:
        loss = row["loss"]
        sort = "" if loss is None else repr(loss)
        told = "-" if loss is None else f"{loss:.4g}"
        cells.append((told, {"class_": "number", "data_sort": sort}))
    return [head, *cells, *(number(iu) for iu in row["iu"][:classes])]


def words_of(picture: Picture) -> str:
    """An image's scores in words."""
    row = picture.row
    mean_iu, right = (percent(row[key], 1) for key in ("mean_iu", "pixel_accuracy"))
    told = f"mean IU {mean_iu}, pixel accuracy {right}"
    return told if row["loss"] is None else f"{told}, loss {row['loss']:.4g}"
