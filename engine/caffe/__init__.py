"""caffe: pycaffe's interface on PyTorch, for the CPU and any CUDA GPU.

What BVLC Caffe 1.0's `caffe` module does, this does: the same nets, weights, solver files, Python
layers and scripts. What it adds lives in `caffe.engine`.
"""

from . import coord_map, engine, net_spec, proto
from .device import set_device, set_mode_cpu, set_mode_gpu
from .layer import TEST, TRAIN, Layer
from .layers import layer_type_list
from .net import Net
from .net_spec import NetSpec, to_proto
from .net_spec import layers as layers
from .net_spec import params as params
from .rng import set_random_seed
from .solver import SGDSolver, get_solver

__version__ = "1.0.0"

engine.keep_memory()

__all__ = [
    "TEST", "TRAIN", "Layer", "Net", "NetSpec", "SGDSolver", "coord_map", "engine", "get_solver",
    "layer_type_list", "layers", "net_spec", "params", "proto", "set_device", "set_mode_cpu",
    "set_mode_gpu", "set_random_seed", "to_proto",
]  # fmt: skip
