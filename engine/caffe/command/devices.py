"""`device_query`, and which devices a command runs on."""

from __future__ import annotations

import torch

from ..compute import device, gpu_support
from ..errors import InputError
from ..log import WARNING, log

FLAGS = ("gpu",)
WHERE = "caffe.py:1"

_FACTS = (
    ("Major revision number", "major"),
    ("Minor revision number", "minor"),
    ("Name", "name"),
    ("Total global memory", "total_memory"),
    ("Total shared memory per block", "shared_memory_per_block"),
    ("Total registers per multiprocessor", "regs_per_multiprocessor"),
    ("Warp size", "warp_size"),
    ("Maximum threads per multiprocessor", "max_threads_per_multi_processor"),
    ("Number of multiprocessors", "multi_processor_count"),
)


def gpus(text: str, usable: bool = True) -> list[int]:
    """The GPUs that -gpu names: numbers with commas, `all`, or none. Raises InputError for those
    that are not there or, if they are to be `usable`, not of use."""
    found = device.cuda_device_count()
    if text == "all":
        if not found:
            raise InputError("this machine has no CUDA device that PyTorch can use")
        for number in range(found) if usable else ():
            device._check(number)
        return list(range(found))
    numbers: list[int] = []
    for part in text.split(",") if text else []:
        if not part.strip().isdigit():
            raise InputError(f"-gpu: '{part}' is not a GPU's number; give numbers, as 0,1, or all")
        numbers.append(int(part))
        if usable or numbers[-1] >= found:
            device._check(numbers[-1])
    if len(set(numbers)) != len(numbers):
        raise InputError(f"-gpu {text}: a GPU is named twice")
    return numbers


def use_first(numbers: list[int]) -> None:
    """Run on the first of these GPUs, or on the CPU where there are none; say so."""
    if not numbers:
        log("Use CPU.", where=WHERE)
        device.set_mode_cpu()
        return
    log(f"Use GPU with device ID {numbers[0]}", where=WHERE)
    device.set_device(numbers[0])
    device.set_mode_gpu()
    log(f"GPU device name: {torch.cuda.get_device_name(numbers[0])}", where=WHERE)


def main(flags) -> None:
    """Show the GPUs that -gpu names, or all, and what keeps PyTorch from using one."""
    numbers = gpus(flags.gpu or "all", usable=False)
    log(f"Querying GPUs {','.join(map(str, numbers))}", where=WHERE)
    for number in numbers:
        facts = torch.cuda.get_device_properties(number)
        log(f"{'Device id:':<40}{number}", where=WHERE)
        for text, name in _FACTS:
            if hasattr(facts, name):
                log(f"{text + ':':<40}{getattr(facts, name)}", where=WHERE)
        trouble = gpu_support.trouble(number)
        if trouble:
            log(trouble, WARNING, WHERE)
