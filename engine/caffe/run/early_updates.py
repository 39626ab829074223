"""When each parameter of a lean net can be updated: as soon as backward is through with it.

Its gradient then need not stay until the last one is there, which for the parameters of VGG's
large layers is when most activations are still in memory. Small ones wait for the lowest layer, so
that a GPU updates them together.
"""

from __future__ import annotations

_SMALL = 2**16  # elements: a block of PyTorch's kernels over many tensors


def updated_after(wiring, small_at_once: bool = True) -> dict[int, list[int]]:
    """By layer number: the learnable parameters that no layer below it has, which backward
    neither reads nor adds to after that layer. A parameter that layers share waits for all, small
    ones for layer 0 if they are to be updated at once."""
    numbers = {id(blob._diff): i for i, blob in enumerate(wiring.learnable.blobs)}
    found: dict[int, list[int]] = {}
    for k, layer in enumerate(wiring.layers):
        for blob in layer.blobs:
            number = numbers.pop(id(blob._diff), None)
            if number is not None:
                small = small_at_once and blob.count <= _SMALL
                found.setdefault(0 if small else k, []).append(number)
    return found
