"""Whether this build of PyTorch can compute on a GPU that is there, and which build could.

A build holds machine code for some cards (`sm_75`), which cards of the same major version and no
lower minor one run too, and perhaps PTX (`compute_90`), which any newer card translates.
"""

from __future__ import annotations

import re
import warnings

import torch

BFLOAT16 = (8, 0)
"""The first compute capability that multiplies bfloat16."""
_OLDEST = (5, 0)
_OLDER_BUILD = "a PyTorch for CUDA 12.6 or older: make setup TORCH='torch==2.7.1'"
# What CUDA says where there is no GPU at all.
_NO_GPU = ("Found no NVIDIA driver", "No CUDA GPUs are available")


def available() -> bool:
    """Whether PyTorch finds a CUDA device; what it warns of is in `trouble`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.is_available()


def is_there(number: int) -> bool:
    """Whether there is a CUDA device `number`, of which PyTorch may be asked."""
    return available() and 0 <= number < torch.cuda.device_count()


def capability(number: int) -> tuple[int, int] | None:
    """The compute capability of GPU `number`, None where it cannot be told."""
    if not is_there(number) or torch.version.hip:
        return None
    major, minor = torch.cuda.get_device_capability(number)
    return major, minor


def has_code_for(card: tuple[int, int], builds: list[str]) -> bool:
    """Whether one of a build's architectures ("sm_75", "sm_90a", "compute_120", …) runs on a card
    of this capability. Nothing is known against a build that names none."""
    known = False
    for name in builds:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
        if not found:
            continue
        known = True
        kind, major, minor, suffix = found.groups()
        code = int(major), int(minor)
        fits = code <= card if kind == "compute" else code[0] == card[0] and code <= card
        if code == card if suffix == "a" else fits:  # "a": for this very architecture
            return True
    return not known


def trouble(number: int = 0) -> str | None:
    """Why this PyTorch cannot compute on GPU `number`, and what would help, as one line; None
    where it can, or where there is no such GPU."""
    card = capability(number)
    if card is None:
        return None if available() else _trouble_of_the_driver()
    builds = torch.cuda.get_arch_list()
    if has_code_for(card, builds):
        return None
    if card < _OLDEST:
        remedy = "no PyTorch that the engine runs on has"
    elif card > max(_numbers(builds)):
        remedy = "take a newer PyTorch (make setup TORCH='torch==…')"
    else:
        remedy = f"take {_OLDER_BUILD}"
    return (
        f"GPU {number} ({torch.cuda.get_device_name(number)}) has compute capability "
        f"{card[0]}.{card[1]}, for which PyTorch {torch.__version__} has no code (it has "
        f"{', '.join(builds)}); {remedy}"
    )


def _numbers(builds: list[str]) -> list[tuple[int, int]]:
    found = (re.fullmatch(r"\w+_(\d+)(\d)[a-z]?", name) for name in builds)
    return [(int(one[1]), int(one[2])) for one in found if one]


def _trouble_of_the_driver() -> str | None:
    if torch.version.cuda is None:
        return None
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        if reason.startswith(_NO_GPU):
            return None
        if "too old" not in reason:
            return f"CUDA does not start: {reason}"
        version = re.search(r"found version (\d+)", reason)
        knows = f" knows CUDA up to {_version(version[1])} and" if version else ""
        return (
            f"the NVIDIA driver{knows} is too old for PyTorch {torch.__version__}, which needs "
            f"CUDA {torch.version.cuda}; update the driver, or take {_OLDER_BUILD}"
        )
    return None


def _version(number: str) -> str:
    """CUDA's number for a version, 11040, as people write it: 11.4."""
    return f"{int(number) // 1000}.{int(number) % 1000 // 10}"
