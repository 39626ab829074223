"""Layers that pick or repeat rows: BatchReindex, Embed, Filter, Tile."""

from __future__ import annotations

import numpy as np
import torch

from ..compute import transfers
from ..core.blob import Blob
from ..core.layer import Layer
from . import register
from ._common import add_params, adds_to, outer_inner, require_own_top


def row_numbers(layer: Layer, which: int, blob: Blob, rows: int):
    """Bottom `which`, a blob of row numbers, as (index, outside): int64, flat, cut off to whole
    numbers, within 0 to rows - 1; and which were out of that range (None: none was).

    Raises InputError on the CPU for numbers out of range. A GPU is not asked, which would stall
    it at each pass: what is read through such a number becomes NaN there, and so does what its
    gradient is added to.
    """
    given = blob.read().view(-1)
    inside = (given >= 0) & (given < rows)
    if given.device.type != "cpu":
        return given.long().clamp_(0, max(rows - 1, 0)), ~inside
    if not inside.all():
        found = sorted(set(given[~inside].tolist()))
        shown = ", ".join(f"{number:g}" for number in found[:5]) + (", …" if found[5:] else "")
        raise layer.fail(
            f"{shown} in '{layer.layer_param.bottom[which]}' is not one of the {rows} rows "
            f"0 to {rows - 1}"
        )
    return given.long(), None


def read_rows(table: torch.Tensor, index: torch.Tensor, outside, out: torch.Tensor) -> None:
    """out[i] = table[index[i]], NaN where `outside`."""
    torch.index_select(table, 0, index, out=out)
    if outside is not None:
        out.masked_fill_(outside.view(-1, *[1] * (out.dim() - 1)), float("nan"))


def add_rows(table: torch.Tensor, index: torch.Tensor, outside, rows: torch.Tensor) -> None:
    """table[index[i]] += rows[i], NaN where `outside`: the gradient of `read_rows`."""
    if outside is not None:
        rows = rows.masked_fill(outside.view(-1, *[1] * (rows.dim() - 1)), float("nan"))
    table.index_add_(0, index, rows)


@register("BatchReindex")
class BatchReindex(Layer):
    """The first bottom's rows in the order that the second bottom, one axis of row numbers,
    gives; rows may come again, or not at all."""

    num_bottom = (2, 2)
    num_top = (1, 1)

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        self.canonical_axis(0, bottom[0])
        if len(bottom[1].shape) != 1:
            raise self.fail(
                f"'{self.layer_param.bottom[1]}' holds row numbers along one axis; its shape is "
                f"{bottom[1].shape}"
            )
        if bottom[1].count and not bottom[0].shape[0]:
            raise self.fail(f"'{self.layer_param.bottom[0]}' has no rows to choose from")
        top[0].reshape(bottom[1].count, *bottom[0].shape[1:])

    def forward(self, bottom, top):
        index, outside = row_numbers(self, 1, bottom[1], bottom[0].shape[0])
        read_rows(bottom[0].read(), index, outside, top[0].write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[1]:
            raise self.fail("cannot backpropagate to its row numbers; do without force_backward")
        if propagate_down[0]:
            index, outside = row_numbers(self, 1, bottom[1], bottom[0].shape[0])
            add_rows(bottom[0].write_diff().zero_(), index, outside, top[0].read_diff())


@register("Embed")
class Embed(Layer):
    """For each number k of the bottom, row k of the weights (input_dim, num_output), plus a
    bias: an InnerProduct of one-hot vectors. The top has one axis more, of num_output."""

    num_bottom = (1, 1)
    num_top = (1, 1)

    def setup(self, bottom, top):
        param = self.layer_param.embed_param
        self.outputs, self.inputs = param.num_output, param.input_dim
        for field in ("num_output", "input_dim"):
            if getattr(param, field) < 1:
                raise self.fail(f"needs {field} of at least 1")
        params: list[tuple] = [("weight", (self.inputs, self.outputs), param.weight_filler)]
        if param.bias_term:
            params.append(("bias", (self.outputs,), param.bias_filler))
        add_params(self, *params)

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        top[0].reshape(*bottom[0].shape, self.outputs)

    def forward(self, bottom, top):
        index, outside = row_numbers(self, 0, bottom[0], self.inputs)
        y = top[0].write().view(-1, self.outputs)
        read_rows(self.blobs[0].read(), index, outside, y)
        if len(self.blobs) > 1:
            y.add_(self.blobs[1].read())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            raise self.fail("cannot backpropagate to its numbers; do without force_backward")
        dy = top[0].read_diff().view(-1, self.outputs)
        if adds_to(self, 0):
            index, outside = row_numbers(self, 0, bottom[0], self.inputs)
            add_rows(self.blobs[0].write_diff(), index, outside, dy)
        if adds_to(self, 1):
            self.blobs[1].write_diff().add_(dy.sum(0))


@register("Filter")
class Filter(Layer):
    """Of all bottoms but the last, the rows at which the last one, the selector (N, or N and
    axes of 1), is not 0.

    How many those are is the tops' first axis, so the selector is looked at on the host: where a
    layer made it on a GPU, each pass waits for that layer. Until the first pass the tops have as
    many rows as the bottoms.
    """

    num_bottom = (2, None)
    num_top = (1, None)

    def setup(self, bottom, top):
        if len(top) != len(bottom) - 1:
            raise self.fail(
                f"takes a selector and one bottom for each top, not {len(bottom)} bottoms for "
                f"{len(top)} tops"
            )
        self.first = True

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        names, selector = self.layer_param.bottom, bottom[-1]
        self.canonical_axis(0, selector)
        if any(size != 1 for size in selector.shape[1:]):
            raise self.fail(
                f"the selector '{names[-1]}' has one number a row; its shape is {selector.shape}"
            )
        for name, blob in zip(names, bottom):
            if blob.shape[:1] != selector.shape[:1]:
                raise self.fail(
                    f"'{name}' and the selector '{names[-1]}' must have the same first axis; "
                    f"their shapes are {blob.shape} and {selector.shape}"
                )
        self.chosen = np.flatnonzero(selector.peek()).tolist()
        rows = selector.shape[0] if self.first else len(self.chosen)
        self.first = False
        for blob, made in zip(bottom, top):
            made.reshape(rows, *blob.shape[1:])

    def _index(self, device) -> torch.Tensor:
        return transfers.on_device(torch.tensor(self.chosen, dtype=torch.int64), device)

    def forward(self, bottom, top):
        for blob, made in zip(bottom, top):
            x = blob.read()
            torch.index_select(x, 0, self._index(x.device), out=made.write())

    def backward(self, top, propagate_down, bottom):
        if propagate_down[-1]:
            raise self.fail("cannot backpropagate to its selector; do without force_backward")
        for blob, made, wanted in zip(bottom, top, propagate_down):
            if wanted:
                dx = blob.write_diff().zero_()
                dx.index_copy_(0, self._index(dx.device), made.read_diff())


@register("Tile")
class Tile(Layer):
    """The bottom `tiles` times, one behind the other along `axis`."""

    num_bottom = (1, 1)
    num_top = (1, 1)

    def setup(self, bottom, top):
        if self.layer_param.tile_param.tiles < 1:
            raise self.fail("needs tiles of at least 1")

    def reshape(self, bottom, top):
        require_own_top(self, bottom, top)
        param, shape = self.layer_param.tile_param, bottom[0].shape
        axis = self.canonical_axis(param.axis, bottom[0])
        outer, inner = outer_inner(shape, axis)
        self.folded = outer, param.tiles, shape[axis] * inner
        top[0].reshape(*shape[:axis], shape[axis] * param.tiles, *shape[axis + 1 :])

    def forward(self, bottom, top):
        outer, _, inner = self.folded
        top[0].write().view(self.folded).copy_(bottom[0].read().view(outer, 1, inner))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            outer, _, inner = self.folded
            dx = bottom[0].write_diff().view(outer, inner)
            torch.sum(top[0].read_diff().view(self.folded), 1, out=dx)
