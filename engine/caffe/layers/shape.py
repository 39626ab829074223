"""Layers that move elements about and change none: Crop, Concat, Slice, Split, Flatten, Reshape,
Silence."""

from __future__ import annotations

import math

import torch

from ..compute import fold_index
from ..compute.folding import POINTWISE, Fold, folded_shape
from ..core.layer import Layer, Reads
from ..core.under_fold import diff_under
from . import register


def joined_axis(layer: Layer, param, legacy: str, blob) -> int:
    """Concat's and Slice's axis: `axis`, or the older field `legacy` (never negative)."""
    if not param.HasField(legacy):
        return layer.canonical_axis(param.axis, blob)
    if param.HasField("axis"):
        raise layer.fail(f"give either axis or {legacy}, not both")
    return layer.canonical_axis(getattr(param, legacy), blob)


class Mover(Layer):
    """A layer that moves elements about: its gradient hangs on none of them."""

    _can_run_again = True
    _backward_reads = Reads.NOTHING


@register("Crop")
class Crop(Mover):
    """The part of the first bottom that has the second's size from `axis` on, starting at
    `offset`: none (0 everywhere), one for all cropped axes, or one each."""

    num_bottom = (2, 2)
    num_top = (1, 1)

    def reshape(self, bottom, top):
        param = self.layer_param.crop_param
        shape, wanted = bottom[0].shape, bottom[1].shape
        axis = self.canonical_axis(param.axis, bottom[0])
        cropped = len(shape) - axis
        if len(wanted) < len(shape):
            raise self.fail(f"cannot crop {shape} like {wanted}, which has fewer axes")
        if len(param.offset) not in (0, 1, cropped):
            raise self.fail(f"has {len(param.offset)} offsets for {cropped} cropped axes")
        offsets = list(param.offset) or [0]
        offsets = offsets * cropped if len(offsets) == 1 else offsets
        self.parts = []
        for dim, offset in enumerate(offsets, axis):
            if offset + wanted[dim] > shape[dim]:
                names = self.layer_param.bottom
                raise self.fail(
                    f"offset {offset} + size {wanted[dim]} of '{names[1]}' exceed "
                    f"{shape[dim]} of '{names[0]}' along axis {dim} "
                    f"(shapes {wanted} and {shape})"
                )
            self.parts.append((dim, offset, wanted[dim]))
        top[0].reshape(*shape[:axis], *wanted[axis : len(shape)])

    def setup(self, bottom, top):
        self.diff_fold: Fold | None = None

    def _reads_as_stored(self):
        return True

    def forward(self, bottom, top):
        x, fold = bottom[0].stored()
        self.diff_fold = fold if self._lean else None
        if fold is None:
            top[0].overwrite().copy_(_part(x, self.parts))
            return
        part = [(0, n) for n in bottom[0].shape[-2:]]
        for dim, first, count in self.parts:
            if dim < 2:
                x = x.narrow(dim, first, count)
            else:
                part[dim - 2] = first, count
        top[0].give(fold_index.gather(x, fold, None, part))

    def backward(self, top, propagate_down, bottom):
        # The second bottom gives no more than its shape: its diff is left as it is.
        if not propagate_down[0]:
            return
        dy = top[0].read_diff()
        parts = self._folded_parts()
        if parts is None:
            _put(dy, bottom[0].overwrite_diff(), self.parts)
            return
        dx = torch.empty(folded_shape(bottom[0].shape, self.diff_fold), device=dy.device)
        _put(dy, dx, parts)
        bottom[0].give_diff(dx, self.diff_fold)

    def _folded_parts(self) -> list[tuple[int, int, int]] | None:
        """The part within a folded bottom, if no two of its elements have one stand-in there."""
        if self.diff_fold is None:
            return None
        found = []
        for dim, first, count in self.parts:
            if dim >= 2 and count:
                axis = self.diff_fold.axes[dim - 2]
                last, first = axis.folded(first + count - 1), axis.folded(first)
                if last - first != count - 1:
                    return None
            found.append((dim, first, count))
        return found


def _part(whole: torch.Tensor, parts) -> torch.Tensor:
    """What is left of a tensor by `parts`: (axis, first element, number of elements) each."""
    for part in parts:
        whole = whole.narrow(*part)
    return whole


_SMALL = 2**20  # elements that a GPU zeroes in about the time of a launch


def _put(part: torch.Tensor, whole: torch.Tensor, parts) -> None:
    """Make `whole` zeros but for its part `parts`, which is `part`."""
    _part(whole if whole.numel() > _SMALL else whole.zero_(), parts).copy_(part)
    if whole.numel() <= _SMALL:
        return
    for dim, first, count in parts:  # around the part, of what is left each time
        for start, end in ((0, first), (first + count, whole.shape[dim])):
            if end > start:
                whole.narrow(dim, start, end - start).zero_()
        whole = whole.narrow(dim, first, count)


@register("Concat")
class Concat(Mover):
    num_bottom = (1, None)
    num_top = (1, 1)

    def reshape(self, bottom, top):
        self.axis = joined_axis(self, self.layer_param.concat_param, "concat_dim", bottom[0])
        first = bottom[0].shape
        for i, blob in enumerate(bottom):
            other = blob.shape
            if len(other) != len(first) or any(
                a != b for d, (a, b) in enumerate(zip(first, other)) if d != self.axis
            ):
                names = self.layer_param.bottom
                raise self.fail(
                    f"bottoms '{names[0]}' and '{names[i]}' must agree but for axis {self.axis}; "
                    f"their shapes are {first} and {other}"
                )
        total = sum(blob.shape[self.axis] for blob in bottom)
        top[0].reshape(*first[: self.axis], total, *first[self.axis + 1 :])

    def forward(self, bottom, top):
        torch.cat([blob.read() for blob in bottom], self.axis, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        dy, start = top[0].read_diff(), 0
        for blob, wanted in zip(bottom, propagate_down):
            size = blob.shape[self.axis]
            if wanted:
                blob.write_diff().copy_(dy.narrow(self.axis, start, size))
            start += size


@register("Slice")
class Slice(Mover):
    """Concat's inverse: cut at the `slice_point`s, or into equal parts where there are none."""

    num_bottom = (1, 1)
    num_top = (1, None)

    def reshape(self, bottom, top):
        param = self.layer_param.slice_param
        self.axis = joined_axis(self, param, "slice_dim", bottom[0])
        shape = bottom[0].shape
        size = shape[self.axis]
        if param.slice_point:
            if len(param.slice_point) != len(top) - 1:
                raise self.fail(f"has {len(param.slice_point)} slice_points for {len(top)} tops")
            cuts = [0, *param.slice_point, size]
        elif size % len(top):
            raise self.fail(f"{len(top)} tops do not divide {size} (axis {self.axis} of {shape})")
        else:
            cuts = [i * (size // len(top)) for i in range(len(top) + 1)]
        self.parts = [(a, b - a) for a, b in zip(cuts, cuts[1:])]
        if param.slice_point and any(length <= 0 for _, length in self.parts):
            raise self.fail(f"slice_points {cuts[1:-1]} must rise within 0 to {size}")
        for blob, (_, length) in zip(top, self.parts):
            blob.reshape(*shape[: self.axis], length, *shape[self.axis + 1 :])

    def forward(self, bottom, top):
        x = bottom[0].read()
        for blob, part in zip(top, self.parts):
            blob.write().copy_(x.narrow(self.axis, *part))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dx = bottom[0].write_diff()
            for blob, part in zip(top, self.parts):
                dx.narrow(self.axis, *part).copy_(blob.read_diff())


@register("Split")
class Split(Mover):
    """The bottom once more for each of its readers: one memory for data, a diff each."""

    num_bottom = (1, 1)
    num_top = (1, None)

    def setup(self, bottom, top):
        self.diff_fold = None

    def reshape(self, bottom, top):
        for blob in top:
            blob.reshape_like(bottom[0])
            blob.share_data(bottom[0])

    def _windows(self):
        return POINTWISE

    def forward(self, bottom, top):
        for blob in top:
            blob.share_data(bottom[0])
        self.diff_fold = bottom[0].fold if self._lean else None

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        # Crop's second bottom, for one, is given no diff.
        diffs = [diff_under(blob, self.diff_fold) for blob in top if not blob.diff_is_zero]
        if not diffs:
            bottom[0].write_diff().zero_()
            return
        dx = diffs[0].clone() if len(diffs) == 1 else torch.add(diffs[0], diffs[1])
        for diff in diffs[2:]:
            dx.add_(diff)
        bottom[0].give_diff(dx, self.diff_fold)


class _View(Mover):
    """A top that is the bottom under another shape: one memory for data, one for diff."""

    num_bottom = (1, 1)
    num_top = (1, 1)

    def new_shape(self, blob) -> tuple[int, ...]:
        raise NotImplementedError

    def reshape(self, bottom, top):
        if bottom[0] is top[0]:
            raise self.fail("cannot work in place; give the top a name of its own")
        top[0].reshape(*self.new_shape(bottom[0]))
        self._share(bottom, top)

    def forward(self, bottom, top):
        self._share(bottom, top)

    def _share(self, bottom, top):
        top[0].share_data(bottom[0])
        top[0].share_diff(bottom[0])


@register("Flatten")
class Flatten(_View):
    """Axes `axis` to `end_axis` (included) become one; where `end_axis` is the one before `axis`,
    an axis of size 1 comes between them."""

    def new_shape(self, blob):
        param = self.layer_param.flatten_param
        first = self.canonical_axis(param.axis, blob)
        last = self.canonical_axis(param.end_axis, blob)
        if last < first - 1:
            raise self.fail(f"end_axis {param.end_axis} lies before axis {param.axis}")
        shape = blob.shape
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


@register("Reshape")
class Reshape(_View):
    """Axes `axis` to `axis + num_axes` get the shape `shape`: 0 keeps the bottom's size there,
    and one -1 takes what remains. A negative `axis` counts from behind the last axis."""

    def new_shape(self, blob):
        param = self.layer_param.reshape_param
        old, wanted = blob.shape, list(param.shape.dim)
        start = param.axis if param.axis >= 0 else len(old) + param.axis + 1
        stop = len(old) if param.num_axes == -1 else start + param.num_axes
        if not 0 <= start <= stop <= len(old):
            raise self.fail(
                f"axis {param.axis} and num_axes {param.num_axes} do not fit the shape {old}"
            )
        if wanted.count(-1) > 1 or any(dim < -1 for dim in wanted):
            raise self.fail(f"shape {wanted} may hold sizes, 0, and one -1")
        for i, dim in enumerate(wanted):
            if dim == 0:
                if start + i >= len(old):
                    raise self.fail(f"shape {wanted} keeps an axis that {old} does not have")
                wanted[i] = old[start + i]
        if -1 in wanted:
            rest = math.prod(old[:start]) * math.prod(old[stop:])
            rest *= math.prod(dim for dim in wanted if dim != -1)
            if not rest or blob.count % rest:
                raise self.fail(f"no size in place of -1 in {wanted} makes it hold {old}")
            wanted[wanted.index(-1)] = blob.count // rest
        shape = (*old[:start], *wanted, *old[stop:])
        if math.prod(shape) != blob.count:
            raise self.fail(f"the shape {shape} does not hold the bottom's {old}")
        return shape


@register("Silence")
class Silence(Layer):
    """Takes blobs that nobody reads, so that they are not the net's outputs."""

    num_bottom = (1, None)
    num_top = (0, 0)

    def backward(self, top, propagate_down, bottom):
        for blob, wanted in zip(bottom, propagate_down):
            if wanted:
                blob.write_diff().zero_()
