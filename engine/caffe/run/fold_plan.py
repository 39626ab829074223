"""Which blobs of a net are folded, and how: from the layers' windows and the blobs' shapes.

A layer that sees its bottom through windows (a convolution, a pooling) has equal elements in its
top where the windows see nothing but padding or equal elements; one that works on each element by
itself keeps the bottom's. A stage, up to the next layer with a stride, leaves out as much as its
last layer allows, so that nothing has to be repeated in between; the top of a layer with a stride
is small, and leaves out all it can: the next stage repeats what it needs.
"""

from __future__ import annotations

from ..compute.folding import POINTWISE, Fold, FoldedAxis, LayerFold, Runs, runs_behind


class _Axis:
    """What is known of one axis of a blob's value, as one layer makes it."""

    def __init__(self, size: int, runs: Runs | None, from_padding: bool, stride: int):
        self.size, self.runs, self.from_padding, self.stride = size, runs, from_padding, stride
        self.most = runs.spare if runs else 0
        self.out = 0

    def folded(self, out: int) -> FoldedAxis:
        if not out or self.runs is None:
            return FoldedAxis(self.size, 0, self.size - 1, 0)
        return FoldedAxis(self.size, self.runs.low[0], self.runs.high[0], out)


class _Value:
    """A blob's content between the layer that makes it and the next one that changes it."""

    def __init__(self, axes: list[_Axis], below: _Value | None, pointwise: bool):
        self.axes, self.below, self.pointwise = axes, below, pointwise
        self.readers: list[_Value] = []
        if below is not None:
            below.readers.append(self)

    @property
    def fold(self) -> Fold | None:
        if not any(axis.out for axis in self.axes):
            return None
        return Fold(*(axis.folded(axis.out) for axis in self.axes))

    def limit(self) -> None:
        """No more is left out than what reads this can do with, unless it is behind a stride."""
        for i, axis in enumerate(self.axes):
            for reader in self.readers:
                above = reader.axes[i]
                taken = 0 if above.from_padding else above.stride * above.most
                if axis.stride == 1:
                    axis.most = min(axis.most, taken)

    def leave_out(self) -> None:
        for i, axis in enumerate(self.axes):
            below = self.below.axes[i].out if self.below is not None else 0
            if self.pointwise:
                axis.out = below
            elif axis.from_padding:
                axis.out = axis.most
            elif axis.runs is not None:
                axis.out = min(axis.most, below // axis.stride)


def _unknown(blob) -> _Value:
    """The content of a blob in which nothing is known to repeat."""
    sizes = blob.shape[2:] if len(blob.shape) == 4 else (0, 0)
    return _Value([_Axis(size, None, False, 1) for size in sizes], None, False)


def _value(layer, bottom: _Value, below, above) -> _Value:
    """What `layer` makes of a bottom, whose blob is `below`, in the blob `above`."""
    windows = layer._windows()
    if windows is None or len(above.shape) != 4 or len(below.shape) != 4:
        return _unknown(above)
    axes = []
    for axis, window, size in zip(bottom.axes, windows, above.shape[2:]):
        runs, from_padding = runs_behind(axis.runs, axis.size, window, size)
        axes.append(_Axis(size, runs, from_padding, window.stride))
    return _Value(axes, bottom, windows is POINTWISE)


def _layer_fold(layer, value: _Value) -> LayerFold | None:
    """How `layer` makes `value` by its windows."""
    if value.pointwise or value.below is None or value.fold is None:
        return None
    below, taken, pads = value.below, [], []
    for axis, under, window in zip(value.axes, below.axes, layer._windows()):
        less = axis.out * axis.stride
        taken.append(under.folded(0 if axis.from_padding else less))
        pads.append(window.pad + window.edge - (less if axis.from_padding else 0))
    bottom = Fold(*taken) if any(axis.out for axis in taken) else None
    return LayerFold(below.fold, bottom, value.fold, pads)


def plan_folds(wiring, reach: list[int], folded: bool = True) -> list[list[Fold | None]]:
    """Give the layers of numbers `reach`, a root's, their `_folds`, one a top, for the shapes
    that the root's bottoms have now; or none, so that they make whole tops. Returns what each
    layer's tops are then stored under."""
    if not folded:
        for k in reach:
            wiring.layers[k]._folds = []
        return [[None] * len(wiring.top_ids[k]) for k in reach]
    current: dict[int, _Value] = {}
    made: list[list[_Value]] = []
    for k in reach:
        layer, bottom_ids, top_ids = wiring.layers[k], wiring.bottom_ids[k], wiring.top_ids[k]
        layer.reshape(wiring.bottoms[k], wiring.tops[k])
        for i in bottom_ids:
            current.setdefault(i, _unknown(wiring.blobs[i]))
        values = []
        for j, top in enumerate(top_ids):
            i = bottom_ids[j if j < len(bottom_ids) else 0]
            values.append(_value(layer, current[i], wiring.blobs[i], wiring.blobs[top]))
        current.update(zip(top_ids, values))
        made.append(values)
    for values in reversed(made):
        for value in values:
            value.limit()
    for k, values in zip(reach, made):
        for value in values:
            value.leave_out()
        wiring.layers[k]._folds = [_layer_fold(wiring.layers[k], value) for value in values]
    return [[value.fold for value in values] for values in made]


def find_roots(wiring) -> dict[int, list[int]]:
    """The layers whose padding makes elements of their tops equal, each with the layers that may
    carry that on: itself and those that read nothing but what these make."""
    roots: dict[int, list[int]] = {}
    taken: set[int] = set()
    for root, layer in enumerate(wiring.layers):
        if root in taken or not _is_root(layer):
            continue
        reach, inside = [root], set(wiring.top_ids[root])
        for k in range(root + 1, len(wiring.layers)):
            ids = wiring.bottom_ids[k]
            if not ids or not inside.issuperset(ids) or wiring.layers[k]._windows() is None:
                inside.difference_update(wiring.top_ids[k])
            else:
                reach.append(k)
                inside.update(wiring.top_ids[k])
        roots[root] = reach
        taken.update(reach)
    return roots


def _is_root(layer) -> bool:
    windows = layer._windows()
    return windows is not None and any(window.pad >= window.extent for window in windows)
