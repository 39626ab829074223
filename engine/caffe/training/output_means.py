"""The means of a net's outputs over several batches."""

from __future__ import annotations

import numpy as np
import torch

from ..compute import transfers
from ..log import WARNING, log
from ..net import Net


class OutputMeans:
    """Sums up `net`'s output blobs, in float64, on the device: nothing waits for it before the
    means are asked for.

    An output that has another shape in a later batch (a score map of pictures of several sizes)
    has no mean: it is left out from then on, with a warning.
    """

    def __init__(self, net: Net):
        self._net = net
        self._sums: dict[str, torch.Tensor | None] = {}
        self._batches = 0

    def add(self) -> None:
        """Count the values that the outputs have now."""
        self._batches += 1
        for name in self._net.outputs:
            value = self._net.blobs[name].read()
            if name not in self._sums:
                self._sums[name] = torch.zeros(
                    value.shape, dtype=torch.float64, device=value.device
                )
            so_far = self._sums[name]
            if so_far is None:
                continue
            if so_far.shape == value.shape:
                so_far += value
                continue
            self._sums[name] = None
            log(
                f"output '{name}' was {tuple(so_far.shape)}, and is {tuple(value.shape)} in a "
                "later batch: it has no mean",
                WARNING,
            )

    def means(self) -> dict[str, np.ndarray]:
        """The mean of each output that has one, by blob name."""
        found = {name: total for name, total in self._sums.items() if total is not None}
        arrays = transfers.fetch(found.values())
        return {name: total / self._batches for name, total in zip(found, arrays)}
