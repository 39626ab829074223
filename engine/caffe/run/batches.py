"""Any number of inputs through a net, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def split(net, arrays: dict) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Batches of the net's size of arrays by name, the last one filled up with zeros, and how
    many of each count."""
    total = len(next(iter(arrays.values())))
    size = next(iter(net.blobs.values())).shape[0]
    for at in range(0, total, size):
        batch = {}
        for name, array in arrays.items():
            part = np.asarray(array[at : at + size], dtype=np.float32)
            fill = np.zeros((size - len(part), *part.shape[1:]), dtype=np.float32)
            batch[name] = np.concatenate([part, fill])
        yield batch, min(size, total - at)


class _Whole:
    """Arrays by name that are put together of batches."""

    def __init__(self):
        self._parts: dict[str, list] = {}

    def add(self, arrays: dict[str, np.ndarray], count: int) -> None:
        for name, array in arrays.items():
            self._parts.setdefault(name, []).append(array[:count].copy())

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}


def forward_all(net, blobs, inputs: dict) -> dict[str, np.ndarray]:
    """`net.forward(blobs, **inputs)`, whole arrays in and out."""
    made = _Whole()
    for batch, count in split(net, inputs):
        made.add(net.forward(blobs=blobs, **batch), count)
    return made.arrays


def forward_backward_all(net, blobs, diffs, arrays: dict):
    """`net.forward(blobs, **inputs)` and `net.backward(diffs, **output_diffs)`, whole arrays in
    and out: `arrays` holds inputs and diffs of outputs."""
    made, gradients = _Whole(), _Whole()
    for batch, count in split(net, arrays):
        inputs = {k: v for k, v in batch.items() if k in net.inputs}
        tops = {k: v for k, v in batch.items() if k in net.outputs}
        made.add(net.forward(blobs=blobs, **inputs), count)
        gradients.add(net.backward(diffs=diffs, **tops), count)
    return made.arrays, gradients.arrays
