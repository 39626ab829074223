"""VGG's fc6 and fc7 with fewer outputs: evenly spaced ones, and fc7 reads those that fc6 keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LAYERS = ("fc6", "fc7")


def spaced(count: int, kept: int) -> np.ndarray:
    """`kept` evenly spaced indices of `count`, from 0 on; all where `kept` is not smaller."""
    return np.arange(count) if kept >= count else np.arange(kept) * count // kept


def narrowed(
    layer: str, arrays: Sequence[np.ndarray], shape: Sequence[int]
) -> tuple[list[np.ndarray], str]:
    """The weights and the bias of fc6 or fc7 for a layer whose weights have `shape` (outputs x
    inputs x …), and words for what was done; as they are, and "", for other layers and for a layer
    that is not narrower.

    arrays: weights of any shape whose order is outputs, then inputs; and the bias, if it has one.
    """
    weights, *bias = arrays
    outputs = bias[0].size if bias else weights.shape[0]
    if layer not in LAYERS or not 0 < shape[0] < outputs or weights.size % outputs:
        return list(arrays), ""
    rows = spaced(outputs, shape[0])
    weights = weights.reshape(outputs, -1)[rows]
    if layer == "fc7":
        weights = weights[:, spaced(weights.shape[1], shape[1])]
    return [weights, *(b.reshape(-1)[rows] for b in bias)], f"{shape[0]} of {outputs} outputs"
