"""What tools/check_data.py found, as tables and as JSON."""

from __future__ import annotations

import collections
import os
import re

import numpy as np
from segmentation.labels import VOID
from segmentation.lists import IMAGE_ENDINGS, hidden

from tools.common.tables import table
from tools.datasets.data_walk import class_count

SHOWN = 3
"""Rows of a kind that are shown."""


def unlisted(splits):
    """{folder: how many of its files of the splits' kinds are in none of the splits}."""
    used = collections.defaultdict(set)
    for split in splits:
        for found in filter(None, split.found.values()):
            for path in found.paths.values():
                folder, name = os.path.split(path)
                used[folder].add(name)
    left = {}
    for folder, names in sorted(used.items()):
        kinds = {_ending(name) for name in names}
        if kinds & set(IMAGE_ENDINGS):
            kinds.update(IMAGE_ENDINGS)
        there = (n for n in os.listdir(folder) if _ending(n) in kinds and not hidden(n))
        left[folder] = sum(1 for name in there if name not in names)
    return {folder: count for folder, count in left.items() if count}


def _ending(name):
    return os.path.splitext(name)[1].lower()


def class_rows(split):
    """[(class, its pixels, images that have it)], void last: of the labels that are sound."""
    counts = [f.counts for f in split.found.values() if f is not None and f.counts is not None]
    pixels, images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for each in counts:
        pixels += each
        images += each > 0
    count = class_count(split.layer, split.params)
    named = len(split.classes) == count
    # Where the layer does not say how many classes there are, those that occur.
    labels = range(count) if named or count < VOID else np.flatnonzero(pixels[:count])
    names = [(split.classes[c] if named else f"class {c}", c) for c in labels]
    return [(name, int(pixels[c]), int(images[c])) for name, c in [*names, ("void", VOID)]]


def class_table(split):
    """class_rows as lines of text, with the share of all pixels in percent."""
    rows = class_rows(split)
    total = max(1, sum(pixels for _, pixels, _ in rows))
    texts = [(name, f"{100 * pixels / total:.2f}", str(images)) for name, pixels, images in rows]
    return table((f"classes of {split.name}", "pixels %", "images"), texts)


def problems(splits):
    """[(split, id, file, problem)] in the order of the lists; id "-" for a list itself."""
    return [
        (split.name, name, *row)
        for split in splits
        for name in ("-", *split.found)
        for row in split.rows.get(name, ())
    ]


def few(rows, everything=False):
    """The rows (split, id, file, text) with only the first SHOWN of a kind in a split, and a row
    that counts the others of it; those of a kind beside each other. All where `everything`."""
    if everything:
        return rows
    kinds = collections.defaultdict(list)
    for row in rows:
        kinds[row[0], _kind(row[3])].append(row)
    shown = []
    for (split, _), alike in kinds.items():
        shown += alike[:SHOWN]
        more = len(alike) - SHOWN
        if more > 0:
            shown.append((split, "…", "…", f"… and {more} more like the last (--all shows them)"))
    return shown


def _kind(text):
    """What rows of one kind have in common: the first words, without ids and numbers."""
    text = re.sub(r"\d+", "0", re.sub(r"'[^']*'|\"[^\"]*\"", "''", text))
    return " ".join(text.split()[:3])


def report(splits, left, doubts, everything=False):
    """Print everything: classes, files left over, warnings, problems, and one line for each split.

    doubts    the warnings, as rows (split, id, file, warning)
    everything   whether each row is shown, not the first few of a kind
    """
    blocks = [class_table(s) for s in splits if any(f and f.whole for f in s.found.values())]
    blocks.append(
        [
            f"{folder}: {n} more file{'s' * (n > 1)}, in none of these splits"
            for folder, n in left.items()
        ]
    )
    for heading, rows in (("warning", doubts), ("problem", problems(splits))):
        rows = few(rows, everything)
        blocks.append(table(("split", "id", "file", heading), rows, left=4) if rows else [])
    summary = []
    for s in splits:
        where = s.source.where if s.source else "cannot be read"
        summary.append((s.name, str(len(s.found)), str(s.ok), str(s.bad), where))
    blocks.append(table(("split", "images", "ok", "bad", "list"), summary, left=(0, 4)))
    print("\n\n".join("\n".join(lines) for lines in blocks if lines), flush=True)


def report_json(splits, left, doubts):
    """The same as a JSON-able dict, whole."""
    place = ("split", "id", "file")
    return {
        "splits": [
            {
                "split": s.name,
                "role": s.role,
                "list": s.source.where if s.source else None,
                "images": len(s.found),
                "expected": s.expected or None,
                "ok": s.ok,
                "bad": s.bad,
                "classes": [
                    {"name": name, "pixels": pixels, "images": images}
                    for name, pixels, images in class_rows(s)
                ],
            }
            for s in splits
        ],
        "problems": [dict(zip((*place, "problem"), row)) for row in problems(splits)],
        "warnings": [dict(zip((*place, "warning"), row)) for row in doubts],
        "in_no_split": left,
    }
