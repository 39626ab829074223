"""Accuracy and ArgMax."""

from __future__ import annotations

import torch

from ..core.layer import Layer
from . import register
from ._common import outer_inner
from ._labels import class_numbers, require_label_per_score


@register("Accuracy")
class Accuracy(Layer):
    """The share of labels whose score is among the `top_k` best; a second top has it for each
    class. A class that scores the same as the label's counts as better."""

    num_bottom = (2, 2)
    num_top = (1, 2)

    def reshape(self, bottom, top):
        param = self.layer_param.accuracy_param
        self.axis = self.canonical_axis(param.axis, bottom[0])
        self.classes = bottom[0].shape[self.axis]
        if param.top_k > self.classes:
            raise self.fail(f"top_k {param.top_k} is more than the {self.classes} classes")
        require_label_per_score(self, bottom[0], bottom[1], self.axis)
        self.outer, self.inner = outer_inner(bottom[0].shape, self.axis)
        top[0].reshape()
        if len(top) > 1:
            top[1].reshape(self.classes)

    def forward(self, bottom, top):
        param = self.layer_param.accuracy_param
        ignore = param.ignore_label if param.HasField("ignore_label") else None
        shape = (self.outer, 1, self.inner)
        index, valid, wrong = class_numbers(self, bottom[1], shape, self.classes, ignore)
        scores = bottom[0].read().view(self.outer, self.classes, self.inner)
        # The label's own class is among those counted.
        better = (scores >= scores.gather(1, index)).sum(1, keepdim=True)
        right = better <= param.top_k
        counted = torch.ones_like(right) if valid is None else valid
        right = right & counted
        share = right.sum() / counted.sum().clamp(min=1)
        if wrong is not None:
            share = share.masked_fill_(wrong, float("nan"))
        top[0].write().copy_(share)
        if len(top) > 1:
            hits, labels = torch.zeros(2, self.classes, device=scores.device)
            hits.scatter_add_(0, index.flatten(), right.flatten().float())
            labels.scatter_add_(0, index.flatten(), counted.flatten().float())
            shares = hits / labels.clamp_(min=1)
            if wrong is not None:
                shares.masked_fill_(wrong, float("nan"))
            top[1].write().copy_(shares)

    def backward(self, top, propagate_down, bottom):
        if any(propagate_down):
            raise self.fail("has no gradient")


@register("ArgMax")
class ArgMax(Layer):
    """The `top_k` largest along `axis`, as indices, or with `out_max_val` their values; without
    `axis`, over all of an image, as (N, 1, top_k) indices, or (N, 2, top_k) indices and values.
    Of equal elements the one with the highest index comes first."""

    num_bottom = (1, 1)
    num_top = (1, 1)

    def reshape(self, bottom, top):
        param = self.layer_param.argmax_param
        shape = list(bottom[0].shape)
        self.axis = self.canonical_axis(param.axis, bottom[0]) if param.HasField("axis") else None
        if self.axis is None:
            total, new = bottom[0].count // max(shape[0], 1), [1] * max(len(shape), 3)
            new[0], new[1], new[2] = shape[0], 2 if param.out_max_val else 1, param.top_k
        else:
            total, new = shape[self.axis], shape
            new[self.axis] = param.top_k
        if not 1 <= param.top_k <= total:
            raise self.fail(f"top_k {param.top_k} is not within 1 to {total}")
        top[0].reshape(*new)

    def forward(self, bottom, top):
        param = self.layer_param.argmax_param
        x, y = bottom[0].read(), top[0].write()
        if self.axis is not None:
            values, index = self._largest(x, self.axis)
            y.copy_(values if param.out_max_val else index)
            return
        values, index = self._largest(x.flatten(1), 1)
        rows = y.view(x.shape[0], -1, param.top_k)
        rows[:, 0].copy_(index)
        if param.out_max_val:
            rows[:, 1].copy_(values)

    def _largest(self, x: torch.Tensor, axis: int):
        flipped = torch.sort(x.flip(axis), dim=axis, descending=True, stable=True)
        values, index = (t.narrow(axis, 0, self.layer_param.argmax_param.top_k) for t in flipped)
        return values, x.shape[axis] - 1 - index

    def backward(self, top, propagate_down, bottom):
        if any(propagate_down):
            raise self.fail("has no gradient")
