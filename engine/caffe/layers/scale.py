"""Scale and Bias: multiply by, or add, a smaller blob that is spread over the bottom's axes.

The smaller blob is a parameter, or the second bottom where there is one; its axes are the
bottom's from `axis` on.
"""

from __future__ import annotations

import math

import torch

from ..compute.folding import POINTWISE
from ..core.layer import Layer
from ..proto import caffe_pb2
from . import register
from ._common import Scratch, add_params, adds_to, same_memory


class _Spread(Layer):
    """What Scale and Bias share: where the smaller blob lies along the bottom's axes."""

    num_bottom = (1, 2)
    num_top = (1, 1)
    _repeats = True
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

    _reads_folded = True
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
        self.kept, self.under = Scratch(), None

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        small = self.small(bottom).shape
        # Rows and columns are all treated alike.
        spatial = len(self.spread) > 2 and self.spread[-2:] == (1, 1)
        self.by_channel = spatial and len(bottom) == 1 and not same_memory(bottom[0], top[0])
        if self.bias_index is not None and self.blobs[self.bias_index].shape != small:
            bias = self.blobs[self.bias_index].shape
            raise self.fail(f"the scale's shape {small} is no longer the bias's, {bias}")

    def _wants_scale_diff(self, propagate_down, bottom) -> bool:
        return bool(propagate_down[1]) if len(bottom) > 1 else adds_to(self, 0)

    def _read_backward(self, bottom, top):
        return bottom if len(bottom) > 1 or adds_to(self, 0) else []

    def _windows(self):
        return POINTWISE if self.by_channel else None

    def forward(self, bottom, top):
        small = self.small(bottom).read().view(self.spread)
        bias = None
        if self.bias_index is not None:
            bias = self.blobs[self.bias_index].read().view(self.spread)
        if not same_memory(bottom[0], top[0]):
            x, fold = bottom[0].inner() if self.by_channel else (bottom[0].take(), None)
            top[0].give(x * small if bias is None else torch.addcmul(bias, x, small), fold)
            self.under = fold if self._lean else None
            return
        self.under = None
        bottom[0].read()  # InputError where a lean net has given it back
        x = bottom[0].write()
        if len(bottom) > 1 or adds_to(self, 0):  # the scale's gradient needs what is overwritten
            self.kept(x.shape, x.device).copy_(x)
        x.mul_(small)
        if bias is not None:
            x.add_(bias)

    def backward(self, top, propagate_down, bottom):
        in_place = same_memory(bottom[0], top[0])
        fold = self.under
        dy = top[0].take_diff(fold)
        if self.bias_index is not None and adds_to(self, self.bias_index):
            dbias = self.blobs[self.bias_index].write_diff()
            dbias.add_(self.sum_to_small(dy, dbias))
        if self._wants_scale_diff(propagate_down, bottom):
            x = self.kept.tensor if in_place else bottom[0].take(fold)
            dsmall = self.small(bottom).write_diff()
            found = self.sum_to_small(dy * x, dsmall)
            if len(bottom) > 1:
                dsmall.copy_(found)
            else:
                dsmall.add_(found)
        if propagate_down[0]:
            bottom[0].give_diff(dy * self.small(bottom).read().view(self.spread), fold)
