"""A stand-in for the C library's heap: which addresses blocks get, and how many bytes of the heap
have ever been touched. Blocks that lie between others leave holes that larger ones do not fit into,
so that a process has more memory than is in use.
"""

from __future__ import annotations

import bisect

_SLACK = 128
"""Bytes by which a hole must be larger than the block: glibc looks for room to align it, and small
blocks of the program take what that leaves."""


class Heap:
    """Blocks go into the smallest hole that is large enough, or else to the end; holes that meet
    are one, and none is given back to the system (`allocator.keep_memory` sees to that)."""

    def __init__(self):
        self._starts: list[int] = []  # of the holes, in order
        self._sizes: dict[int, int] = {}
        self._blocks: dict[int, tuple[int, int]] = {}  # number -> start, size
        self._end = 0
        self._number = 0
        self._touched: list[tuple[int, int]] = []  # from, to: apart and in order
        self.resident = 0
        """Bytes that were touched so far."""

    def take(self, size: int, touched: int | None = None) -> int:
        """The number of a new block of `size` bytes, of which the first `touched` (default: all)
        are written to."""
        fits = [start for start in self._starts if self._sizes[start] >= size + _SLACK]
        if fits:
            start = min(fits, key=lambda one: (self._sizes[one], one))
            left = self._sizes[start] - size
            self._drop_hole(start)
            if left:
                self._add_hole(start + size, left)
        else:
            start, self._end = self._end, self._end + size
        self._number += 1
        self._blocks[self._number] = start, size
        self._touch(start, start + (size if touched is None else touched))
        return self._number

    def give_back(self, number: int) -> None:
        start, size = self._blocks.pop(number)
        place = bisect.bisect(self._starts, start)
        if place < len(self._starts) and self._starts[place] == start + size:
            size += self._drop_hole(self._starts[place])
        if place and self._starts[place - 1] + self._sizes[self._starts[place - 1]] == start:
            before = self._starts[place - 1]
            start, size = before, size + self._drop_hole(before)
        if start + size == self._end:
            self._end = start
        else:
            self._add_hole(start, size)

    def _add_hole(self, start: int, size: int) -> None:
        bisect.insort(self._starts, start)
        self._sizes[start] = size

    def _drop_hole(self, start: int) -> int:
        self._starts.remove(start)
        return self._sizes.pop(start)

    def _touch(self, start: int, end: int) -> None:
        apart = [one for one in self._touched if one[1] < start or one[0] > end]
        met = [one for one in self._touched if not (one[1] < start or one[0] > end)]
        union = (min([start, *(a for a, _ in met)]), max([end, *(b for _, b in met)]))
        self.resident += union[1] - union[0] - sum(b - a for a, b in met)
        bisect.insort(apart, union)
        self._touched = apart
