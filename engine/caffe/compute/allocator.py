"""How the C library hands big blocks of memory back to the system.

PyTorch allocates each layer's result anew. By glibc's default a block above 128 kB is mapped and
unmapped each time, and touching fresh pages costs up to a third of a training step. Raising the
thresholds makes the process keep and reuse its blocks.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_memory() -> bool:
    """Make malloc keep freed blocks for reuse; True where the C library took the setting.

    A setting in the environment (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_) wins.
    """
    if not sys.platform.startswith("linux"):
        return False
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    # An older glibc takes no more than 32 MiB; left without a threshold, it would keep to 128 kB
    # once the next call has been made.
    taken = any(mallopt(_M_MMAP_THRESHOLD, size) == 1 for size in (_LARGEST, 32 << 20))
    return taken and mallopt(_M_TRIM_THRESHOLD, _LARGEST) == 1
