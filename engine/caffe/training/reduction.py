"""The mean of all ranks' gradients, made while backward goes on.

Parameters are put together into buckets in the order in which backward completes their gradients;
a bucket is on its way as soon as its last one is there. A parameter of a bucket's size goes by
itself, without a copy.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable

import torch

from ..compute import device as _device
from ..run.early_updates import updated_after

BUCKET = 25 * 2**20
"""Bytes from which a bucket is full."""
AHEAD = 2
"""Buckets that may be on their way, or there and not yet used for an update."""
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def buckets(wiring, size: int = BUCKET) -> list[list[int]]:
    """The numbers of the learnable parameters of each bucket, in the order in which their gradients
    are complete. Those of lr_mult 0, whose gradients no layer makes, are in none."""
    learnable, room = wiring.learnable, 0
    found: list[list[int]] = []
    complete = updated_after(wiring, small_at_once=False)
    for layer in sorted(complete, reverse=True):
        for number in complete[layer]:
            if not learnable.lr_mult[number]:
                continue
            if room <= 0:
                found.append([])
                room = size
            found[-1].append(number)
            room -= 4 * learnable.blobs[number].count
    return found


class Reduction:
    """The reductions of one net's gradients, one iteration after another.

    `start(tensor)` begins to sum a tensor over all ranks, in place, and returns what has `wait()`
    and `is_completed()`.
    """

    def __init__(self, net, count: int, start: Callable, gradients: str = "float32"):
        self.buckets = buckets(net._wiring)
        self._blobs = net._learnable.blobs
        self._count, self._start, self._type = count, start, TYPES[gradients]
        self._bucket_of = {n: k for k, numbers in enumerate(self.buckets) for n in numbers}
        self._missing = [len(numbers) for numbers in self.buckets]
        self._launched: deque[tuple[int, torch.Tensor, Any]] = deque()
        self._update: Callable | None = None
        net._plan.update_small_at_once(False)

    def begin(self, update: Callable | None = None) -> None:
        """Before a backward pass; `update(numbers)` is called when these parameters' gradients are
        complete and the mean of all ranks'."""
        self._update = update
        self._missing = [len(numbers) for numbers in self.buckets]
        self._launched.clear()

    def ready(self, numbers) -> None:
        """The gradients of these parameters are complete in this rank."""
        for number in numbers:
            k = self._bucket_of.get(number)
            if k is None:
                if self._update is not None:
                    self._update([number])
                continue
            self._missing[k] -= 1
            if not self._missing[k]:
                self._launch(k)
        while self._launched and (
            len(self._launched) > AHEAD or self._launched[0][2].is_completed()
        ):
            self._take()

    def finish(self) -> None:
        """Wait for what is still on its way."""
        while self._launched:
            self._take()

    def _launch(self, k: int) -> None:
        diffs = [self._blobs[number].write_diff() for number in self.buckets[k]]
        if len(diffs) == 1 and self._type is torch.float32:
            flat = diffs[0].view(-1)
        else:
            # Of one length however large: what a rank sends has the same form in all.
            flat = torch.cat([diff.reshape(-1).to(self._type) for diff in diffs])
        self._launched.append((k, flat, self._start(flat)))

    def _take(self) -> None:
        """Put the oldest sum in its gradients' place, as a mean."""
        k, flat, work = self._launched.popleft()
        work.wait()
        numbers = self.buckets[k]
        diffs = [self._blobs[number].write_diff() for number in numbers]
        for diff, part in zip(diffs, flat.split([diff.numel() for diff in diffs])):
            if part.data_ptr() != diff.data_ptr():
                diff.copy_(part.view(diff.shape))
            diff.mul_(1 / self._count)
        if self._update is not None:
            self._update(numbers)


def traffic(net, gradients: str = "float32") -> tuple[int, int]:
    """(bytes of gradients, messages) that a rank reduces in an iteration."""
    found = buckets(net._wiring)
    size = TYPES[gradients].itemsize
    count = sum(net._learnable.blobs[number].count for numbers in found for number in numbers)
    return count * size, len(found)


def settle_on(guard: torch.Tensor | None, start: Callable) -> torch.Tensor | None:
    """The bool on a GPU that holds updates back where a loss is no number: one rank's for all."""
    if guard is None:
        return None
    held = guard.logical_not().to(device=_device.current(), dtype=torch.float32)
    start(held).wait()
    return held == 0
