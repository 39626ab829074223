"""What lies in a folder: photographs, masks, annotations, by their folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from segmentation.annotations import coco, cvat, labelme
from segmentation.lists import IMAGE_ENDINGS, hidden
from segmentation.params import DataError

from prototxt.opening import open_regular
from tools.common.cli import UserError

DEEPEST = 6
MOST_FILES = 3_000_000
HEAD = 1 << 16


@dataclass
class Scan:
    """The files below a folder, as paths relative to it with / between folders.

    photographs, masks  {folder: {file name without ending: ending}}; a .png may be both
    jsons, xmls, texts  paths
    """

    root: str
    photographs: dict[str, dict[str, str]] = field(default_factory=dict)
    masks: dict[str, dict[str, str]] = field(default_factory=dict)
    jsons: list[str] = field(default_factory=list)
    xmls: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def scan(root) -> Scan:
    """The Scan of the folder `root`; hidden files and what lies too deep are left out. Raises
    UserError."""
    found, files = Scan(root), 0
    for folder, inner, names in os.walk(root):
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        below = "" if below == "." else below
        inner[:] = sorted(d for d in inner if not hidden(d) and below.count("/") < DEEPEST)
        files += len(names)
        if files > MOST_FILES:
            raise UserError(f"{root}: more than {MOST_FILES} files; name a smaller folder")
        for name in sorted(names):
            if not hidden(name):
                _sort(found, below, name)
    return found


def _sort(found, below, name):
    stem, ending = os.path.splitext(name)
    path = f"{below}/{name}" if below else name
    if ending.lower() in IMAGE_ENDINGS:
        found.photographs.setdefault(below, {})[stem] = ending
    if ending.lower() == ".png":
        found.masks.setdefault(below, {})[stem] = ending
    elif ending.lower() == ".json":
        found.jsons.append(path)
    elif ending.lower() == ".xml":
        found.xmls.append(path)
    elif ending.lower() in (".txt", ".csv"):
        found.texts.append(path)


def kind_of(path) -> str:
    """ "labelme", "coco", "cvat" by the words at a file's beginning and end, or ""."""
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - HEAD))
            words = head + file.read(HEAD)
    except OSError:
        return ""
    if path.lower().endswith(".xml"):
        return "cvat" if b"<annotations" in words else ""
    if b'"shapes"' in words and (b'"shape_type"' in words or b'"imagePath"' in words):
        return "labelme"
    return "coco" if sum(k in words for k in (b'"images"', b'"annotations"', b'"categories"')) > 1 \
        else ""  # fmt: skip


def entries(path):
    """{id: Picture} of a COCO or CVAT file, or None and why it cannot be read."""
    try:
        return (cvat if path.lower().endswith(".xml") else coco).read(path), ""
    except DataError as error:
        return None, str(error)


def labelme_names(paths):
    """({label: how many shapes}, [problems]) of labelme files."""
    counts: dict[str, int] = {}
    problems = []
    for path in paths:
        try:
            for shape in labelme.read(path).shapes:
                counts[shape.name] = counts.get(shape.name, 0) + 1
        except DataError as error:
            problems.append(str(error))
    return counts, problems
