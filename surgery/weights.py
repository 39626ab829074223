"""Copying parameters from layer to layer, by name."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from surgery.errors import SurgeryError


def by_x(shape: Iterable[int]) -> str:
    """A shape as it is written in messages: (4096, 512, 3, 3) is 4096x512x3x3."""
    return "x".join(map(str, shape)) or "scalar"


def assign(name: str, index: int, target: np.ndarray, source: np.ndarray) -> bool:
    """Copy `source` into the array `target`; equal sizes of different shape are copied flat.

    An InnerProduct's 4096x25088 becomes a convolution's 4096x512x7x7 by that: the numbers and
    their order are the same. Returns whether the shape changed. Raises SurgeryError, which names
    the layer and both shapes, where the sizes differ.
    """
    if source.size != target.size:
        raise SurgeryError(
            f"layer {name}, parameter {index}: the source has shape {by_x(source.shape)}, the net "
            f"has {by_x(target.shape)}; rename the layer in the net, or leave it out of the copy "
            "(make_init.py: --drop)"
        )
    target[...] = np.reshape(source, target.shape)
    return source.shape != target.shape


def transplant(new_net, net, suffix: str = "") -> None:
    """Copy the parameters of every layer of `net` into the layer of `new_net` of the same name.

    suffix: layer `x` of `net` goes to layer `x + suffix` of `new_net`, as a net needs whose two
    streams start from one. Layers that `new_net` does not have, and parameters beyond those that
    its layer has, are dropped; equal sizes of different shape are copied flat. One line per
    parameter is printed. Raises SurgeryError (a ValueError), naming layer and shapes, where sizes
    differ; `new_net` is then partly written.
    """
    for name in net.params:
        new_name = name + suffix
        if new_name not in new_net.params:
            print(f"dropping {name}: the new net has no layer {new_name}")
            continue
        blobs, new_blobs = net.params[name], new_net.params[new_name]
        for index in range(len(blobs)):
            if index >= len(new_blobs):
                print(f"dropping {name} {index}: {new_name} has {len(new_blobs)} parameters")
                break
            source, target = blobs[index].data, new_blobs[index].data
            changed = assign(new_name, index, target, source)
            how = f", reshaped {by_x(source.shape)} -> {by_x(target.shape)}" if changed else ""
            print(f"copying {name} -> {new_name} {index}{how}")


def expand_score(new_net, new_layer: str, net, layer: str) -> None:
    """Copy a score layer into one of more classes: its first rows, the others stay as they are.

    Weights N x I x ... go to the first N rows of M x I x ..., M >= N, and so does the bias where
    both have one. Raises SurgeryError where the rows do not fit.
    """
    for index, (new_blob, blob) in enumerate(zip(new_net.params[new_layer], net.params[layer])):
        source, target = blob.data, new_blob.data
        rows = source.shape[0]
        if rows > target.shape[0] or source.shape[1:] != target.shape[1:]:
            raise SurgeryError(
                f"layer {new_layer}, parameter {index}: {by_x(source.shape)} of {layer} do not fit "
                f"as the first rows of {by_x(target.shape)}"
            )
        target[:rows] = source
