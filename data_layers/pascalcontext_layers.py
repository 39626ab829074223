"""Data layer for Pascal-Context: VOC2010's photographs, labelled everywhere (Mottaghi 2014).

    layer { name: "data" type: "Python" top: "data" top: "label"
      python_param { module: "pascalcontext_layers" layer: "PASCALContextSegDataLayer"
        param_str: "{'voc_dir': 'data/pascal', 'context_dir': 'data/pascal-context',
                     'split': 'train', 'seed': 1337}" } }

Tops: data, 1 x 3 x H x W, B, G, R minus `mean`; label, 1 x 1 x H x W: 1 to 59 for the classes of
59_labels.txt, 0 for everything else (there is no void).
See `segmentation` for the parameters that all layers take.
"""

from __future__ import annotations

import os
import re

import numpy as np
from segmentation.files import find
from segmentation.labels import VOID
from segmentation.layer import COMMON, SegmentationLayer, Source
from segmentation.lists import IMAGE_ENDINGS, read_lines, read_split, split_file
from segmentation.mat import read_mat
from segmentation.params import REQUIRED, DataError, folder, integer, mean
from segmentation.pictures import read_bgr

CLASS_COUNT = 60
"""59 and background."""

CONTEXT_MEAN = (104.007, 116.669, 122.679)
"""B, G, R: what the FCN reference's own layer subtracts, VOC's mean rounded to three digits.

It is the default for nets that give none, as the reference's; nets made here give theirs.
"""

FINE_NAMES = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
"""Names of 59_labels.txt that labels.txt spells otherwise."""

MAX_ID = 65535  # what LabelMap's 16 bits can hold


def read_names(path):
    """{id: (name, line number)} of a list of lines 'id: name'; names without their spaces.

    Neither ids nor names come twice. Raises DataError.
    """
    names: dict[int, tuple[str, int]] = {}
    seen: set[str] = set()
    for number, line in read_lines(path, "'id: name'"):
        match = re.fullmatch(r"([0-9]{1,5})\s*:\s*(\S.*)", line)
        if not match or int(match.group(1)) > MAX_ID:
            raise DataError(f"{path}:{number}: {line[:60]!r} is not 'id: name'")
        key, name = int(match.group(1)), "".join(match.group(2).split())
        for what, value, known in (("id", key, names), ("name", name, seen)):
            if value in known:
                raise DataError(f"{path}:{number}: the {what} {value} comes twice")
        names[key] = (name, number)
        seen.add(name)
    if not names:
        raise DataError(f"{path}: the list is empty; expected 'id: name' a line")
    return names


def class_table(context_dir, classes=CLASS_COUNT):
    """Class of each fine label as an int16 array, -1 where labels.txt has no such id.

    The k-th entry of 59_labels.txt by its id is class k, from 1; all else is 0. Raises DataError.
    """
    fine_list = os.path.join(context_dir, "labels.txt")
    class_list = os.path.join(context_dir, "59_labels.txt")
    fine = {name: key for key, (name, _) in read_names(fine_list).items()}
    chosen = read_names(class_list)
    if chosen.get(0, ("",))[0] == "background":
        del chosen[0]
    if len(chosen) != classes - 1:
        raise DataError(
            f"{class_list}: has {len(chosen)} names, but {classes - 1} are expected ('classes' is "
            f"{classes}, with background); mend the list, or set 'classes' in param_str"
        )
    table = np.full(max(fine.values()) + 1, -1, np.int16)
    table[list(fine.values())] = 0
    table[0] = 0
    for number, (_, (name, line)) in enumerate(sorted(chosen.items()), 1):
        key = fine.get(name, fine.get(FINE_NAMES.get(name)))
        if key is None:
            raise DataError(f"{class_list}:{line}: {name!r} is not in {fine_list}")
        if table[key] > 0:
            raise DataError(f"{class_list}:{line}: {name!r} is class {table[key]} already")
        table[key] = number
    return table


def read_context_label(path, table):
    """`LabelMap` of a label file as classes, H x W uint8. `table` as of `class_table`.

    A fine label of 0 is background. Raises DataError.
    """
    fine = read_mat(path, "LabelMap")
    if fine.min() >= 0 and fine.max() < len(table):
        label = table[fine.astype(np.intp, copy=False)]
        if label.min() >= 0:
            return label.astype(np.uint8)
    known = np.flatnonzero(table >= 0)
    row, column = np.argwhere(~np.isin(fine, known))[0]
    raise DataError(
        f"{path}: LabelMap holds {fine[row, column]:.0f} at row {row}, column {column}, "
        "which labels.txt has no id for"
    )


def _split_ids(path):
    ids = read_split(path)
    for name in ids:
        if len(name.split()) > 1:
            raise DataError(
                f"{path}: {name[:60]!r} has a second column, as VOC's lists of one class have; "
                "use train, val or trainval"
            )
    return ids


class PASCALContextSegDataLayer(SegmentationLayer):
    """Pascal-Context with the 59 classes and background.

    voc_dir      the folder with VOC2010, or VOC2010 itself: JPEGImages, ImageSets/Main
    context_dir  the folder with trainval/<id>.mat, labels.txt, 59_labels.txt
    mean         B, G, R; default (104.007, 116.669, 122.679)
    classes      the names in 59_labels.txt, and background; default 60
    """

    schema = {
        "voc_dir": (folder, REQUIRED),
        "context_dir": (folder, REQUIRED),
        "mean": (mean(3), CONTEXT_MEAN),
        "classes": (integer(1, VOID), CLASS_COUNT),
        **COMMON,
    }

    @classmethod
    def open_source(cls, params):
        voc, context = params["voc_dir"], params["context_dir"]
        root = os.path.join(voc, "VOC2010")
        if not os.path.isdir(root):
            if not os.path.isdir(os.path.join(voc, "JPEGImages")):
                raise DataError(f"{root}: no such folder; voc_dir must hold VOC2010, or be it")
            root = voc
        where = split_file(os.path.join(root, "ImageSets", "Main"), params["split"])
        ids = _split_ids(where)
        table = class_table(context, params["classes"])

        def paths(name):
            return {
                "data": find(os.path.join(root, "JPEGImages"), name, IMAGE_ENDINGS, "image"),
                "label": find(os.path.join(context, "trainval"), name, (".mat",), "label"),
            }

        def read(paths):
            label = read_context_label(paths["label"], table)
            return {"data": read_bgr(paths["data"]), "label": label}

        return Source(ids, where, paths, read)
