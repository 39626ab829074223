"""Which layers do the backward pass of a ReLU below on the way of their own.

Where a ReLU in place is followed by one layer alone that selects elements (max pooling), that can
mask its own gradient with its top, which stays for the next layer: a diff goes only where a
maximum is, and passes the ReLU if that is above 0. The large blob between can go.
"""

from __future__ import annotations


def find_masks(wiring) -> dict[int, int]:
    """By the number of the layer that does it, the number of the ReLU whose backward pass it does
    too."""
    found = {}
    for k, layer in enumerate(wiring.layers):
        ids = wiring.bottom_ids[k]
        if not layer._passes_positive or ids != wiring.top_ids[k]:
            continue
        readers = [m for m in range(k + 1, len(wiring.layers)) if ids[0] in wiring.bottom_ids[m]]
        if len(readers) == 1 and _can_mask(wiring, readers[0]):
            found[readers[0]] = k
    return found


def _can_mask(wiring, k: int) -> bool:
    """Whether layer k can mask a ReLU's diff with what it makes: nobody changes that in place."""
    if not wiring.layers[k]._selects or not all(wiring.bottom_needs[k]):
        return False
    memory = wiring.blobs[wiring.top_ids[k][0]]._data
    return not any(
        wiring.blobs[i]._data is memory and i in wiring.bottom_ids[m]
        for m in range(k + 1, len(wiring.layers))
        for i in wiring.top_ids[m]
    )
