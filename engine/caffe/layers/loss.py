"""Losses: SoftmaxWithLoss and EuclideanLoss."""

from __future__ import annotations

import torch

from ..core.blob import Blob
from ..core.layer import Layer, Reads
from . import register
from ._common import Scratch, outer_inner, require_same_shape
from ._labels import class_numbers, require_label_per_score

_aten = torch.ops.aten
_SMALLEST = torch.finfo(torch.float32).tiny


class Loss(Layer):
    num_bottom = (2, 2)
    num_top = (1, 1)
    is_loss = True
    auto_tops = True
    takes_loss_param = False
    """Whether it heeds `loss_param` (which labels to ignore, what to divide by)."""

    def __init__(self, layer_param, phase: int):
        super().__init__(layer_param, phase)
        if not self.takes_loss_param and layer_param.loss_param.ListFields():
            self.warn("loss_param has no effect on this type of loss")

    def reshape(self, bottom, top):
        top[0].reshape()
        if bottom[0].shape[:1] != bottom[1].shape[:1]:
            names = self.layer_param.bottom
            raise self.fail(
                f"'{names[0]}' and '{names[1]}' must have the same first axis; their shapes "
                f"are {bottom[0].shape} and {bottom[1].shape}"
            )


def divisor(normalization: str, full: int, batch: int, valid):
    """What a sum over labels is divided by, as `loss_param.normalization` says: a number, or a
    0-d tensor where it counts the valid labels (None: all are)."""
    if normalization == "VALID" and valid is not None:
        return valid.sum().clamp_(min=1).float()
    return max({"BATCH_SIZE": batch, "NONE": 1}.get(normalization, full), 1)


def nan_where(wrong, number: torch.Tensor) -> torch.Tensor:
    """`number`, a loss or what its gradient is multiplied by, or NaN where a label was `wrong`:
    asking a GPU whether to raise would stall it at each pass, and a finite gradient would be
    learned from."""
    return number if wrong is None else number.masked_fill(wrong, float("nan"))


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(Loss):
    """Multinomial logistic loss -log p[label] of the softmax p of the scores, summed over all
    labels but `ignore_label` and divided by what `loss_param.normalization` says:

    FULL: the number of labels; VALID (default): of those that are not ignored; BATCH_SIZE: the
    sizes of the axes before the class axis; NONE: 1. Where only the older `normalize` is given,
    true means VALID and false BATCH_SIZE.
    """

    num_top = (1, 2)
    allow_force_backward: tuple[bool, ...] = (True, False)
    takes_loss_param = True
    _keeps_tops = True
    _backward_reads = Reads.FURTHER  # and the probabilities, which are its own

    def setup(self, bottom, top):
        param = self.layer_param.loss_param
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.normalization = param.NormalizationMode.Name(param.normalization)
        if not param.HasField("normalization") and param.HasField("normalize"):
            self.normalization = "VALID" if param.normalize else "BATCH_SIZE"
        self.prob = Blob()

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.axis = self.canonical_axis(self.layer_param.softmax_param.axis, bottom[0])
        require_label_per_score(self, bottom[0], bottom[1], self.axis)
        self.prob.reshape_like(bottom[0])
        self.outer, self.inner = outer_inner(bottom[0].shape, self.axis)
        self.classes = bottom[0].shape[self.axis]
        if len(top) > 1:
            top[1].reshape_like(bottom[0])
            top[1].share_data(self.prob)

    def _labels(self, bottom):
        shape = (self.outer, 1, self.inner)
        return class_numbers(self, bottom[1], shape, self.classes, self.ignore)

    def _normalizer(self, valid):
        return divisor(self.normalization, self.outer * self.inner, self.outer, valid)

    def forward(self, bottom, top):
        p = self.prob.overwrite()
        _aten._softmax.out(bottom[0].read(), self.axis, False, out=p)
        index, valid, wrong = self._labels(bottom)
        folded = p.view(self.outer, self.classes, self.inner)
        losses = folded.gather(1, index).clamp_(min=_SMALLEST).log_()
        if valid is not None:
            losses.mul_(valid)
        loss = losses.sum().neg_() / self._normalizer(valid)
        top[0].write().copy_(nan_where(wrong, loss))
        if len(top) > 1:
            top[1].share_data(self.prob)

    def backward(self, top, propagate_down, bottom):
        """(p - 1[label]) · loss weight / normalizer; 0 where the label is ignored."""
        if len(propagate_down) > 1 and propagate_down[1]:
            raise self.fail("cannot backpropagate to its labels")
        if not propagate_down[0]:
            return
        index, valid, wrong = self._labels(bottom)
        scale = nan_where(wrong, top[0].read_diff() / self._normalizer(valid))
        scale = scale.expand(index.shape) if valid is None else valid * scale
        folded = (self.outer, self.classes, self.inner)
        p = self.prob.read()
        if self._lean and len(top) == 1:  # nobody sees the probabilities: they become the gradient
            p.view(folded).mul_(scale).scatter_add_(1, index, scale.neg())
            bottom[0].give_diff(p)  # whole: who looks at the diff has it copied at once
            self.prob.release()
            return
        dx = torch.mul(p.view(folded), scale, out=bottom[0].write_diff().view(folded))
        dx.scatter_add_(1, index, scale.neg())


@register("EuclideanLoss")
class EuclideanLoss(Loss):
    """Σ (a - b)² / 2N, with N the size of the first axis."""

    def setup(self, bottom, top):
        self.difference = Scratch()

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        if bottom[0].count != bottom[1].count:
            require_same_shape(self, bottom)

    def forward(self, bottom, top):
        a = bottom[0].read()
        b = bottom[1].read().view(a.shape)
        difference = torch.sub(a, b, out=self.difference(a.shape, a.device)).view(-1)
        top[0].write().copy_(difference.dot(difference) / (2 * bottom[0].num))

    def backward(self, top, propagate_down, bottom):
        scale = top[0].read_diff() / bottom[0].num
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1)):
            if wanted:
                dx = blob.write_diff()
                torch.mul(self.difference.tensor.view(dx.shape), scale * sign, out=dx)
