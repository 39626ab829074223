"""Which device the nets run on: Caffe's mode (CPU or GPU) and device number."""

from __future__ import annotations

import contextlib
import os

import torch

from ..errors import InputError
from . import gpu_support, precision

_CPU = torch.device("cpu")
_state = {"gpu": False, "number": 0}
_imagined: list[torch.device] = []


def current() -> torch.device:
    """The torch device of the current mode."""
    if _imagined:
        return _imagined[-1]
    if _state["gpu"]:
        return torch.device("cuda", _state["number"])
    return _CPU


@contextlib.contextmanager
def in_place_of_current(device: torch.device):
    """Context in which `device` is the current one, whatever the mode is."""
    _imagined.append(device)
    try:
        yield
    finally:
        _imagined.pop()


def imagines() -> bool:
    """Whether tensors have no numbers at present: see `imagined`."""
    return bool(_imagined)


def on_cpu() -> bool:
    """Whether nets run on the CPU."""
    return current().type == "cpu"


def cuda_device_count() -> int:
    """How many CUDA devices PyTorch finds, those that it has no code for included."""
    return torch.cuda.device_count() if gpu_support.available() else 0


def memory_in_use() -> int | None:
    """The bytes that tensors take on the GPU that nets run on; None on the CPU."""
    return None if on_cpu() else torch.cuda.memory_allocated(current())


def identity() -> str:
    """Tells the current GPU from the machine's others, in every process alike."""
    number = current().index or 0
    known = getattr(torch.cuda.get_device_properties(number), "uuid", None)
    return str(known or f"{number} of {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}")


def _check(number: int) -> None:
    found = cuda_device_count()
    trouble = gpu_support.trouble(number)
    if not 0 <= number < found and not trouble:
        have = f"{found} CUDA device{'' if found == 1 else 's'}"
        raise InputError(f"no such GPU: {number}; this machine has {have}; use the CPU")
    if trouble:
        raise InputError(f"{trouble}; or use the CPU")
    precision.check(precision.chosen(), number)


def _take(number: int) -> None:
    """Make it the device of PyTorch too: what names none, as pinning memory does, would else make
    a context on GPU 0."""
    if gpu_support.is_there(number):
        torch.cuda.set_device(number)


def set_mode_cpu() -> None:
    """Run on the CPU."""
    _state["gpu"] = False


def set_mode_gpu() -> None:
    """Run on the chosen CUDA device, in float32 as Caffe does unless
    `caffe.engine.set_precision` says otherwise. InputError where PyTorch cannot use the device,
    or the device cannot multiply in the chosen precision."""
    _check(_state["number"])
    _take(_state["number"])
    if not _state["gpu"]:
        precision.round_factors()
    _state["gpu"] = True


def set_device(number: int) -> None:
    """Choose the CUDA device that `set_mode_gpu` uses, and use it from now on where the mode is
    GPU already. InputError as of `set_mode_gpu`."""
    _check(number)
    _state["number"] = int(number)
    if _state["gpu"]:
        _take(_state["number"])


def synchronize() -> None:
    """Wait for the device's queue to empty (nothing to do on the CPU)."""
    if _state["gpu"]:
        torch.cuda.synchronize(current())
