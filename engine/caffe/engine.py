"""What the engine has beyond pycaffe: its own errors, readers and settings.

Scripts that should also run under BVLC Caffe ask `hasattr(caffe, "engine")` first.
"""

from __future__ import annotations

from .compute import report as _report
from .compute.allocator import keep_memory
from .compute.determinism import set_deterministic
from .compute.device import cuda_device_count, synchronize
from .compute.gpu_errors import gpu_error
from .compute.gpu_support import trouble as gpu_trouble
from .compute.precision import set_autotuning, set_precision
from .core import python_path
from .core.weights import read_weights
from .errors import Error, InputError
from .proto.kinds import file_misfit as misfit
from .run.plan_table import plan
from .run.releases import keep, recompute
from .run.segmenting import start_segmenting
from .settings import set_folding, set_lean, set_winograd
from .training.lr_policy import rate_at
from .training.runs import position_path, snapshots

__all__ = [
    "Error", "InputError", "cuda_device_count", "gpu_error", "gpu_trouble", "keep", "keep_memory",
    "load_torch_weights", "misfit", "plan", "position_path", "python_path", "rate_at",
    "read_weights", "recompute", "report", "set_autotuning", "set_deterministic", "set_folding",
    "set_lean", "set_precision", "set_winograd", "snapshots", "start_segmenting", "synchronize",
    "version",
]  # fmt: skip

version = "0.2.0"
"""The engine's own version; `caffe.__version__` is that of the Caffe that it behaves as."""


def report() -> str:
    """What a run depends on besides its files, one fact a line: versions, device, threads and how
    they wait for each other, settings. For reports of errors and of times."""
    return _report.as_text(version)


def load_torch_weights(path) -> dict:
    """The tensors of a `.pth` file as float32 NumPy arrays by name, without running its code.

    Raises InputError for a file that holds anything but tensors in plain containers.
    """
    import torch

    wrong = misfit(path, "a PyTorch file", "PyTorch", "pickle", "zip")
    if wrong:
        raise InputError(f"{path}: {wrong}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # torch raises many kinds for a broken or unsafe file
        raise InputError(
            f"{path}: not a file of plain tensors that can be read without running its code "
            f"({type(error).__name__}); save a state_dict, or convert it to safetensors"
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise InputError(f"{path}: holds no dictionary of tensors")
    for name, tensor in state.items():
        # A stored tensor may repeat its few elements along any number of axes.
        if tensor.layout != torch.strided or (
            tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise InputError(f"{path}: '{name}' is not stored element by element")
    return {str(name): tensor.detach().float().numpy() for name, tensor in state.items()}
