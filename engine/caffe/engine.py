"""What the engine has beyond pycaffe: its own errors, readers and settings.

Scripts that should also run under BVLC Caffe ask `hasattr(caffe, "engine")` first.
"""

from __future__ import annotations

from .compute import report as _report
from .compute.allocator import keep_memory
from .compute.determinism import set_deterministic
from .compute.device import cuda_device_count, memory_in_use, on_cpu, synchronize
from .compute.gpu_errors import gpu_error
from .compute.gpu_support import trouble as gpu_trouble
from .compute.precision import set_autotuning, set_precision
from .core import python_path
from .core.torch_weights import load_torch_weights
from .core.weights import read_weights
from .errors import Error, InputError
from .proto.hdf5 import member_names as hdf5_names, read_arrays as read_hdf5_arrays
from .proto.hdf5_checks import structure_trouble as hdf5_trouble
from .proto.kinds import file_misfit as misfit
from .reading.guarded import scans as jpeg_scans, webp_size
from .run.plan_table import plan
from .run.releases import keep, recompute
from .run.segmenting import start_segmenting
from .settings import set_folding, set_gradients, set_lean, set_winograd
from .training.agreement import only_gradients
from .training.launch import launch
from .training.lr_policy import rate_at
from .training.rehearsal import Rehearsal, choose_remade, rehearse
from .training.runs import position_path, snapshots
from .training.snapshots import NotFinite
from .training.together import HEARTBEAT, Ranks

__all__ = [
    "Error", "HEARTBEAT", "InputError", "NotFinite", "Ranks", "Rehearsal", "choose_remade",
    "cuda_device_count", "facts", "gpu_error", "gpu_trouble", "hdf5_names", "hdf5_trouble",
    "join_ranks", "jpeg_scans", "keep", "keep_memory", "launch", "load_torch_weights",
    "memory_in_use", "misfit", "on_cpu", "only_gradients", "plan", "position_path", "python_path",
    "rate_at", "read_hdf5_arrays", "read_weights", "recompute", "rehearse", "report",
    "set_autotuning", "set_deterministic", "set_folding", "set_gradients", "set_lean",
    "set_precision", "set_winograd", "snapshots", "start_segmenting", "synchronize", "version",
    "webp_size",
]  # fmt: skip

version = "0.2.0"
"""The engine's own version; `caffe.__version__` is that of the Caffe that it behaves as."""


def facts() -> dict[str, str]:
    """What `report` says, by name."""
    return _report.facts(version)


def report() -> str:
    """What a run depends on besides its files, one fact a line: versions, device, threads and how
    they wait for each other, settings. For reports of errors and of times."""
    return _report.as_text(version)


def join_ranks(heartbeat: float = HEARTBEAT) -> Ranks:
    """This process as one of those that torchrun has started; see `training.together`. A rank that
    gives no sign of life for `heartbeat` seconds counts as gone.

    InputError without torchrun's variables; Error where the store cannot be reached."""
    return Ranks(version, heartbeat)
