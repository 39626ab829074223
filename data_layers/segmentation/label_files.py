"""Where the label of an id comes from: a picture of class numbers, a mask in colours, annotations.

Keys of a layer that takes all of them:
  colours      {class number, or 255 for void: [red, green, blue] or a list of these}: labels are
               masks in these colours
  annotations  relative to the data set's folder or absolute: COCO's .json, CVAT's .xml, or a folder
               of labelme's .json, one for each id. {split} in it stands for the split's name
  names        {label in annotations: class number, or 255}
  other        the number of colours, or labels of annotations, that the table lacks; without it
               they are errors
  unlabelled   the number of pixels that no annotation covers; default 255
  crowd        the number of COCO's crowds; without it, their class's
  overlap      which annotation has a pixel of several: "later" in the file (the default of labelme
               and CVAT), "smaller" in area (COCO's), or none, "void"
"""

from __future__ import annotations

import functools
import os

from segmentation.annotations import coco, cvat, labelme
from segmentation.annotations.drawing import OVERLAPS, Manner, label_map
from segmentation.colours import colour_table, read_colours
from segmentation.files import LABEL_ENDINGS, find
from segmentation.labels import VOID
from segmentation.params import DataError, integer, string
from segmentation.pictures import read_label

MOST_NAMES = 10_000


def label_names(value):
    """A kind: {label: class number or 255}; or None."""
    if value is None:
        return None
    good = isinstance(value, dict) and 0 < len(value) <= MOST_NAMES
    if not good or not all(isinstance(key, str) for key in value):
        raise ValueError("expected {label: class number}")
    return {key: integer(0, VOID)(number) for key, number in value.items()}


def maybe(kind):
    """The kind that also takes None."""
    return lambda value: None if value is None else kind(value)


def overlap(value):
    """A kind: one of OVERLAPS, or None for the format's own."""
    if value is not None and value not in OVERLAPS:
        raise ValueError(f"expected one of {', '.join(OVERLAPS)}")
    return value


SCHEMA = {
    "colours": (colour_table, None),
    "annotations": (maybe(string), None),
    "names": (label_names, None),
    "other": (maybe(integer(0, VOID)), None),
    "unlabelled": (integer(0, VOID), VOID),
    "crowd": (maybe(integer(0, VOID)), None),
    "overlap": (overlap, None),
}


class Entry(str):
    """The path of a file of annotations, and the entry of it that an id means."""

    id = ""
    """of an entry among others; empty where the file has but one"""


class Pictures:
    """Pictures of class numbers, or in colours, in a folder."""

    def __init__(self, folder, suffix="", colours=None, other=None):
        self.folder, self.suffix, self.colours, self.other = folder, suffix, colours, other

    def find(self, name):
        """The path of an id's label. Raises DataError."""
        return find(self.folder, name + self.suffix, LABEL_ENDINGS, "label")

    def read(self, path, size):
        """H x W uint8 class numbers; size() gives the photograph's (height, width). Raises
        DataError."""
        if self.colours is None:
            return read_label(path)
        return read_colours(path, self.colours, self.other)


class Annotations:
    """A file of annotations, or a folder of a file for each id."""

    folder = ""

    def __init__(self, place, manner):
        self.place, self.manner = place, manner

    def find(self, name):
        """The path of an id's file, or the Entry in a file. Raises DataError."""
        if os.path.isdir(self.place):
            return find(self.place, name, (".json",), "labelme file")
        if _entry_of(self._all(), name) is None:
            raise DataError(f"{self.place}: has no image {name!r}{_some(self._all())}")
        entry = Entry(self.place)
        entry.id = name
        return entry

    def read(self, entry, size):
        """H x W uint8 class numbers, of size() where the file does not say. Raises DataError."""
        if os.path.isdir(self.place):
            return label_map(entry, labelme.read(entry), size, self.manner)
        picture = _entry_of(self._all(), entry.id)
        if picture is None:
            raise DataError(f"{self.place}: has no image {entry.id!r}")
        return label_map(f"{self.place}: image {entry.id!r}", picture, size, self.manner)

    def _all(self):
        return entries(self.place)


def _entry_of(pictures, name):
    """The Picture of an id, which the file may name with folders before it."""
    if name in pictures:
        return pictures[name]
    found = pictures.by_file.get(name.rsplit("/", 1)[-1], ())
    return pictures[found[0]] if len(found) == 1 else None


def _some(pictures):
    few = ", ".join(list(pictures)[:3])
    return f"; it has {few}{', …' * (len(pictures) > 3)}" if few else ", nor any other"


class _Entries(dict):
    """{id: Picture}; by_file: {the id without folders: [ids]}."""

    def __init__(self, pictures):
        super().__init__(pictures)
        self.by_file: dict[str, list[str]] = {}
        for name in pictures:
            self.by_file.setdefault(name.rsplit("/", 1)[-1], []).append(name)


def entries(path):
    """{id: Picture} of a COCO or CVAT file, read once while it stays the same. Raises DataError."""
    try:
        seen = os.stat(path)
    except OSError:
        raise DataError(f"{path}: no such file of annotations") from None
    return _read_entries(path, seen.st_mtime_ns, seen.st_size)


@functools.lru_cache(maxsize=4)
def _read_entries(path, changed, size):
    return _Entries((cvat if path.lower().endswith(".xml") else coco).read(path))


def of(params, folder):
    """What has the labels that a layer's parameters describe: Pictures in `folder`, or Annotations.

    Raises DataError.
    """
    if not params["annotations"]:
        return Pictures(folder, params["label_suffix"], params["colours"], params["other"])
    if params["colours"] is not None:
        raise DataError("colours: are of masks; leave them out, or annotations")
    place = params["annotations"].replace("{split}", params["split"])
    place = os.path.join(params["voc_dir"], os.path.expanduser(place))
    if not os.path.exists(place):
        raise DataError(f"{place}: no such file or folder of annotations")
    if params["names"] is None:
        raise DataError("names: is missing in param_str; annotations need the labels' classes")
    if not os.path.isdir(place) and not place.lower().endswith((".json", ".xml")):
        raise DataError(f"{place}: expected COCO's .json, CVAT's .xml, or a folder of labelme's")
    many = place.lower().endswith(".json") and not os.path.isdir(place)
    manner = Manner(
        params["names"], params["other"], params["unlabelled"], params["crowd"],
        params["overlap"] or ("smaller" if many else "later"),
    )  # fmt: skip
    return Annotations(place, manner)
