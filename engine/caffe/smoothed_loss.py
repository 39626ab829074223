"""The loss that a solver shows: the mean over its last iterations."""

from __future__ import annotations

from collections import deque


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
        self.replace([float(loss) for loss in self._losses])
        return iter(list(self._losses))

    def mean(self) -> float:
        """0 where there is none."""
        return sum(self) / max(1, len(self._losses))
