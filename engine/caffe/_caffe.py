"""pycaffe's inner module, under the names that scripts import from it."""

from . import log as log
from .compute.device import set_device, set_mode_cpu, set_mode_gpu
from .compute.rng import set_random_seed
from .compute.timer import Timer
from .core.blob import Blob
from .core.layer import Layer, LayerVec
from .core.vectors import BlobVec, BoolVec, DtypeVec, IntVec, RawBlobVec, StringVec
from .layers import layer_type_list
from .log import init_log
from .net import Net, NetVec
from .proto.caffe_pb2 import LayerParameter, SolverParameter
from .ranks import (
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .training.nccl import NCCL, has_nccl
from .training.solver import Solver
from .training.solver_updates import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__version__ = "1.0.0"
"""That of the Caffe that the engine behaves as."""

__all__ = [
    "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Blob", "BlobVec", "BoolVec", "DtypeVec",
    "IntVec", "Layer", "LayerParameter", "LayerVec", "NCCL", "NesterovSolver", "Net", "NetVec",
    "RMSPropSolver", "RawBlobVec", "SGDSolver", "Solver", "SolverParameter", "StringVec", "Timer",
    "get_solver", "has_nccl", "init_log", "layer_type_list", "log", "set_device", "set_mode_cpu",
    "set_mode_gpu", "set_multiprocess", "set_random_seed", "set_solver_count", "set_solver_rank",
    "solver_count", "solver_rank",
]  # fmt: skip
