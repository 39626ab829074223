"""What `folding` does to tensors, on a GPU: in few launches of kernels, for which parts are
gathered through index tensors.

The index tensors are computed on the device, so that nothing waits for it, and kept for the next
pass with the same sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .kept import kept

if TYPE_CHECKING:
    from .folding import Fold, FoldedAxis

_index = torch.ops.aten.index.Tensor


@kept(4096)  # a data set has pictures of many sizes
def _places(small: FoldedAxis, large: FoldedAxis, device: torch.device) -> torch.Tensor:
    """For each element of an axis folded as `large`, which one of the axis folded as `small` stands
    for it: `small.folded(large.whole(i))`, int64."""
    i = torch.arange(large.kept, device=device)
    if large.out:
        i = i + large.out * (i > large.low) + large.out * (i > large.high - large.out)
    if small.out:
        beyond = [(i - start).clamp_(0, small.out) for start in (small.low, small.high)]
        i = i - beyond[0] - beyond[1]
    return i


def _unfolded(axis: FoldedAxis) -> FoldedAxis:
    return type(axis)(axis.size, 0, axis.size - 1, 0)


def stand_ins(axis: FoldedAxis, device: torch.device) -> torch.Tensor:
    """For each element of a whole axis, which of the folded one stands for it (int64)."""
    return _places(axis, _unfolded(axis), device)


def gather(tensor: torch.Tensor, fold: Fold | None, into: Fold | None, part=None) -> torch.Tensor:
    """The blob that `tensor` is what `fold` leaves of (None: all), under the fold `into`, in the
    same order of axes in memory; of that, with `part`, the rows (first, count) and columns (first,
    count) that it says."""
    either = fold or into
    assert either is not None  # else there is nothing to gather
    whole = tuple(_unfolded(axis) for axis in either.axes)
    folds = fold.axes if fold else whole
    intos = into.axes if into else whole
    rows, columns = (_places(*axes, tensor.device) for axes in zip(folds, intos))
    if part is not None:
        rows, columns = rows.narrow(0, *part[0]), columns.narrow(0, *part[1])
    last = is_channels_last(tensor)
    x = tensor.permute(0, 2, 3, 1) if last else tensor  # an index kernel's result is contiguous
    before = [None] * (1 if last else tensor.dim() - 2)
    made = _index(x, [*before, rows.unsqueeze(1), columns])
    return made.permute(0, 3, 1, 2) if last else made


def is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether the channels lie last in memory, and only there."""
    if tensor.dim() != 4 or tensor.is_contiguous():
        return False
    return tensor.is_contiguous(memory_format=torch.channels_last)


def add_up(tensor: torch.Tensor, fold: Fold | None, into: Fold, pieces) -> torch.Tensor:
    """The gradient of a blob under the fold `into` from that under `fold`, which leaves out less
    (None: nothing): rows first, then columns. `pieces` are those of either axis, by which elements
    under `into` make up those under `fold`: (start there, length, start under `into`, whether it is
    one element several times)."""
    last = is_channels_last(tensor)
    x = tensor.permute(0, 2, 3, 1) if last else tensor
    first = 1 if last else tensor.dim() - 2
    folds = fold.axes if fold else [_unfolded(axis) for axis in into.axes]
    for dim, less, more, parts in zip((first, first + 1), folds, into.axes, pieces):
        if less != more:
            x = _add_up_along(x, dim, less, more, parts)
    return x.permute(0, 3, 1, 2) if last else x


def _add_up_along(x, dim: int, less: FoldedAxis, more: FoldedAxis, parts) -> torch.Tensor:
    made = _index(x, [*[None] * dim, _places(less, more, x.device)])
    used = 0
    for start, length, place, repeated in parts:
        if repeated:
            torch.sum(x.narrow(dim, start, length), dim, True, out=made.narrow(dim, place, 1))
        if place > used:  # of equal elements `more` may keep one that `less` does not
            made.narrow(dim, used, place - used).zero_()
        used = place + (1 if repeated else length)
    if used < more.kept:
        made.narrow(dim, used, more.kept - used).zero_()
    return made
