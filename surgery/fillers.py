"""Layers that no source has weights for: which of them cannot learn from 0, and what fills them."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence

import numpy as np

FILLED = ("Convolution", "InnerProduct", "Deconvolution")
TRANSPARENT = ("Dropout", "Split", "Scale", "BatchNorm", "Crop", "Reshape", "Flatten")


def dead_layers(net, zero: Collection[str]) -> list[str]:
    """Those of the layers in `zero` (names; all their weights are 0) that can never learn.

    net: NetParameter. A layer of zeros learns if it is the last (its gradient is its input times
    the loss's), not if a ReLU follows it (Caffe's has slope 0 at 0) or another layer of zeros,
    which lets no gradient through. Returned in the net's order.
    """
    above: dict[str, set[str]] = {}
    made_by: dict[str, str | None] = {}
    dead: set[str] = set()
    for layer in net.layer:
        ancestors = set().union(*(above.get(bottom, set()) for bottom in layer.bottom))
        makers = {name for bottom in layer.bottom if (name := made_by.get(bottom))}
        if layer.name in zero:
            dead |= ancestors
            ancestors = ancestors | {layer.name}
            maker = layer.name
        else:
            if layer.type == "ReLU":
                dead |= makers
            passed = layer.type in TRANSPARENT and layer.bottom
            maker = made_by.get(layer.bottom[0]) if passed else None
        for top in layer.top:
            above[top], made_by[top] = ancestors, maker
    return [layer.name for layer in net.layer if layer.name in dead]


def msra(shape: Sequence[int], seed: int, name: str) -> np.ndarray:
    """Gaussian weights of standard deviation sqrt(2 / fan-in), float32 (He et al. 2015).

    shape: outputs x inputs x ...; fan-in is the product of all but the first. The numbers depend
    on seed, layer name and shape only, not on the Caffe or the NumPy that runs.
    """
    random = np.random.RandomState([seed, zlib.crc32(name.encode())])
    weights = np.empty(shape, np.float32)
    deviation = np.sqrt(2.0 / np.prod(shape[1:]))
    for row in weights:  # one output at a time: the draws are in double precision
        row[...] = random.standard_normal(row.shape) * deviation
    return weights
