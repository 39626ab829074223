"""The loss that a solver shows: the mean over its last iterations."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch

from ..compute import transfers


class SmoothedLoss:
    """The last `over` losses, numbers or 0-d tensors on a GPU, which is waited for only when they
    are read: a training's iterations need not be."""

    def __init__(self, over: int):
        self._losses: deque = deque(maxlen=over)

    def add(self, loss) -> None:
        self._losses.append(loss)

    def replace(self, losses) -> None:
        self._losses.clear()
        self._losses.extend(losses)

    def __iter__(self):
        self.read()
        return iter(list(self._losses))

    def unread(self) -> list:
        """The losses as they were added; nothing waits."""
        return list(self._losses)

    def read(self, *others: torch.Tensor) -> list[np.ndarray]:
        """Bring the losses to the host, and with them, in one copy, `others`: these as arrays."""
        unread = [loss for loss in self._losses if isinstance(loss, torch.Tensor)]
        arrays = transfers.fetch([*unread, *others])
        numbers = iter(arrays[: len(unread)])
        self.replace(
            [
                float(next(numbers) if isinstance(loss, torch.Tensor) else loss)
                for loss in self._losses
            ]
        )
        return arrays[len(unread) :]

    def mean(self) -> float:
        """0 where there is none."""
        return sum(self) / max(1, len(self._losses))
