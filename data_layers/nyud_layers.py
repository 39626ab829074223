"""Data layer for NYUDv2 with Gupta's 40 classes: colour, depth, HHA, and any mixture of them.

    layer { name: "data" type: "Python" top: "color" top: "depth" top: "label"
      python_param { module: "nyud_layers" layer: "NYUDSegDataLayer"
        param_str: "{'nyud_dir': 'data/nyud', 'split': 'trainval', 'seed': 1337,
                     'tops': ['color', 'depth', 'label']}" } }

The blobs may have any names; what they hold is said by `tops`, in the same order:
  color   1 x 3 x H x W, B, G, R minus `mean_bgr`
  depth   1 x 1 x H x W, the natural logarithm of millimetres, minus `mean_logd`
  hha     1 x 3 x H x W, as stored (disparity, height, angle; no B, G, R order) minus `mean_hha`
  label   1 x 1 x H x W, 0 to 39, 255 for void
See `segmentation` for the parameters that all layers take.
"""

from __future__ import annotations

import os

import numpy as np
from segmentation.files import find
from segmentation.labels import VOID
from segmentation.layer import COMMON, SegmentationLayer, Source
from segmentation.lists import read_split, split_file
from segmentation.mat import read_mat
from segmentation.params import REQUIRED, DataError, folder, integer, mean
from segmentation.pictures import MAX_PIXELS, read_bgr, read_millimetres, read_picture

CLASS_COUNT = 40

MEANS = {
    "color": (116.190, 97.203, 92.318),
    "hha": (132.431, 94.076, 118.477),
    "depth": (7.844,),
}
"""One number per channel of each top, in the blob's channel order: of the FCN reference's nets."""

FILES = {
    "color": (os.path.join("data", "images"), (".png",), "image"),
    "depth": (os.path.join("data", "depth"), (".png",), "depth map"),
    "hha": (os.path.join("data", "hha"), (".png",), "HHA image (tools/hha.py makes it)"),
    "label": ("segmentation", (".mat",), "label"),
}
"""Of each top: folder, endings, what it is. The files' names are img_<id>."""


def tops(value):
    """Some of color, depth, hha, label, in any order, each at most once."""
    names = tuple(value) if isinstance(value, (list, tuple)) else ()
    known = all(isinstance(name, str) and name in FILES for name in names)
    if not names or not known or len(set(names)) < len(names):
        raise ValueError(f"expected some of {', '.join(map(repr, FILES))}, each at most once")
    return names


def read_depth(path):
    """The natural logarithm of a 16-bit gray PNG of millimetres, H x W float32.

    The published depth is filled in; a pixel of 0, no measurement, has no logarithm that a net
    could use and is refused. Raises DataError.
    """
    depth = read_millimetres(path)
    if not depth.all():
        row, column = np.argwhere(depth == 0)[0]
        raise DataError(
            f"{path}: depth 0 (not measured) at row {row}, column {column}, "
            f"{np.sum(depth == 0)} pixels in all; use depth whose holes are filled in"
        )
    return np.log(depth.astype(np.float64)).astype(np.float32)


def read_hha(path):
    """An HHA image as it is stored, H x W x 3 uint8. Raises DataError."""

    def decode(image):
        if image.mode != "RGB":
            raise DataError(
                f"{path}: HHA in {image.mode} pixels; expected a PNG of three 8-bit channels "
                "(disparity, height, angle)"
            )
        return np.asarray(image)

    return read_picture(path, ("PNG",), MAX_PIXELS, decode)


def read_nyud_label(path, classes=CLASS_COUNT):
    """`segmentation` of a label file, H x W uint8: classes 1 to `classes` less one, 0 as void.

    Raises DataError.
    """
    stored = read_mat(path, "segmentation")
    wrong = (stored > classes) | (stored < 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}: stored label {stored[row, column]:.0f} at row {row}, column {column} is no "
            f"class: they are 1 to {classes}, and 0 is void; mend the label, or set 'classes' in "
            "param_str"
        )
    label = stored.astype(np.uint8)
    label -= 1  # 0 wraps around to 255, which is void everywhere
    return label


class NYUDSegDataLayer(SegmentationLayer):
    """NYUDv2 as the FCN reference and Gupta et al. lay it out.

    nyud_dir   the folder with <split>.txt, data/images, data/depth, data/hha (img_<id>.png),
               and segmentation (img_<id>.mat); only what `tops` names needs to be there
    tops       what the net's tops hold, in their order: of 'color', 'depth', 'hha', 'label'
    mean_bgr, mean_hha, mean_logd
               in place of MEANS: three numbers, three, one
    classes    stored labels must be 0 or one of 1 to it; default 40
    """

    schema = {
        "nyud_dir": (folder, REQUIRED),
        "tops": (tops, REQUIRED),
        "mean_bgr": (mean(3), MEANS["color"]),
        "mean_hha": (mean(3), MEANS["hha"]),
        "mean_logd": (mean(1), MEANS["depth"]),
        "classes": (integer(1, VOID), CLASS_COUNT),
        **COMMON,
    }
    photographs = ("color",)

    @classmethod
    def top_names(cls, params):
        return params["tops"]

    @classmethod
    def means(cls, params):
        keys = {"color": "mean_bgr", "hha": "mean_hha", "depth": "mean_logd"}
        return {top: params[key] for top, key in keys.items()}

    @classmethod
    def open_source(cls, params):
        root, classes = params["nyud_dir"], params["classes"]
        where = split_file(root, params["split"])
        readers = {
            "color": read_bgr,
            "depth": read_depth,
            "hha": read_hha,
            "label": lambda path: read_nyud_label(path, classes),
        }

        def paths(name):
            found = {}
            for top in params["tops"]:
                place, endings, what = FILES[top]
                found[top] = find(os.path.join(root, place), f"img_{name}", endings, what)
            return found

        def read(paths):
            return {top: readers[top](path) for top, path in paths.items()}

        return Source(read_split(where), where, paths, read)
