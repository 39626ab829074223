"""caffe: pycaffe's interface on PyTorch, for the CPU and any CUDA GPU.

What BVLC Caffe 1.0's `caffe` module does, this does: the same nets, weights, solver files, Python
layers and scripts. What it adds lives in `caffe.engine`.
"""

# ruff: noqa: E402  (PyTorch comes first)

from .compute.threads import sleep_soon

with sleep_soon():
    import torch as _torch  # noqa: F401

from . import (
    _caffe as _caffe,
    coord_map,
    engine,
    io,
    log,
    net_spec,
    proto,
    pycaffe as pycaffe,
)
from ._caffe import (
    NCCL,
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    Layer,
    NesterovSolver,
    Net,
    RMSPropSolver,
    SGDSolver,
    Timer,
    __version__ as __version__,
    get_solver,
    has_nccl,
    init_log,
    layer_type_list,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .classifier import Classifier
from .detector import Detector
from .net_spec import NetSpec, layers as layers, params as params, to_proto
from .proto.caffe_pb2 import TEST, TRAIN

engine.keep_memory()

__all__ = [
    "TEST", "TRAIN", "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Classifier", "Detector",
    "Layer", "NCCL", "NesterovSolver", "Net", "NetSpec", "RMSPropSolver", "SGDSolver", "Timer",
    "coord_map", "engine", "get_solver", "has_nccl", "init_log", "io", "layer_type_list",
    "layers", "log", "net_spec", "params", "proto", "set_device", "set_mode_cpu", "set_mode_gpu",
    "set_multiprocess", "set_random_seed", "set_solver_count", "set_solver_rank",
    "solver_count", "solver_rank", "to_proto",
]  # fmt: skip
