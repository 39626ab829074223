"""When the memory of a lean net's blobs is given back: after the last layer that needs it.

Blobs that share memory (a Split's tops and its bottom, a Reshape's) are given back together.
"""

from __future__ import annotations

from .blob import Blob
from .errors import InputError
from .layer import TRAIN


class Releases:
    """What to give back after each layer's forward and backward pass, by layer number."""

    def __init__(self, net, kept: set[str]):
        count = len(net.layers)
        self.after_forward: list[list[Blob]] = [[] for _ in range(count)]
        self.after_backward: list[list[Blob]] = [[] for _ in range(count)]
        self.diffs_after_backward: list[list[Blob]] = [[] for _ in range(count)]
        untouched = self._untouched(net, kept)
        # Diffs of inputs can be asked for; users write those of outputs, and of their own layers.
        own = set(net._outputs)
        for layer, bottoms, tops in zip(net.layers, net._bottom_ids, net._top_ids):
            if layer.type == "Python":
                own.update(bottoms, tops)
            elif layer._keeps_tops or not bottoms:
                own.update(tops)
        for group in _sharing(net, "_data"):
            if group.isdisjoint(untouched):
                self._release_data(net, group)
        weighted = {
            i
            for layer, ids in zip(net.layers, net._top_ids)
            for i, weight in zip(ids, layer.loss_weights)
            if weight
        }
        for group in _sharing(net, "_diff"):
            makers = [k for k, ids in enumerate(net._top_ids) if not group.isdisjoint(ids)]
            if group.isdisjoint(weighted | own):
                blobs = [net._blobs[i] for i in group]
                self.diffs_after_backward[min(makers)] += blobs

    @staticmethod
    def _untouched(net, kept: set[str]) -> set[int]:
        """Blobs that stay: inputs, outputs, what users' layers hold views of, what layers share
        with what they keep, and what was named."""
        found = set(net._outputs)
        found.update(i for i, name in enumerate(net._blob_names) if name in kept)
        for layer, bottoms, tops in zip(net.layers, net._bottom_ids, net._top_ids):
            if not bottoms:
                found.update(tops)
            if layer.type == "Python":
                found.update(bottoms, tops)
            elif layer._keeps_tops:
                found.update(tops)
        return found

    def _release_data(self, net, group: set[int]) -> None:
        readers = [k for k, ids in enumerate(net._bottom_ids) if not group.isdisjoint(ids)]
        makers = [k for k, ids in enumerate(net._top_ids) if not group.isdisjoint(ids)]
        blobs = [net._blobs[i] for i in group]
        later = [k for k in range(len(net.layers)) if _reads_backward(net, k, group)]
        if net.phase == TRAIN and later:
            self.after_backward[min(later)] += blobs
        else:
            self.after_forward[max(readers + makers)] += blobs


def _reads_backward(net, k: int, group: set[int]) -> bool:
    if not net._layer_needs[k]:
        return False
    read = net.layers[k]._read_backward(net._bottoms[k], net._tops[k])
    return any(blob is net._blobs[i] for blob in read for i in group)


def _sharing(net, memory: str) -> list[set[int]]:
    """The blobs' numbers, those that share their data or diff memory together."""
    groups: dict[int, set[int]] = {}
    for i, blob in enumerate(net._blobs):
        groups.setdefault(id(getattr(blob, memory)), set()).add(i)
    return list(groups.values())


def join_relus(net) -> None:
    """Where a ReLU in place is followed by max pooling alone, let pooling do the ReLU's backward
    pass before its own, on the maxima, which stay for the next layer: a diff goes only where a
    maximum is, and passes the ReLU if that is above 0. The large blob between can go."""
    for k, layer in enumerate(net.layers):
        ids = net._bottom_ids[k]
        if not layer._passes_positive or ids != net._top_ids[k]:
            continue
        readers = [m for m in range(k + 1, len(net.layers)) if ids[0] in net._bottom_ids[m]]
        if len(readers) == 1 and _can_mask(net, readers[0]):
            above = net.layers[readers[0]]
            above.relu, layer.masked_by = layer, above


def part_relus(net) -> None:
    """Undo `join_relus`."""
    for layer in net.layers:
        if layer._passes_positive and layer.masked_by is not None:
            layer.masked_by.relu = layer.masked_by = None


def _can_mask(net, k: int) -> bool:
    """Whether layer k can mask a ReLU's diff with what it makes: nobody changes that in place."""
    if not net.layers[k]._can_mask or not all(net._bottom_needs[k]):
        return False
    memory = net._blobs[net._top_ids[k][0]]._data
    return not any(
        net._blobs[i]._data is memory and i in net._bottom_ids[m]
        for m in range(k + 1, len(net.layers))
        for i in net._top_ids[m]
    )


def keep(net, *names: str) -> None:
    """Let blobs of a lean `net` be readable after its passes too. InputError for other names."""
    for name in names:
        if name not in net.blobs:
            raise InputError(f"{net._where}: no blob '{name}' to keep")
    net._keep(names)
