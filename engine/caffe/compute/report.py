"""What a run depends on besides its files: versions, device, threads and settings."""

from __future__ import annotations

import os
import platform

import numpy as np
import torch

from .. import settings
from . import determinism, device, gpu_support, precision, threads


def facts(version: str) -> dict[str, str]:
    """What `caffe.engine.report` says, by name; `version` is the engine's."""
    return {
        "engine": version,
        "PyTorch": torch.__version__,
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "device": _device(),
        "processors": f"{os.cpu_count()}",
        "threads": f"{torch.get_num_threads()}, each waits for the rest {threads.how_they_wait()}",
        "settings": (
            f"folding {_on(settings.folding())}, lean {_on(settings.lean())}, "
            f"Winograd {_on(settings.winograd())}, precision {precision.chosen()}, "
            f"deterministic {_on(determinism.is_on())}"
        ),
    }


def _on(value: bool | str) -> str:
    return value if isinstance(value, str) else "on" if value else "off"


def _device() -> str:
    now = device.current()
    if now.type == "cuda":
        return f"GPU {now.index}, {torch.cuda.get_device_name(now)}"
    trouble = gpu_support.trouble()
    return f"CPU; {trouble}" if trouble else "CPU"


def as_text(version: str) -> str:
    """The facts, one a line, aligned."""
    found = facts(version)
    width = max(map(len, found))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in found.items())
