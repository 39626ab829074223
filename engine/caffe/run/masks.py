"""Which layers do the backward pass of a ReLU below on the way of their own.

Where a ReLU in place is followed by max pooling alone, pooling can mask its own gradient with the
maxima, which stay for the next layer: a diff goes only where a maximum is, and passes the ReLU if
that is above 0. The large blob between can go.
"""

from __future__ import annotations


def find_masks(net) -> dict[int, int]:
    """By the number of the layer that does it, the number of the ReLU whose backward pass it does
    too."""
    found = {}
    for k, layer in enumerate(net.layers):
        ids = net._bottom_ids[k]
        if not layer._passes_positive or ids != net._top_ids[k]:
            continue
        readers = [m for m in range(k + 1, len(net.layers)) if ids[0] in net._bottom_ids[m]]
        if len(readers) == 1 and _can_mask(net, readers[0]):
            found[readers[0]] = k
    return found


def _can_mask(net, k: int) -> bool:
    """Whether layer k can mask a ReLU's diff with what it makes: nobody changes that in place."""
    if not net.layers[k]._selects or not all(net._bottom_needs[k]):
        return False
    memory = net._blobs[net._top_ids[k][0]]._data
    return not any(
        net._blobs[i]._data is memory and i in net._bottom_ids[m]
        for m in range(k + 1, len(net.layers))
        for i in net._top_ids[m]
    )
