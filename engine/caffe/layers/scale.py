"""Scale and Bias: multiply by, or add, a smaller blob that is spread over the bottom's axes.

The smaller blob is a parameter, or the second bottom where there is one; its axes are the
bottom's from `axis` on.
"""

from __future__ import annotations

import math

import torch

from ..compute.folding import POINTWISE, Fold
from ..core.layer import Layer, Reads
from ..core.under_fold import data_under, diff_under
from ..proto import caffe_pb2
from . import register
from ._common import Scratch, add_params, adds_to, same_memory


class _Spread(Layer):
    """What Scale and Bias share: where the smaller blob lies along the bottom's axes."""

    num_bottom = (1, 2)
    num_top = (1, 1)
    _can_run_again = True
    what = ""

    @property
    def param(self):
        return getattr(self.layer_param, f"{self.what}_param")

    def param_shape(self, bottom) -> tuple[int, ...]:
        axis, count = self.canonical_axis(self.param.axis, bottom[0]), self.param.num_axes
        shape = bottom[0].shape
        if count < -1 or (count >= 0 and axis + count > len(shape)):
            raise self.fail(f"num_axes {count} at axis {axis} do not fit the shape {shape}")
        return shape[axis:] if count == -1 else shape[axis : axis + count]

    def small(self, bottom):
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def reshape(self, bottom, top):
        shape, small = bottom[0].shape, self.small(bottom).shape
        axis = self.canonical_axis(self.param.axis, bottom[0]) if small else 0
        if shape[axis : axis + len(small)] != small:
            raise self.fail(f"a {self.what} of shape {small} does not fit {shape} at axis {axis}")
        top[0].reshape_like(bottom[0])
        after = len(shape) - axis - len(small)
        self.spread = small + (1,) * after
        # The bottom as (outer, the smaller blob's count, the rest), to sum over the two others.
        self.outer, self.middle = math.prod(shape[:axis]), math.prod(small)

    def sum_to_small(self, dy: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        rest = dy.numel() // max(1, self.outer * self.middle)
        return dy.reshape(self.outer, self.middle, rest).sum((0, 2)).view(like.shape)


@register("Bias")
class Bias(_Spread):
    what = "bias"

    def setup(self, bottom, top):
        if len(bottom) == 1:
            add_params(self, ("bias", self.param_shape(bottom), self.param.filler))

    def forward(self, bottom, top):
        small = self.small(bottom).read().view(self.spread)
        torch.add(bottom[0].read(), small, out=top[0].write())

    def backward(self, top, propagate_down, bottom):
        dy = top[0].read_diff()
        if len(bottom) > 1:
            if propagate_down[1]:
                dsmall = bottom[1].write_diff()
                dsmall.copy_(self.sum_to_small(dy, dsmall))
        elif adds_to(self, 0):
            dsmall = self.blobs[0].write_diff()
            dsmall.add_(self.sum_to_small(dy, dsmall))
        if propagate_down[0] and not same_memory(bottom[0], top[0]):
            bottom[0].write_diff().copy_(dy)


@register("Scale")
class Scale(_Spread):
    """The parameters are the scale (unless it is a bottom) and, with bias_term, a bias of its
    shape."""

    what = "scale"

    def setup(self, bottom, top):
        param, params = self.param, []
        if len(bottom) == 1:
            filler = param.filler
            if not param.HasField("filler"):
                filler = caffe_pb2.FillerParameter(type="constant", value=1)
            params.append(("scale", self.param_shape(bottom), filler))
        if param.bias_term:
            shape = bottom[1].shape if len(bottom) > 1 else params[0][1]
            params.append(("bias", shape, param.bias_filler))
        self.bias_index = len(params) - 1 if param.bias_term else None
        add_params(self, *params)
        self.scaled_by_bottom = len(bottom) > 1
        self.copy = Scratch()
        """Of the bottom, where that is overwritten and backward reads it."""
        self.diff_fold: Fold | None = None
        """What the diffs are folded under."""

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        small = self.small(bottom).shape
        # Rows and columns are all treated alike.
        spatial = len(self.spread) > 2 and self.spread[-2:] == (1, 1)
        in_place = same_memory(bottom[0], top[0])
        self.by_channel = spatial and not self.scaled_by_bottom and not in_place
        if self.bias_index is not None and self.blobs[self.bias_index].shape != small:
            bias = self.blobs[self.bias_index].shape
            raise self.fail(f"the scale's shape {small} is no longer the bias's, {bias}")

    def _wants_scale_diff(self, propagate_down, bottom) -> bool:
        return bool(propagate_down[1]) if self.scaled_by_bottom else adds_to(self, 0)

    @property
    def _backward_reads(self):  # type: ignore[override]
        return Reads.BOTTOMS if self.scaled_by_bottom or adds_to(self, 0) else Reads.NOTHING

    def _reads_as_stored(self):
        return True

    def _windows(self):
        return POINTWISE if self.by_channel else None

    def forward(self, bottom, top):
        small = self.small(bottom).read().view(self.spread)
        bias = None
        if self.bias_index is not None:
            bias = self.blobs[self.bias_index].read().view(self.spread)
        if same_memory(bottom[0], top[0]):
            self.diff_fold = None
            self._overwrite(bottom[0], small, bias)
            return
        x, fold = bottom[0].stored() if self.by_channel else (data_under(bottom[0], None), None)
        top[0].give(x * small if bias is None else torch.addcmul(bias, x, small), fold)
        self.diff_fold = fold if self._lean else None

    def _overwrite(self, blob, small: torch.Tensor, bias: torch.Tensor | None) -> None:
        blob.read()  # InputError where a lean net has given it back
        x = blob.write()
        if Reads.BOTTOM in self._backward_reads:
            self.copy(x.shape, x.device).copy_(x)
        x.mul_(small)
        if bias is not None:
            x.add_(bias)

    def backward(self, top, propagate_down, bottom):
        dy = diff_under(top[0], self.diff_fold)
        if self.bias_index is not None and adds_to(self, self.bias_index):
            dbias = self.blobs[self.bias_index].write_diff()
            dbias.add_(self.sum_to_small(dy, dbias))
        if self._wants_scale_diff(propagate_down, bottom):
            in_place = same_memory(bottom[0], top[0])
            x = self.copy.tensor if in_place else data_under(bottom[0], self.diff_fold)
            dsmall = self.small(bottom).write_diff()
            found = self.sum_to_small(dy * x, dsmall)
            if self.scaled_by_bottom:
                dsmall.copy_(found)
            else:
                dsmall.add_(found)
        if propagate_down[0]:
            small = self.small(bottom).read().view(self.spread)
            bottom[0].give_diff(dy * small, self.diff_fold)
