"""A forward pass for the classes of its best scores: on a GPU, these come to the host and not the
scores, and nothing waits for them."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np
import torch

from ..compute import transfers
from ..compute.gpu_errors import named_gpu_errors
from ..errors import InputError

Result = tuple[np.ndarray, bool, dict[str, np.ndarray]]


@named_gpu_errors
def start_segmenting(net, scores: str, *names: str) -> Callable[[], Result]:
    """Run `net` forward, and return a function whose result is (classes, finite, arrays): for blob
    `scores` of shape (N, C, ...) the number of the highest of its C scores at each place, whole
    numbers of shape (N, ...), the first of equal ones; whether all scores are finite, without which
    `classes` means nothing; and copies of the blobs `names`, by name, float32.

    The function waits for what a GPU has still to do; before it is called the next pass may be
    started. InputError for names of no blobs, and for scores without a second axis.
    """
    for name in (scores, *names):
        if name not in net.blobs:
            raise InputError(f"{net._where}: no blob '{name}'")
    net._passes.forward(0, len(net.layers) - 1)
    values = net.blobs[scores].read()
    if values.dim() < 2:
        raise InputError(f"blob '{scores}' of shape {net.blobs[scores].shape} has no scores")
    best, extremes = _best(values)
    arrays = {name: net.blobs[name] for name in names}
    near = {name: blob.peek().copy() for name, blob in arrays.items() if blob.on_host}
    far = [name for name in names if name not in near]
    fetching = transfers.Fetching([best, extremes, *(net.blobs[name].read() for name in far)])

    def result() -> Result:
        classes, (least, most), *rest = fetching.arrays()
        finite = math.isfinite(least) and math.isfinite(most)
        return classes, finite, {**near, **dict(zip(far, rest))}

    return result


def _best(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers of the highest of the scores along axis 1, and the lowest and highest of all,
    which are NaN if one is."""
    kind = torch.uint8 if values.shape[1] <= 256 else torch.int32
    if values.device.type != "cpu":
        return values.argmax(1).to(kind), torch.stack(values.aminmax())
    array = values.numpy()  # NumPy takes a third of the time
    extremes = torch.tensor([array.min(), array.max()])
    return torch.from_numpy(array.argmax(1)).to(kind), extremes
