"""tools/check_data.py run on a user's small data set, and labels drawn anew in it."""

from __future__ import annotations

import json
import os

import numpy as np
from PIL import Image
from segmentation.pictures import read_label

from tests.helpers.data_sets import LABELS, write_toml
from tools import check_data


def check(root, *arguments, jobs=1):
    """(exit code, {(split, id, file's name, problem)}, the JSON report) of a user's data set."""
    out = root.parent / "report.json"
    toml = write_toml(root.parent / "small.toml", root)
    call = ["--own", str(toml), "--jobs", str(jobs), "--json", str(out), *arguments]
    code = check_data.main(call)
    made = json.loads(out.read_text())
    rows = [
        (p["split"], p["id"], os.path.basename(p["file"]), p["problem"]) for p in made["problems"]
    ]
    return code, sorted(rows), made


def warned(root, *arguments):
    """(exit code, {(split, id, file's name, warning)}) of a user's data set."""
    code, _, made = check(root, *arguments)
    return code, {
        (w["split"], w["id"], os.path.basename(w["file"]), w["warning"]) for w in made["warnings"]
    }


def draw(data, names, change):
    """Write the labels of `names` anew, each as change(label) makes it, gray."""
    for name in names:
        label = change(read_label(data / LABELS / f"{name}.png").copy())
        Image.fromarray(label.astype(np.uint8)).save(data / LABELS / f"{name}.png")


def without(*classes):
    return lambda label: np.where(np.isin(label, classes), 0, label)
