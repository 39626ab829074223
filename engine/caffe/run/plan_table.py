"""A plan as a table: what each step makes, how it is stored, and how much memory is in use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..compute.folding import POINTWISE, Fold, folded_shape
from ..core.layer import TRAIN

_BYTES = 4  # of a float32


@dataclass(frozen=True)
class Row:
    """One layer's step. Bytes are those of blobs and of parameters' diffs at the end of its pass,
    before anything is given back."""

    layer: str
    type: str
    folds: str
    """The shape that the first top is stored in, where that is folded."""
    forward_bytes: int
    backward_bytes: int | None
    """None where the step has no backward pass."""
    notes: str
    """What else happens, in words."""


@dataclass(frozen=True)
class PlanTable:
    """What `caffe.engine.plan` returns; `print` it, or look at `rows`, one a layer, and `peak`.

    Counted are the data and diffs of blobs (a blob that shares another's memory once), and the
    diffs of parameters; not the parameters themselves, the solver's history, what layers keep for
    themselves (masks, places of maxima) and what a convolution takes while it runs.
    """

    net: str
    parameter_bytes: int
    """Of the data of all learnable parameters."""
    rows: tuple[Row, ...]

    @property
    def peak(self) -> int:
        """The most bytes that are in use at once by what is counted."""
        both = (b for row in self.rows for b in (row.forward_bytes, row.backward_bytes or 0))
        return max(both, default=0)

    def __str__(self) -> str:
        head = ("step", "layer", "type", "stored as", "forward MiB", "backward MiB", "besides")
        lines = [
            (str(number), row.layer, row.type, row.folds, _mib(row.forward_bytes),
             "" if row.backward_bytes is None else _mib(row.backward_bytes), row.notes)
            for number, row in enumerate(self.rows)
        ]  # fmt: skip
        widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
        text = [f"Plan of {self.net or 'a net without a name'}"]
        for line in (head, *lines):
            cells = [
                cell.rjust(width) if i in (0, 4, 5) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths))
            ]
            text.append("  ".join(cells).rstrip())
        text.append(f"Peak {_mib(self.peak)} MiB, and parameters {_mib(self.parameter_bytes)} MiB")
        return "\n".join(text)


def _mib(count: int) -> str:
    return f"{count / 2**20:.2f}"


class _InUse:
    """The bytes in use, memory by memory, while the steps are followed."""

    def __init__(self):
        self._bytes: dict[int, int] = {}

    def add(self, memory, count: int) -> None:
        self._bytes[id(memory)] = count

    def keep_at_least(self, memory, count: int) -> None:
        self._bytes.setdefault(id(memory), count)

    def drop(self, memory) -> None:
        self._bytes.pop(id(memory), None)

    @property
    def total(self) -> int:
        return sum(self._bytes.values())


def plan(net) -> PlanTable:
    """The steps of `net`'s passes, for the shapes that its blobs have now, as a table to print:
    how each layer's top is stored, the bytes in use, what is given back, made again, and updated.

    Of a net in phase TRAIN both passes; of a lean one, the parameters are taken to be updated in
    the backward pass, as a solver does with iter_size 1 and without clip_gradients.
    """
    steps, updates_early = net._plan.steps, net._plan.lean
    net._plan.fold_all()
    in_use = _InUse()
    folded: dict = {}  # blob's memory -> the Fold it is stored under
    for step in steps:
        for blob, weight in zip(step.tops, step.layer._loss_weights):
            if weight:  # it stays in the diff
                in_use.add(blob._diff, _size(blob, None))
    forward = [_forward(step, in_use, folded) for step in steps]
    backward: list[int | None] = [None] * len(steps)
    if net.phase == TRAIN:
        for step in reversed(steps):
            backward[step.number] = _backward(net, step, in_use, folded, updates_early)
    masked = {step.masks.number: step.layer.layer_param.name for step in steps if step.masks}
    rows = []
    for step, name, before, behind in zip(steps, net._layer_names, forward, backward):
        blobs = zip(step.tops, step.folds)
        stored = next((_shape(blob, fold) for blob, fold in blobs if fold is not None), "")
        notes = _notes(net, step, masked.get(step.number), updates_early)
        rows.append(Row(name, step.layer.type, stored, before, behind, notes))
    parameters = sum(blob.count for blob in net._wiring.learnable.blobs) * _BYTES
    return PlanTable(net.name, parameters, tuple(rows))


def _shape(blob, fold: Fold | None) -> str:
    return " × ".join(map(str, folded_shape(blob.shape, fold)))


def _size(blob, fold: Fold | None) -> int:
    return math.prod(folded_shape(blob.shape, fold)) * _BYTES


def _make(step, in_use: _InUse, folded: dict) -> None:
    for blob, fold in zip(step.tops, step.folds):
        if not step.bottoms or blob not in step.bottoms:
            folded[id(blob._data)] = fold
        in_use.add(blob._data, _size(blob, folded.get(id(blob._data))))


def _forward(step, in_use: _InUse, folded: dict) -> int:
    if not step.layer._reads_as_stored():  # it makes them whole
        for blob in step.bottoms:
            folded[id(blob._data)] = None
            in_use.add(blob._data, _size(blob, None))
    _make(step, in_use, folded)
    total = in_use.total
    for blob in step.released:
        in_use.drop(blob._data)
    return total


def _backward(net, step, in_use: _InUse, folded: dict, updates_early: bool) -> int | None:
    total = None
    for earlier in step.made_again:
        _make(earlier, in_use, folded)
    if step.has_backward:
        for i, (blob, needs) in enumerate(zip(step.bottoms, step.needs)):
            if needs:
                fold = _diff_fold(step, i, folded.get(id(blob._data))) if net._plan.lean else None
                in_use.keep_at_least(blob._diff, _size(blob, fold))
        for blob, wanted in zip(step.layer.blobs, step.layer.param_propagate_down):
            if wanted:
                in_use.keep_at_least(blob._diff, blob.count * _BYTES)
        total = in_use.total
    for number in step.updated if updates_early else ():
        in_use.drop(net._wiring.learnable.blobs[number]._diff)
    for blob in step.released_after_backward:
        in_use.drop(blob._data)
    for blob in step.diffs_released:
        in_use.drop(blob._diff)
    return total


def _diff_fold(step, i: int, stored: Fold | None) -> Fold | None:
    """The fold under which a lean net's layer makes the diff of bottom `i`, stored as it says."""
    if step.layer._windows() is POINTWISE:
        return stored
    folds = step.layer._folds
    return folds[i].bottom if i < len(folds) and folds[i] is not None else None


def _names(net, blobs) -> str:
    names = {id(blob): name for blob, name in zip(net._blobs, net._blob_names)}
    return ", ".join(dict.fromkeys(names[id(blob)] for blob in blobs))


def _notes(net, step, masked_by: str | None, updates_early: bool) -> str:
    notes = []
    if step.masks is not None:
        notes.append(f"does the backward pass of {step.masks.layer.layer_param.name}")
    if masked_by is not None:
        notes.append(f"backward is done by {masked_by}")
    if step.released:
        notes.append(f"forward gives back {_names(net, step.released)}")
    if net.phase == TRAIN:
        if step.made_again:
            again = ", ".join(earlier.layer.layer_param.name for earlier in step.made_again)
            notes.append(f"backward runs {again} forward again")
        if step.released_after_backward:
            notes.append(f"backward gives back {_names(net, step.released_after_backward)}")
        if updates_early and step.updated:
            many = len(step.updated)
            notes.append(f"updates {many} parameter{'s' if many > 1 else ''}")
    return "; ".join(notes)
