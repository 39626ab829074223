"""Which blobs of a net are folded, and how: from the layers' windows and the blobs' shapes.

A layer that sees its bottom through windows (a convolution, a pooling) has equal elements in its
top where the windows see nothing but padding or equal elements; one that works on each element by
itself keeps the bottom's. A stage, up to the next layer with a stride, leaves out as much as its
last layer allows, so that nothing has to be repeated in between; the top of a layer with a stride
is small, and leaves out all it can: the next stage repeats what it needs.
"""

from __future__ import annotations

from .folding import POINTWISE, Fold, FoldedAxis, LayerFold, Runs, runs_behind


class _Axis:
    """What is known of one axis of a blob's value, as one layer makes it."""

    def __init__(self, size: int, runs: Runs | None, from_padding: bool, stride: int):
        self.size, self.runs, self.from_padding, self.stride = size, runs, from_padding, stride
        self.most = runs.spare if runs else 0
        self.out = 0

    def folded(self, out: int) -> FoldedAxis:
        if not out:
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
            if self.pointwise:
                axis.out = self.below.axes[i].out
            elif axis.from_padding:
                axis.out = axis.most
            elif axis.runs is not None:
                axis.out = min(axis.most, self.below.axes[i].out // axis.stride)


def _value(layer, bottom: _Value | None, below, above) -> _Value:
    """What `layer` makes of a bottom, whose blob is `below`, in the blob `above`."""
    sizes = above.shape[2:] if len(above.shape) == 4 else (0, 0)
    windows = layer.windows() if bottom is not None and len(above.shape) == 4 else None
    if windows is None or len(below.shape) != 4:
        return _Value([_Axis(size, None, False, 1) for size in sizes], None, False)
    axes = []
    for axis, window, size in zip(bottom.axes, windows, sizes):
        runs, from_padding = runs_behind(axis.runs, axis.size, window, size)
        axes.append(_Axis(size, runs, from_padding, window.stride))
    return _Value(axes, bottom, windows is POINTWISE)


def _layer_fold(layer, value: _Value) -> LayerFold | None:
    """How `layer` makes `value` by its windows."""
    if value.pointwise or value.below is None or value.fold is None:
        return None
    below, taken, pads = value.below, [], []
    for axis, under, window in zip(value.axes, below.axes, layer.windows()):
        less = axis.out * axis.stride
        taken.append(under.folded(0 if axis.from_padding else less))
        pads.append(window.pad - less if axis.from_padding else window.pad)
    bottom = Fold(*taken) if any(axis.out for axis in taken) else None
    return LayerFold(below.fold, bottom, value.fold, pads)


def plan_folds(net) -> None:
    """Give each layer of `net` its `folds`, one a top, for the blobs' present shapes."""
    current: dict[int, _Value] = {}
    made: list[list[_Value]] = []
    for layer, bottom_ids, top_ids in zip(net.layers, net._bottom_ids, net._top_ids):
        bottoms = [current.get(i) for i in bottom_ids]
        values = []
        for j, top in enumerate(top_ids):
            k = j if j < len(bottoms) else 0
            bottom = bottoms[k] if bottoms else None
            below = net._blobs[bottom_ids[k]] if bottoms else None
            values.append(_value(layer, bottom, below, net._blobs[top]))
        current.update(zip(top_ids, values))
        made.append(values)
    for values in reversed(made):
        for value in values:
            value.limit()
    for layer, values in zip(net.layers, made):
        for value in values:
            value.leave_out()
        layer.folds = [_layer_fold(layer, value) for value in values]


def is_root(layer) -> bool:
    """Whether the padding of `layer` makes elements of its top equal."""
    windows = layer.windows()
    return windows is not None and any(window.pad >= window.extent for window in windows)
