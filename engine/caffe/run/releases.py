"""When the memory of a lean net's blobs is given back: after the last layer that needs it.

Blobs that share memory (a Split's tops and its bottom, a Reshape's) are given back together.
"""

from __future__ import annotations

from ..core.blob import Blob
from ..core.layer import TRAIN, Reads
from ..errors import InputError


class Releases:
    """What to give back after each layer's forward and backward pass, and which layers to run
    again before its backward pass, by layer number.

    Blobs of the names `kept` stay. Those of the names `remade` are given back after the forward
    pass, and made again before the first layer that needs them in backward, for which what they
    are made of stays, or is made again too. The layers of numbers `masked` read nothing in
    backward: another does theirs.
    """

    def __init__(self, wiring, kept: set[str], remade: set[str], masked: set[int]):
        count = len(wiring.layers)
        self._masked = masked
        self.before_backward: list[list[int]] = [[] for _ in range(count)]
        self.after_forward: list[list[Blob]] = [[] for _ in range(count)]
        self.after_backward: list[list[Blob]] = [[] for _ in range(count)]
        self.diffs_after_backward: list[list[Blob]] = [[] for _ in range(count)]
        untouched = self._untouched(wiring, kept)
        # Diffs of inputs can be asked for; users write those of outputs, and of their own layers.
        own = set(wiring.outputs)
        for layer, bottoms, tops in zip(wiring.layers, wiring.bottom_ids, wiring.top_ids):
            if layer.type == "Python":
                own.update(bottoms, tops)
            elif layer._keeps_tops or not bottoms:
                own.update(tops)
        remakers: list[list] = [
            [] for _ in wiring.blobs
        ]  # layers before whose backward a blob is read again
        # From the top down: what is made again says until when it needs its bottoms.
        for group in sorted(_sharing(wiring, "_data"), key=lambda g: -_makers(wiring, g)[-1]):
            again = any(wiring.blob_names[i] in remade for i in group)
            if group.isdisjoint(untouched):
                self._release_data(wiring, group, again, remakers)
        weighted = {
            i
            for layer, ids in zip(wiring.layers, wiring.top_ids)
            for i, weight in zip(ids, layer._loss_weights)
            if weight
        }
        for group in _sharing(wiring, "_diff"):
            if group.isdisjoint(weighted | own):
                blobs = [wiring.blobs[i] for i in group]
                self.diffs_after_backward[_makers(wiring, group)[0]] += blobs

    @staticmethod
    def _untouched(wiring, kept: set[str]) -> set[int]:
        """Blobs that stay: inputs, outputs, what users' layers hold views of, what layers share
        with what they keep, and what was named."""
        found = set(wiring.outputs)
        found.update(i for i, name in enumerate(wiring.blob_names) if name in kept)
        for layer, bottoms, tops in zip(wiring.layers, wiring.bottom_ids, wiring.top_ids):
            if not bottoms:
                found.update(tops)
            if layer.type == "Python":
                found.update(bottoms, tops)
            elif layer._keeps_tops:
                found.update(tops)
        return found

    def _release_data(
        self, wiring, group: set[int], again: bool, remakers: list[list[int]]
    ) -> None:
        readers = [k for k, ids in enumerate(wiring.bottom_ids) if not group.isdisjoint(ids)]
        makers = _makers(wiring, group)
        blobs = [wiring.blobs[i] for i in group]
        unmasked = [k for k in range(len(wiring.layers)) if k not in self._masked]
        later = [k for k in unmasked if _reads_backward(wiring, k, group)]
        later += [k for i in group for k in remakers[i]]
        trained = wiring.phase == TRAIN and later
        if trained:
            self.after_backward[min(later)] += blobs
        if trained and again:
            self.before_backward[max(later)] = sorted({*self.before_backward[max(later)], *makers})
            for i in {i for k in makers for i in wiring.bottom_ids[k]} - group:
                remakers[i].append(max(later))
        if again or not trained:
            self.after_forward[max(readers + makers)] += blobs


def _makers(wiring, group: set[int]) -> list[int]:
    """The layers that make any of these blobs, in order."""
    return [k for k, ids in enumerate(wiring.top_ids) if not group.isdisjoint(ids)]


def _reads_backward(wiring, k: int, group: set[int]) -> bool:
    if not wiring.layer_needs[k]:
        return False
    layer, bottom_ids, read = wiring.layers[k], wiring.bottom_ids[k], set()
    if Reads.BOTTOM in layer._backward_reads:
        read.update(bottom_ids[:1])
    if Reads.FURTHER in layer._backward_reads:
        read.update(bottom_ids[1:])
    if Reads.TOPS in layer._backward_reads or layer._masks:
        read.update(wiring.top_ids[k])
    return not group.isdisjoint(read)


def _sharing(wiring, memory: str) -> list[set[int]]:
    """The blobs' numbers, those that share their data or diff memory together."""
    groups: dict[int, set[int]] = {}
    for i, blob in enumerate(wiring.blobs):
        groups.setdefault(id(getattr(blob, memory)), set()).add(i)
    return list(groups.values())


def keep(net, *names: str) -> None:
    """Let the data of blobs of a lean `net` be readable after its passes too. InputError for other
    names."""
    _require_blobs(net, names, "keep")
    net._plan.keep(names)


def recompute(net, *names: str) -> None:
    """Let blobs of a lean `net` take no memory between the forward pass and the layer that needs
    them in the backward pass: they are made again then, from what they were made of, which stays.
    Give blobs that are large and cheap to make: those of early convolutions, not of the poolings
    behind. What is kept or an output stays, and what backward does not need is gone anyway.

    InputError for names of no blob, for a net that is not lean, and for blobs that would not be
    the same again: those of data layers, of layers written in Python, of Dropout and others that
    draw random numbers or count.
    """
    if not net._plan.lean:
        raise InputError(
            f"{net._where}: is not lean; make the net after caffe.engine.set_lean(True), without "
            "debug_info"
        )
    _require_blobs(net, names, "make again")
    for name in names:
        problem = why_not_again(net._wiring, net.blobs[name])
        if problem:
            raise InputError(
                f"{net._where}: '{name}' cannot be made again: {problem}; leave it out"
            )
    net._plan.recompute(names)


def _require_blobs(net, names, purpose: str) -> None:
    for name in names:
        if name not in net.blobs:
            raise InputError(f"{net._where}: no blob '{name}' to {purpose}")


def why_not_again(wiring, blob: Blob) -> str | None:
    """Why `blob` cannot be made again in the backward pass, in words; None where it can."""
    group = _group(wiring, blob)
    for k in _makers(wiring, group):
        layer = wiring.layers[k]
        if not layer._can_run_again:
            return f"layer '{layer.layer_param.name}' ({layer.type}) might not give the same"
        for bottom in wiring.bottoms[k]:
            source = _group(wiring, bottom)
            changer = _makers(wiring, source)[-1]
            if source != group and changer > k:
                name = wiring.layers[changer].layer_param.name
                return f"layer '{name}' changes what layer '{layer.layer_param.name}' reads"
    return None


def _group(wiring, blob: Blob) -> set[int]:
    """The numbers of the blobs that share `blob`'s data memory."""
    return {i for i, other in enumerate(wiring.blobs) if other._data is blob._data}
