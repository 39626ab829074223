"""Which layers have a backward pass, and which bottoms they give a diff."""

from __future__ import annotations


def find_needs(wiring) -> None:
    """Leave out of backward what no loss depends on and what no parameter asks for."""
    under_loss: set[int] = set()
    skipped: set[int] = set()
    for i in reversed(range(len(wiring.layers))):
        weights = wiring.layers[i]._loss_weights
        contributes, skip = False, True
        for top, weight in zip(wiring.top_ids[i], weights):
            contributes |= bool(weight) or top in under_loss
            skip &= top in skipped
        if wiring.layer_needs[i] and skip:
            wiring.layer_needs[i] = False
            wiring.bottom_needs[i] = [False] * len(wiring.bottom_ids[i])
        if not contributes:
            wiring.layer_needs[i] = False
        for j, bottom in enumerate(wiring.bottom_ids[i]):
            if contributes:
                under_loss.add(bottom)
            else:
                wiring.bottom_needs[i][j] = False
            if not wiring.bottom_needs[i][j]:
                skipped.add(bottom)


def force_needs(wiring) -> None:
    """`force_backward`: all layers have a backward pass, to all bottoms that allow it."""
    for i, layer in enumerate(wiring.layers):
        wiring.layer_needs[i] = True
        allowed = layer.allow_force_backward
        for j, bottom in enumerate(wiring.bottom_ids[i]):
            if j >= len(allowed) or allowed[j]:
                wiring.bottom_needs[i][j] = True
            if wiring.bottom_needs[i][j]:
                wiring.blob_needs[bottom] = True
        layer.param_propagate_down = [True] * len(layer.blobs)
