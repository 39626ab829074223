"""Losses beside those of loss.py: ContrastiveLoss, HingeLoss, InfogainLoss,
MultinomialLogisticLoss, SigmoidCrossEntropyLoss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ..core.blob import Blob
from ..errors import InputError
from ..proto import kinds
from ..proto.encoding import Damaged, read_blob
from . import register
from ._common import Scratch, outer_inner
from ._labels import class_numbers, require_label_per_score
from .loss import Loss, divisor, nan_where

_aten = torch.ops.aten
_SMALLEST = 1e-20
"""Probabilities below it cost as much as it does."""


class _LabelledLoss(Loss):
    """A loss whose second bottom takes no gradient."""

    allow_force_backward: tuple[bool, ...] = (True, False)

    def reshape(self, bottom, top):
        if not bottom[0].shape:
            raise self.fail(f"'{self.layer_param.bottom[0]}' has no axes; the first must be N")
        super().reshape(bottom, top)

    def require_label_per_item(self, bottom) -> None:
        count, wanted = bottom[1].count, bottom[0].shape[0]
        if count != wanted:
            raise self.fail(
                f"'{self.layer_param.bottom[1]}' of shape {bottom[1].shape} holds {count} "
                f"labels; it needs one for each of {wanted} items"
            )

    def labels_of_items(self, bottom):
        """`class_numbers` of one label an item, of shape (N, 1), and the number of classes: all
        that an item has."""
        n = bottom[0].shape[0]
        classes = bottom[0].count // max(n, 1)
        index, _, wrong = class_numbers(self, bottom[1], (n, 1, 1), classes, None)
        return index.view(n, 1), classes, wrong

    def wants_gradient(self, propagate_down) -> bool:
        """Whether the first bottom does. Raises InputError where another one does."""
        if any(propagate_down[1:]):
            other = propagate_down.index(True, 1)
            what = {1: "labels", 2: "infogain matrix"}[other]
            raise self.fail(f"cannot backpropagate to its {what}")
        return propagate_down[0]


@register("ContrastiveLoss")
class ContrastiveLoss(_LabelledLoss):
    """1/2N Σ [ y d² + (1 - y) max(margin - d, 0)² ] over N pairs of vectors at the distance d,
    with y 1 (any whole part but 0) for those that are alike and 0 for the others.

    With `legacy_version` the others cost max(margin - d², 0).
    """

    num_bottom = (3, 3)
    allow_force_backward = (True, True, False)

    def setup(self, bottom, top):
        self.param = self.layer_param.contrastive_loss_param
        self.difference = Scratch()

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        names = self.layer_param.bottom
        a, b, alike = bottom
        if a.shape[1:2] != b.shape[1:2] or a.count != b.count:
            raise self.fail(
                f"'{names[0]}' and '{names[1]}' must have one shape; {a.shape} and {b.shape} differ"
            )
        for name, blob in zip(names, (a, b)):
            if math.prod(blob.shape[2:]) != 1:
                raise self.fail(f"'{name}' must be N x C (x 1 x 1); its shape is {blob.shape}")
        if alike.count != a.shape[0] or alike.shape[:1] != a.shape[:1]:
            raise self.fail(
                f"'{names[2]}' must hold one number for each of {a.shape[0]} pairs; its shape "
                f"is {alike.shape}"
            )

    def _distances(self, bottom):
        """Per pair: whether it is alike, and d² (both N x 1)."""
        difference = self.difference.tensor
        squared = difference.square().sum(1, keepdim=True)
        return bottom[2].read().view(-1, 1).trunc() != 0, squared

    def forward(self, bottom, top):
        n = bottom[0].shape[0]
        a = bottom[0].read().view(n, -1)
        torch.sub(a, bottom[1].read().view(n, -1), out=self.difference(a.shape, a.device))
        alike, squared = self._distances(bottom)
        if self.param.legacy_version:
            apart = (self.param.margin - squared).clamp_(min=0)
        else:
            apart = (self.param.margin - squared.sqrt()).clamp_(min=0).square_()
        top[0].write().copy_(torch.where(alike, squared, apart).sum() / (2 * n))

    def backward(self, top, propagate_down, bottom):
        if propagate_down[2]:
            raise self.fail("cannot backpropagate to what says which pairs are alike")
        if not any(propagate_down):
            return
        alike, squared = self._distances(bottom)
        if self.param.legacy_version:
            slope = (squared < self.param.margin).float().neg_()
        else:
            distance = squared.sqrt()
            # 1e-4 as in Caffe: equal vectors have no direction to be pushed in.
            slope = (distance - self.param.margin).clamp_(max=0).div_(distance + 1e-4)
        slope.masked_fill_(alike, 1).mul_(top[0].read_diff() / bottom[0].shape[0])
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1)):
            if wanted:
                dx = blob.write_diff().view(self.difference.tensor.shape)
                torch.mul(self.difference.tensor, slope * sign, out=dx)


@register("HingeLoss")
class HingeLoss(_LabelledLoss):
    """1/N Σ max(0, 1 - s x)^p over all scores x of N items, where s is 1 for the score of an
    item's label and -1 for its others, and p is 1 (`norm` L1) or 2 (L2)."""

    def setup(self, bottom, top):
        param = self.layer_param.hinge_loss_param
        self.squared = param.norm == param.L2
        self.short = Scratch()

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.require_label_per_item(bottom)

    def forward(self, bottom, top):
        index, classes, wrong = self.labels_of_items(bottom)
        n = bottom[0].shape[0]
        x = bottom[0].read().view(n, classes)
        short = self.short(x.shape, x.device).copy_(x)
        short.scatter_(1, index, x.gather(1, index).neg_()).add_(1).clamp_(min=0)
        total = short.square().sum() if self.squared else short.sum()
        top[0].write().copy_(nan_where(wrong, total / n))

    def backward(self, top, propagate_down, bottom):
        if not self.wants_gradient(propagate_down):
            return
        index, _, wrong = self.labels_of_items(bottom)
        short, dx = self.short.tensor, bottom[0].write_diff().view(self.short.tensor.shape)
        scale = nan_where(wrong, top[0].read_diff() / bottom[0].shape[0])
        if self.squared:
            torch.mul(short, scale * 2, out=dx)
        else:
            torch.mul(short.sign(), scale, out=dx)
        dx.scatter_(1, index, dx.gather(1, index).neg_())


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(_LabelledLoss):
    """-1/N Σ log p[label] over the probabilities p of N items."""

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.require_label_per_item(bottom)

    def _probabilities(self, bottom):
        index, classes, wrong = self.labels_of_items(bottom)
        p = bottom[0].read().view(-1, classes).gather(1, index).clamp_(min=_SMALLEST)
        return p, index, wrong

    def forward(self, bottom, top):
        p, _, wrong = self._probabilities(bottom)
        top[0].write().copy_(nan_where(wrong, p.log_().sum().neg_() / bottom[0].shape[0]))

    def backward(self, top, propagate_down, bottom):
        if not self.wants_gradient(propagate_down):
            return
        p, index, wrong = self._probabilities(bottom)
        dx = bottom[0].write_diff().zero_().view(p.shape[0], -1)
        scale = nan_where(wrong, top[0].read_diff() / -p.shape[0])
        dx.scatter_(1, index, p.reciprocal_().mul_(scale))


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(_LabelledLoss):
    """-Σ [ t log σ(x) + (1 - t) log(1 - σ(x)) ] over scores x and targets t (0 to 1), but for
    targets whose whole part is `ignore_label`; divided by what `loss_param.normalization` says:

    BATCH_SIZE (default): the first axis; FULL: all targets; VALID: those not ignored; NONE: 1.
    Where only the older `normalize` is given, true means VALID and false BATCH_SIZE.
    """

    takes_loss_param = True

    def setup(self, bottom, top):
        param = self.layer_param.loss_param
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.normalization = "BATCH_SIZE"
        if param.HasField("normalization"):
            self.normalization = param.NormalizationMode.Name(param.normalization)
        elif param.HasField("normalize") and param.normalize:
            self.normalization = "VALID"

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        if bottom[0].count != bottom[1].count:
            names = self.layer_param.bottom
            raise self.fail(
                f"'{names[0]}' and '{names[1]}' must hold as many numbers; their shapes are "
                f"{bottom[0].shape} and {bottom[1].shape}"
            )

    def _targets(self, bottom):
        """The targets in the scores' shape, and which of them count (None: all)."""
        targets = bottom[1].read().view(bottom[0].shape)
        return targets, None if self.ignore is None else targets.trunc() != self.ignore

    def _divisor(self, bottom, valid):
        return divisor(self.normalization, bottom[0].count, bottom[0].shape[0], valid)

    def forward(self, bottom, top):
        targets, valid = self._targets(bottom)
        x = bottom[0].read()
        losses = F.binary_cross_entropy_with_logits(x, targets, reduction="none")
        if valid is not None:
            losses.masked_fill_(~valid, 0)
        top[0].write().copy_(losses.sum() / self._divisor(bottom, valid))

    def backward(self, top, propagate_down, bottom):
        if not self.wants_gradient(propagate_down):
            return
        targets, valid = self._targets(bottom)
        dx = torch.sigmoid(bottom[0].read(), out=bottom[0].write_diff())
        dx.sub_(targets).mul_(top[0].read_diff() / self._divisor(bottom, valid))
        if valid is not None:
            dx.masked_fill_(~valid, 0)


@register("InfogainLoss")
class InfogainLoss(_LabelledLoss):
    """-Σ_k H[label, k] log p[k] of the softmax p of the scores along `axis`, summed over all
    labels but `ignore_label` and divided as SoftmaxWithLoss is (`loss_param.normalization`).

    The K x K matrix H is the third bottom or, without one, what the file `source` (a BlobProto,
    binary) holds. A second top is p.
    """

    num_bottom = (2, 3)
    num_top = (1, 2)
    allow_force_backward = (True, False, False)
    takes_loss_param = True
    _keeps_tops = True

    def setup(self, bottom, top):
        param = self.layer_param.loss_param
        if param.HasField("normalize"):
            raise self.fail("loss_param has normalize, which it does not know; use normalization")
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.normalization = param.NormalizationMode.Name(param.normalization)
        self.prob = Blob()
        if len(bottom) < 3:
            self.matrix = self._read_matrix(self.layer_param.infogain_loss_param)

    def _read_matrix(self, param) -> Blob:
        if not param.HasField("source"):
            raise self.fail("needs its matrix as a third bottom or in infogain_loss_param's source")
        try:
            buf, name = kinds.open_message(param.source, "a BlobProto", kinds.BLOB)
            try:
                values = read_blob(buf, 0, len(buf)).data
            except Damaged as err:
                raise InputError(f"{name}: the BlobProto is damaged: {err}") from None
        except InputError as err:
            raise self.fail(f"source: {err}") from err
        matrix = Blob(values.size)
        matrix.write().copy_(torch.from_numpy(values.reshape(-1).copy()))
        return matrix

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.axis = self.canonical_axis(self.layer_param.infogain_loss_param.axis, bottom[0])
        require_label_per_score(self, bottom[0], bottom[1], self.axis)
        self.outer, self.inner = outer_inner(bottom[0].shape, self.axis)
        self.classes = bottom[0].shape[self.axis]
        self.prob.reshape_like(bottom[0])
        if len(bottom) > 2:
            self.matrix = bottom[2]
        if self.matrix.count != self.classes**2:
            where = self.layer_param.infogain_loss_param.source
            where = self.layer_param.bottom[2] if len(bottom) > 2 else where
            raise self.fail(
                f"the matrix in '{where}' holds {self.matrix.count} numbers; {self.classes} "
                f"classes need {self.classes**2}"
            )
        if len(top) > 1:
            top[1].reshape_like(bottom[0])
            top[1].share_data(self.prob)

    def _rows(self, bottom):
        """H's row of each label (outer, classes, inner), which labels count, which are wrong, and
        H's row sums (outer, 1, inner)."""
        shape = (self.outer, 1, self.inner)
        index, valid, wrong = class_numbers(self, bottom[1], shape, self.classes, self.ignore)
        matrix = self.matrix.read().view(self.classes, self.classes)
        rows = matrix.index_select(0, index.flatten())
        rows = rows.view(self.outer, self.inner, self.classes).transpose(1, 2)
        return rows, valid, wrong, matrix.sum(1)[index]

    def _divisor(self, valid):
        return divisor(self.normalization, self.outer * self.inner, self.outer, valid)

    def forward(self, bottom, top):
        p = self.prob.write()
        _aten._softmax.out(bottom[0].read(), self.axis, False, out=p)
        rows, valid, wrong, _ = self._rows(bottom)
        p = p.view(self.outer, self.classes, self.inner)
        losses = p.clamp(min=_SMALLEST).log_().mul_(rows).sum(1, keepdim=True)
        if valid is not None:
            losses.masked_fill_(~valid, 0)
        top[0].write().copy_(nan_where(wrong, losses.sum().neg_() / self._divisor(valid)))
        if len(top) > 1:
            top[1].share_data(self.prob)

    def backward(self, top, propagate_down, bottom):
        """(p Σ_k H[label, k] - H[label]) · loss weight / divisor; 0 where the label is ignored."""
        if not self.wants_gradient(propagate_down):
            return
        rows, valid, wrong, sums = self._rows(bottom)
        folded = (self.outer, self.classes, self.inner)
        dx = bottom[0].write_diff().view(folded)
        torch.mul(self.prob.read().view(folded), sums, out=dx)
        dx.sub_(rows).mul_(nan_where(wrong, top[0].read_diff() / self._divisor(valid)))
        if valid is not None:
            dx.masked_fill_(~valid, 0)
