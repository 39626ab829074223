"""Which device the nets run on: Caffe's mode (CPU or GPU) and device number."""

from __future__ import annotations

import torch

from . import precision
from .errors import InputError

_CPU = torch.device("cpu")
_state = {"gpu": False, "number": 0}


def current() -> torch.device:
    """The torch device of the current mode."""
    if _state["gpu"]:
        return torch.device("cuda", _state["number"])
    return _CPU


def cuda_device_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _check(number: int) -> None:
    found = cuda_device_count()
    if not 0 <= number < found:
        have = f"{found} CUDA device{'' if found == 1 else 's'}"
        raise InputError(f"no such GPU: {number}; this machine has {have}; use the CPU")


def set_mode_cpu() -> None:
    _state["gpu"] = False


def set_mode_gpu() -> None:
    """Run on the chosen CUDA device, in float32 as Caffe does unless
    `caffe.engine.set_precision` says otherwise."""
    _check(_state["number"])
    if not _state["gpu"]:
        precision.round_factors()
    _state["gpu"] = True


def set_device(number: int) -> None:
    """Choose the CUDA device that `set_mode_gpu` uses."""
    _check(number)
    _state["number"] = int(number)


def synchronize() -> None:
    """Wait for the device's queue to empty (nothing to do on the CPU)."""
    if _state["gpu"]:
        torch.cuda.synchronize(current())
