"""How the C library hands big blocks of memory back to the system.

PyTorch allocates each layer's result anew. By glibc's default a block above 128 kB is mapped and
unmapped each time, and touching fresh pages costs up to a third of a training step. Raising the
thresholds makes the process keep and reuse its blocks.

Kept blocks that are always of other sizes fit less and less what is wanted next, and what is kept
grows. So whole pages that lie free go back to the system after each SIZES_BETWEEN sizes.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1
SIZES_BETWEEN = 100
"""Passes at another size than the one before, of any net, after which free pages are given back. To
take them again costs less than a hundredth of that many passes."""

_give_back = None
_sizes = 0


def keep_memory() -> bool:
    """Make malloc keep freed blocks for reuse; True where the C library took the setting.

    A setting in the environment (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_) wins.
    """
    global _give_back
    if not sys.platform.startswith("linux"):
        return False
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt, malloc_trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):  # another C library
        return False
    # An older glibc takes no more than 32 MiB; left without a threshold, it would keep to 128 kB
    # once the next call has been made.
    taken = any(mallopt(_M_MMAP_THRESHOLD, size) == 1 for size in (_LARGEST, 32 << 20))
    kept = taken and mallopt(_M_TRIM_THRESHOLD, _LARGEST) == 1
    _give_back = malloc_trim if kept else None
    return kept


def another_size() -> None:
    """Tell that a pass has begun at another size than its net's last."""
    global _sizes
    _sizes += 1
    if _sizes % SIZES_BETWEEN == 0 and _give_back is not None:
        _give_back(0)
