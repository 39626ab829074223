"""The means of a net's outputs over several batches."""

from __future__ import annotations

import numpy as np

from .log import WARNING, log
from .net import Net


class OutputMeans:
    """Sums up `net`'s output blobs, in float64.

    An output that has another shape in a later batch (a score map of pictures of several sizes)
    has no mean: it is left out from then on, with a warning.
    """

    def __init__(self, net: Net):
        self._net = net
        self._sums: dict[str, np.ndarray | None] = {}
        self._batches = 0

    def add(self) -> None:
        """Count the values that the outputs have now."""
        self._batches += 1
        for name in self._net.outputs:
            value = self._net.blobs[name].data
            so_far = self._sums.setdefault(name, np.zeros(value.shape))
            if so_far is None:
                continue
            if so_far.shape == value.shape:
                so_far += value
                continue
            self._sums[name] = None
            log(
                f"output '{name}' was {so_far.shape}, and is {value.shape} in a later batch: "
                "it has no mean",
                WARNING,
            )

    def means(self) -> dict[str, np.ndarray]:
        """The mean of each output that has one, by blob name."""
        found = self._sums.items()
        return {name: total / self._batches for name, total in found if total is not None}
