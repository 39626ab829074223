"""BVLC's module of this name: what scripts import from `caffe.pycaffe`, and pycaffe's methods of
Net under the names that they have there."""

from collections import OrderedDict
from itertools import zip_longest as izip_longest

import numpy as np

from ._caffe import (
    NCCL,
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    Net,
    RMSPropSolver,
    SGDSolver,
    Timer,
)

_Net_blobs, _Net_params, _Net_layer_dict, _Net_inputs, _Net_outputs, _Net_blob_loss_weights = (
    vars(Net)[name]
    for name in ("blobs", "params", "layer_dict", "inputs", "outputs", "blob_loss_weights")
)
_Net_forward = Net.forward
_Net_backward = Net.backward
_Net_forward_all = Net.forward_all
_Net_forward_backward_all = Net.forward_backward_all
_Net_set_input_arrays = Net.set_input_arrays
_Net_batch = Net._batch

__all__ = [
    "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "NCCL", "NesterovSolver", "Net",
    "OrderedDict", "RMSPropSolver", "SGDSolver", "Timer", "izip_longest", "np",
]  # fmt: skip
