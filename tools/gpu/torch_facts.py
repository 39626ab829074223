"""What PyTorch says of a GPU: versions, memory, waiting for it."""

from __future__ import annotations

import contextlib
import gc
import re

import torch

from tools.benchmark.torch_side import gpu_memory
from tools.benchmark.worker import peak_memory
from tools.common.cli import UserError


def without_cuda():
    """PyTorch's version where it is built for no kind of GPU, else None."""
    return None if torch.version.cuda or torch.version.hip else torch.__version__


def count():
    """How many CUDA GPUs PyTorch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def facts(gpu):
    """{what: value} on PyTorch and, unless `gpu` is None, on that CUDA GPU."""
    found = {"PyTorch": torch.__version__, "CUDA of PyTorch": torch.version.cuda or "none"}
    if gpu is None:
        return {**found, "threads": torch.get_num_threads()}
    card = torch.cuda.get_device_properties(gpu)
    found["cuDNN"] = _cudnn()
    found["card"] = card.name
    found["compute capability"] = f"{card.major}.{card.minor}"
    found["multiprocessors"] = card.multi_processor_count
    found["memory of the card"] = f"{card.total_memory / 1e6:,.0f} MB"
    found["in use, with this process's context"] = f"{_driver(gpu) / 1e6:,.0f} MB"
    found["driver"] = driver_version()
    found["kernels in PyTorch for"] = torch.cuda.get_arch_list()
    return found


def _cudnn():
    """cuDNN's version as `9.1.0`."""
    number = torch.backends.cudnn.version()
    if not number:
        return "none"
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def driver_version(path="/proc/driver/nvidia/version"):
    """The driver's version, and the newest CUDA that it knows, as far as they can be told."""
    parts = []
    with contextlib.suppress(OSError), open(path) as file:
        parts += re.findall(r"\b\d+\.\d+(?:\.\d+)?\b", file.readline())[:1]
    with contextlib.suppress(Exception):  # no documented function of PyTorch's tells it
        number = torch._C._cuda_getDriverVersion()
        parts.append(f"CUDA {number // 1000}.{number % 1000 // 10}")
    return ", ".join(parts) or "-"


def try_out(gpu):
    """Let the GPU add up a few numbers. Raises UserError with PyTorch's reason where it cannot."""
    try:
        total = torch.ones(64, device=torch.device("cuda", gpu)).sum().item()
    except Exception as error:  # torch raises several kinds
        reason = " ".join(str(error).split("\n")[0].split())
        raise UserError(
            f"GPU {gpu}: PyTorch {torch.__version__} cannot run on it ({reason}); take a build "
            "of PyTorch for this card and its driver, or --cpu for a dry run"
        ) from None
    if total != 64:
        raise UserError(f"GPU {gpu}: it added up 64 ones to {total}; it, or its driver, is broken")


def reset_peaks(gpu):
    """Count peaks of memory from here on."""
    if gpu is not None:
        torch.cuda.reset_peak_memory_stats(gpu)
        return
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM starts again at what is held now


def peaks(gpu):
    """{allocated, reserved, driver}, bytes, since `reset_peaks`: the most that tensors took, the
    most that PyTorch held, and what is in use now of the whole card, by whomever, as the driver
    counts. On the CPU only `driver`: the most memory that the process has had (VmHWM)."""
    if gpu is None:
        return {"allocated": None, "reserved": None, "driver": peak_memory()}
    return {**gpu_memory(gpu), "driver": _driver(gpu)}


def _driver(gpu):
    free, total = torch.cuda.mem_get_info(gpu)
    return total - free


def synchronize(gpu):
    """Wait until the GPU has nothing to do."""
    if gpu is not None:
        torch.cuda.synchronize(gpu)


def empty_cache(gpu):
    """Give back to the driver what PyTorch holds and no tensor uses."""
    gc.collect()
    if gpu is not None:
        with torch.cuda.device(gpu):
            torch.cuda.empty_cache()


def start_afresh(gpu):
    """Give back what the work before had, so that the peaks of what comes are its own."""
    empty_cache(gpu)
    reset_peaks(gpu)
