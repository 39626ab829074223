"""Whether folding pays on the GPU at hand: measured, for each size of picture.

To fold saves arithmetic and memory, and costs launches of kernels: on a fast GPU, which waits for
the host at small sizes, these may take longer.
"""

from __future__ import annotations

import torch

from ..compute import device as _device
from ..log import log

_ORDER = (True, False) * 3
"""Folded or not, of the first passes at a size: one each to warm up, then those that are timed."""
_UNTIMED = 2


def timed_mark(device: torch.device):
    """A point in what `device` is told: `query()` says whether it has been reached, `elapsed_time`
    how many milliseconds after it another one was."""
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


class _Size:
    """What is known of one size."""

    def __init__(self):
        self.begun = 0
        self.on_the_way: list[tuple] = []
        self.times: dict[bool, list[float]] = {True: [], False: []}
        self.choice: bool | None = None

    def look(self) -> None:
        """Take in the times that are there, and choose once they suffice. Waits for nothing."""
        while self.on_the_way and self.on_the_way[0][2].query():
            folded, begin, end = self.on_the_way.pop(0)
            self.times[folded].append(begin.elapsed_time(end))
        wanted = (len(_ORDER) - _UNTIMED) // 2
        if min(len(times) for times in self.times.values()) >= wanted:
            self.choice = min(self.times[True]) <= min(self.times[False])


class FoldChoice:
    """A net's choice, size by size. `begin` and `end` go around each of its passes, in training
    forward and backward."""

    def __init__(self):
        self._sizes: dict[tuple, _Size] = {}
        self._now: tuple | None = None

    def begin(self, shapes) -> bool:
        """Whether to fold in the pass that begins, of bottoms of these shapes. On the CPU, and
        where a user wants the same numbers each time, always."""
        self._now, device = None, _device.current()
        if device.type == "cpu" or torch.are_deterministic_algorithms_enabled():
            return True
        size = self._sizes.setdefault(tuple(shapes), _Size())
        if size.choice is not None:
            return size.choice
        size.look()
        if size.choice is not None:
            self._tell(shapes, size)
            return size.choice
        if size.begun == len(_ORDER):  # the last times are on their way, or somebody ran no end
            return True
        folded = _ORDER[size.begun]
        size.begun += 1
        if size.begun > _UNTIMED:
            self._now = size, folded, timed_mark(device), device
        return folded

    def end(self) -> None:
        """The pass is through, as far as the host goes."""
        if self._now is not None:
            size, folded, begin, device = self._now
            size.on_the_way.append((folded, begin, timed_mark(device)))
            self._now = None

    @staticmethod
    def _tell(shapes, size: _Size) -> None:
        folded, whole = (min(size.times[kind]) for kind in (True, False))
        at = " × ".join(map(str, shapes[0]))
        log(
            f"Folding at {at}: {folded:.3g} ms with it, {whole:.3g} ms without; "
            f"{'folds' if size.choice else 'does not fold'}"
        )
