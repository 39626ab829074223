"""Bilinear upsampling as the weights of a Deconvolution layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from surgery.errors import SurgeryError


def upsample_filt(size: int) -> np.ndarray:
    """The bilinear kernel of a deconvolution: size x size, float64.

    With factor f = (size + 1) // 2 and centre c = f - 1 for an odd size, f - 0.5 for an even one,
    the weight at (i, j) is (1 - |i - c| / f) (1 - |j - c| / f). A deconvolution of stride f with
    this kernel interpolates linearly between its inputs (Long, Shelhamer, Darrell 2015, 3.3).
    """
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    ramp = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(ramp, ramp)


def interp(net, layers: Iterable[str]) -> None:
    """Make each named layer of `net` upsample bilinearly, output channel c from input c only.

    The weights (C x C x K x K, or C x 1 x K x K in a deconvolution of C groups) are overwritten
    in place; whatever was off the diagonal becomes 0. Raises SurgeryError (a ValueError) where
    the numbers of input and output channels differ or the kernel is not square.
    """
    for name in layers:
        if name not in net.params:
            raise SurgeryError(f"layer {name}: the net has no layer of this name with weights")
        weights = net.params[name][0].data
        check_bilinear(name, weights.shape)
        kernel = upsample_filt(weights.shape[2])
        if weights.shape[1] == 1:
            weights[...] = kernel
            continue
        channels = np.arange(weights.shape[0])
        weights[...] = 0
        weights[channels, channels] = kernel


def check_bilinear(name: str, shape: Sequence[int]) -> None:
    """Raise SurgeryError unless weights of this shape can interpolate channel by channel."""
    words = "x".join(map(str, shape))
    if len(shape) != 4:
        raise SurgeryError(f"layer {name}: bilinear weights have 4 axes, these are {words}")
    inputs, outputs, height, width = shape
    if outputs not in (inputs, 1):
        raise SurgeryError(
            f"layer {name}: weights {words}: bilinear upsampling needs as many outputs as inputs "
            "(or one group per channel)"
        )
    if height != width:
        raise SurgeryError(f"layer {name}: weights {words}: a bilinear kernel must be square")
