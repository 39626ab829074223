"""Convolution and Deconvolution over any number of spatial axes."""

from __future__ import annotations

import torch
from torch.nn.functional import pad as pad_tensor

from ..compute.convolve import Geometry
from ..compute.convolve_axes import convolve, gradients
from ..compute.folding import Window
from ..core.layer import Layer, Reads
from . import register
from ._common import add_gradient, add_params, adds_to, require_same_shape
from ._windowed import Windowed

_AXES = ("h", "w")


def spatial(layer: Layer, field: str, n: int, default: int | None = None) -> list[int]:
    """A ConvolutionParameter's `field` for `n` spatial axes: given once for all of them, once
    for each, or (two axes only) as its `_h` and `_w` forms."""
    param = layer.layer_param.convolution_param
    stem = field.removesuffix("_size")
    values = list(getattr(param, field))
    if field != "dilation" and any(param.HasField(f"{stem}_{a}") for a in _AXES):
        if values:
            raise layer.fail(f"give either {field} or {stem}_h and {stem}_w, not both")
        if n != 2:
            raise layer.fail(f"{stem}_h and {stem}_w are for 2 spatial axes; there are {n}")
        if field != "pad" and not all(param.HasField(f"{stem}_{a}") for a in _AXES):
            raise layer.fail(f"needs both {stem}_h and {stem}_w")
        values = [getattr(param, f"{stem}_{a}") for a in _AXES]
    if not values:
        if default is None and n:
            raise layer.fail(f"needs a {field}")
        values = [default or 0]
    if len(values) not in (1, n):
        raise layer.fail(f"has {len(values)} values of {field} for {n} spatial axes")
    if field in ("kernel_size", "stride") and n and min(values) < 1:
        raise layer.fail(f"{field} must be at least 1")
    return values * n if len(values) == 1 else values


def window_places(size: int, kernel: int, stride: int, pad: int, dilation: int) -> tuple[int, int]:
    """Of a window over one axis: how many places it has, 0 or less where it does not fit, and by
    how much the last one sticks out beyond the padded end.

    The quotient is cut off towards 0, as Caffe has it: where the kernel is longer than the padded
    axis by less than a stride, there is one place, and what sticks out reads zeros.
    """
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    return (room // stride if room >= 0 else -(-room // stride)) + 1, max(0, -room)


@register("Convolution")
class Convolution(Windowed):
    """Cross-correlation of each bottom with weights (outputs, inputs/group, k…), plus a bias for
    each output. All bottoms share the weights; each has its own top."""

    num_bottom = (1, None)
    num_top = (1, None)
    equal_bottoms_tops = True
    transposed = False

    def setup(self, bottom, top):
        param = self.layer_param.convolution_param
        self.axis = self.canonical_axis(param.axis, bottom[0])
        n = len(bottom[0].shape) - self.axis - 1
        self.kernel = spatial(self, "kernel_size", n)
        self.stride = spatial(self, "stride", n, 1)
        self.pad = spatial(self, "pad", n, 0)
        self.dilation = spatial(self, "dilation", n, 1)
        self.sized_for: tuple[int, ...] = ()
        self.channels, self.group = bottom[0].shape[self.axis], param.group
        self.outputs = param.num_output
        if self.outputs < 1:
            raise self.fail("needs a num_output of at least 1")
        for what, number in (("input channels", self.channels), ("num_output", self.outputs)):
            if self.group < 1 or number % self.group:
                raise self.fail(f"group {self.group} does not divide {number} ({what})")
        first, second = self.outputs, self.channels
        if self.transposed:
            first, second = second, first
        params = [("weight", (first, second // self.group, *self.kernel), param.weight_filler)]
        if param.bias_term:
            params.append(("bias", (self.outputs,), param.bias_filler))
        add_params(self, *params)

    def reshape(self, bottom, top):
        require_same_shape(self, bottom)
        shape = bottom[0].shape
        if shape != self.sized_for:
            self._size_for(shape)
        for blob in top:
            blob.reshape(*self.top_shape)

    def _size_for(self, shape: tuple[int, ...]) -> None:
        first = self.axis + 1
        if len(shape) != first + len(self.kernel) or shape[self.axis] != self.channels:
            raise self.fail(
                f"was set up for {self.channels} channels along axis {self.axis} and "
                f"{len(self.kernel)} spatial axes; the bottom's shape is {shape}"
            )
        places = [self.out_size(i, size) for i, size in enumerate(shape[first:])]
        sizes, beyond = [size for size, _ in places], [more for _, more in places]
        if any(size < 1 for size in sizes):
            raise self.fail(
                f"the bottom's shape {shape} is too small for kernel {self.kernel}, dilation "
                f"{self.dilation}, pad {self.pad}"
            )
        self.beyond = beyond if any(beyond) else None
        self.top_shape, self.sized_for = (*shape[: self.axis], self.outputs, *sizes), shape

    def out_size(self, i: int, size: int) -> tuple[int, int]:
        """The top's size along spatial axis `i`, and how many zeros its last window reads behind
        the padded bottom."""
        return window_places(size, self.kernel[i], self.stride[i], self.pad[i], self.dilation[i])

    def taps(self) -> tuple[torch.Tensor, int]:
        """The weights, and in how many groups they connect the channels."""
        return self.blobs[0].read(), self.group

    def geometry(self, pad, group) -> Geometry:
        no_output_padding = [0] * len(self.kernel)
        return Geometry(self.stride, pad, self.dilation, self.transposed, no_output_padding, group)

    @property
    def _backward_reads(self):  # type: ignore[override]
        return Reads.BOTTOMS if adds_to(self, 0) else Reads.NOTHING

    def _reads_as_stored(self):
        return True

    def _windows(self):
        if self.transposed or self.axis != 1 or len(self.kernel) != 2 or 0 in self.dilation:
            return None
        if self.beyond:
            return None
        extents = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel)]
        return tuple(Window(*numbers) for numbers in zip(extents, self.stride, self.pad))

    def _longer(self, x: torch.Tensor) -> torch.Tensor:
        """The bottom's values, with the zeros behind it that its last windows read."""
        if self.beyond is None:
            return x
        return pad_tensor(x, [amount for more in reversed(self.beyond) for amount in (0, more)])

    def compute(self, x, pad):
        weight, group = self.taps()
        bias = self.blobs[1].read() if len(self.blobs) > 1 else None
        return convolve(self._longer(x), weight, bias, self.geometry(pad, group))

    def gradient(self, dy, x, pad, wanted):
        weight, group = self.taps()
        wants = [wanted, adds_to(self, 0), adds_to(self, 1)]
        geometry = self.geometry(pad, group)
        dx, dweight, dbias = gradients(dy, self._longer(x), weight, geometry, wants)
        if wants[1]:
            add_gradient(self.blobs[0], dweight)
        if wants[2]:
            add_gradient(self.blobs[1], dbias)
        return dx if not wanted or self.beyond is None else dx[tuple(map(slice, x.shape))]

    def uninitialised(self, dy, shape):
        return torch.empty(shape, device=dy.device)  # channels first, as the library wants them


@register("Deconvolution")
class Deconvolution(Convolution):
    """Convolution's backward pass as a forward pass ("transposed convolution", upsampling):
    weights (inputs, outputs/group, k…)."""

    transposed = True

    def taps(self):
        """As the weights are; channel by channel where each output has its own input alone and
        training does not change that (bilinear upsampling): as many times less work as there are
        channels."""
        weight = self.blobs[0].read()
        square = self.group == 1 and 1 < self.outputs == self.channels
        # A GPU would have to be waited for.
        if not square or adds_to(self, 0) or weight.device.type != "cpu":
            return weight, self.group
        own = weight.diagonal().movedim(-1, 0).unsqueeze(1)
        if torch.count_nonzero(weight) != torch.count_nonzero(own):
            return weight, self.group
        return own.contiguous(), self.outputs

    def out_size(self, i, size):
        extent = self.dilation[i] * (self.kernel[i] - 1) + 1
        return self.stride[i] * (size - 1) + extent - 2 * self.pad[i], 0
