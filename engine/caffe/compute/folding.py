"""Blobs whose columns or rows repeat, kept without the repetitions.

A large pad makes many columns (and rows) of the maps behind it equal: away from the picture a
window sees nothing but padding, or nothing but columns that are equal themselves. Left out, they
need neither be computed nor stored. A `Fold` says which are left out of a blob; the numbers that
are computed from a folded blob are those of the whole one, and the gradient of a column that
stands for several is their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from . import fold_index


@dataclass(frozen=True)
class FoldedAxis:
    """An axis of `size` elements, of which `low` + 1 ... `low` + `out` equal element `low`, and
    `high` + 1 ... `high` + `out` equal element `high`: these 2 · `out` are left out."""

    size: int
    low: int
    high: int
    out: int

    @property
    def kept(self) -> int:
        """How many elements are left."""
        return self.size - 2 * self.out

    def whole(self, place: int) -> int:
        """The element of the whole axis that element `place` of the folded one is."""
        if place <= self.low:
            return place
        return place + (self.out if place + self.out <= self.high else 2 * self.out)

    def folded(self, place: int) -> int:
        """The element of the folded axis that stands for element `place` of the whole one."""
        before = min(max(place - self.low, 0), self.out)
        return place - before - min(max(place - self.high, 0), self.out)


@dataclass(frozen=True)
class Fold:
    """What is left out of a blob's last two axes."""

    rows: FoldedAxis
    columns: FoldedAxis

    @property
    def axes(self) -> tuple[FoldedAxis, FoldedAxis]:
        return self.rows, self.columns


@dataclass(frozen=True)
class LayerFold:
    """How a layer makes a folded top: from a bottom that is stored under the fold `stored`, of
    which it takes what `bottom` leaves (None: the whole); with less padding (rows, columns)."""

    stored: Fold | None
    bottom: Fold | None
    top: Fold
    pad: list[int]


def folded_shape(shape, fold: Fold | None) -> tuple[int, ...]:
    """The shape of what is left of a blob of `shape`."""
    return tuple(shape) if fold is None else (*shape[:-2], fold.rows.kept, fold.columns.kept)


@lru_cache(maxsize=1024)
def _pieces(small: FoldedAxis, large: FoldedAxis | None) -> list[tuple[int, int, int, bool]]:
    """How the elements of an axis folded as `small` make up the same axis of which less is left
    out (None: nothing): (start in `large`, length, start in `small`, one element repeated)."""
    kept = small.size if large is None else large.kept
    source = [small.folded(i if large is None else large.whole(i)) for i in range(kept)]
    pieces, start = [], 0
    while start < kept:
        end = start + 1
        while end < kept and source[end] == source[start]:
            end += 1
        repeated = end - start > 1
        while not repeated and end < kept and source[end] == source[end - 1] + 1:
            if end + 1 < kept and source[end + 1] == source[end]:
                break
            end += 1
        pieces.append((start, end - start, source[start], repeated))
        start = end
    return pieces


def _part(tensor: torch.Tensor, row: tuple[int, int], column: tuple[int, int]) -> torch.Tensor:
    return tensor.narrow(-2, *row).narrow(-1, *column)


def _counterparts(small: torch.Tensor, fold: Fold, large: torch.Tensor, less: Fold | None):
    """Parts of one blob under two folds that hold the same elements; where the second, which
    leaves out less (None: nothing), has one several times, the first has it once."""
    others = (None, None) if less is None else less.axes
    rows, columns = (_pieces(*axes) for axes in zip(fold.axes, others))
    for row in rows:
        for column in columns:
            height, width = (1 if piece[3] else piece[1] for piece in (row, column))
            few = _part(small, (row[2], height), (column[2], width))
            yield few, _part(large, row[:2], column[:2])


def like(tensor: torch.Tensor, shape) -> torch.Tensor:
    """An uninitialised tensor of another size, in the same order of axes in memory."""
    layout = torch.contiguous_format
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        layout = torch.channels_last
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)


def unfold(tensor: torch.Tensor, fold: Fold | None, into: Fold | None = None) -> torch.Tensor:
    """The blob that `tensor` is what `fold` leaves of, with less left out: what `into` says, by
    default nothing."""
    if fold == into:
        return tensor
    if tensor.device.type != "cpu":
        return fold_index.gather(tensor, fold, into)
    assert fold is not None  # `into` leaves out less
    shape = (*tensor.shape[:-2], fold.rows.size, fold.columns.size)
    made = like(tensor, folded_shape(shape, into))
    for few, many in _counterparts(tensor, fold, made, into):
        many.copy_(few)
    return made


def select(tensor: torch.Tensor, into: Fold) -> torch.Tensor:
    """What `into` leaves of a whole blob."""
    if tensor.device.type != "cpu":
        return fold_index.gather(tensor, None, into)
    made = like(tensor, (*tensor.shape[:-2], into.rows.kept, into.columns.kept))
    for few, many in _counterparts(made, into, tensor, None):
        few.copy_(_part(many, (0, few.shape[-2]), (0, few.shape[-1])))
    return made


def fold_gradient(tensor: torch.Tensor, fold: Fold | None, into: Fold) -> torch.Tensor:
    """The gradient of a blob under the fold `into`, from that of the same blob with less left out
    (`fold`; None: nothing): an element that stands for several has the sum of theirs."""
    if fold == into:
        return tensor
    if tensor.device.type != "cpu":
        less = (None, None) if fold is None else fold.axes
        pieces = [_pieces(*axes) for axes in zip(into.axes, less)]
        return fold_index.add_up(tensor, fold, into, pieces)
    made = like(tensor, (*tensor.shape[:-2], into.rows.kept, into.columns.kept))
    pairs = list(_counterparts(made, into, tensor, fold))
    if sum(few.shape[-2] * few.shape[-1] for few, _ in pairs) < into.rows.kept * into.columns.kept:
        made.zero_()  # of equal elements `into` may keep one that `fold` does not
    for few, many in pairs:
        axes = [axis for axis in (-2, -1) if few.shape[axis] != many.shape[axis]]
        few.copy_(many.sum(axes, keepdim=True) if axes else many)
    return made


# -- what repeats ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """The elements at an axis's beginning and end that are equal: (first, last) each."""

    low: tuple[int, int]
    high: tuple[int, int]

    @property
    def spare(self) -> int:
        """How many may be left out on either side, so that one is left."""
        return min(self.low[1] - self.low[0], self.high[1] - self.high[0])


@dataclass(frozen=True)
class Window:
    """Along one axis: what a window spans, its stride, and the zeros around the bottom that it
    may see (`pad`) or those that it leaves out (`edge`)."""

    extent: int
    stride: int
    pad: int = 0
    edge: int = 0


POINTWISE = (Window(1, 1), Window(1, 1))
"""The windows of a layer that works on each element by itself."""


def runs_behind(runs: Runs | None, size: int, window: Window, out: int) -> tuple[Runs | None, bool]:
    """The runs of a layer's top of `out` elements, from those of its bottom of `size`, and whether
    they come from the padding (from the bottom's own runs otherwise)."""
    start = window.pad + window.edge

    def places(first, last):
        """The windows that lie within elements first ... last."""
        low = max(0, -(-(first + start) // window.stride))
        high = min(out - 1, (last - window.extent + 1 + start) // window.stride)
        return low, high

    sources = [(((-window.pad, -1), (size, size + window.pad - 1)), True)]
    if runs is not None:
        sources.append(((runs.low, runs.high), False))
    best, from_padding = None, False
    for (low, high), padding in sources:
        low, high = places(*low), places(*high)
        if low[0] > low[1] or high[0] > high[1] or low[1] >= high[0]:
            continue
        found = Runs(low, high)
        if best is None or found.spare > best.spare:
            best, from_padding = found, padding
    return best, from_padding
