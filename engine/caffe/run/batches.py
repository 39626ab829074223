"""Any number of inputs through a net, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.blob import Blob


class Batches:
    """The part of Net that runs whole arrays."""

    blobs: dict[str, Blob]
    inputs: list[str]
    outputs: list[str]
    forward: Callable[..., dict[str, np.ndarray]]
    backward: Callable[..., dict[str, np.ndarray]]

    def _batches(self, arrays: dict):
        """Split arrays into batches of the net's size, the last one padded with zeros."""
        total = len(next(iter(arrays.values())))
        size = next(iter(self.blobs.values())).shape[0]
        for at in range(0, total, size):
            batch = {}
            for name, array in arrays.items():
                part = np.asarray(array[at : at + size], dtype=np.float32)
                fill = np.zeros((size - len(part), *part.shape[1:]), dtype=np.float32)
                batch[name] = np.concatenate([part, fill])
            yield batch, min(size, total - at)

    def forward_all(self, blobs=None, **kwargs) -> dict[str, np.ndarray]:
        """`forward` over any number of inputs, batch by batch; returns whole arrays."""
        collected: dict[str, list] = {}
        for batch, count in self._batches(kwargs):
            for name, array in self.forward(blobs=blobs, **batch).items():
                collected.setdefault(name, []).append(array[:count].copy())
        return {name: np.concatenate(parts) for name, parts in collected.items()}

    def forward_backward_all(self, blobs=None, diffs=None, **kwargs):
        """`forward` and `backward` over any number of inputs (and output diffs), by batches."""
        outs: dict[str, list] = {}
        grads: dict[str, list] = {}
        for batch, count in self._batches(kwargs):
            inputs = {k: v for k, v in batch.items() if k in self.inputs}
            tops = {k: v for k, v in batch.items() if k in self.outputs}
            for name, array in self.forward(blobs=blobs, **inputs).items():
                outs.setdefault(name, []).append(array[:count].copy())
            for name, array in self.backward(diffs=diffs, **tops).items():
                grads.setdefault(name, []).append(array[:count].copy())
        return (
            {name: np.concatenate(parts) for name, parts in outs.items()},
            {name: np.concatenate(parts) for name, parts in grads.items()},
        )
