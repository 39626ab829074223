"""VGG's fc6 (4096 x 512 x 7 x 7) as a smaller, dilated kernel.

A 3x3 kernel of dilation 3 covers the same 7x7 footprint, and there are two ways to fill it:

decimate  what lies at rows and columns 0, 3, 6, so that every tap stays where it was trained.
flat      the first numbers of the array in memory order, which is what NumPy does when a larger
          array is assigned to a smaller `.flat`. It mixes up taps and channels. The published
          nets were made so; it is here to reproduce their training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from surgery.errors import SurgeryError
from surgery.weights import by_x


def decimate(weights: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The evenly spaced taps of a K x K kernel that a k x k kernel of dilation (K-1)/(k-1) reads.

    weights: outputs x inputs x K x K, or the same numbers as outputs x (inputs K K); shape:
    outputs x inputs x k x k. Returns an array of that shape. Raises SurgeryError where outputs or
    inputs differ, or where (K-1) is no multiple of (k-1).
    """
    outputs, inputs, height, width = shape
    size = math.isqrt(weights.size // (outputs * inputs))
    if size * size * outputs * inputs != weights.size or weights.shape[0] != outputs:
        raise _misfit(weights, shape, "both need the same numbers of outputs and inputs")
    kernel = weights.reshape(outputs, inputs, size, size)
    return kernel[:, :, taps(weights, shape, size, height)][..., taps(weights, shape, size, width)]


def taps(weights: np.ndarray, shape: Sequence[int], size: int, kept: int) -> slice:
    """The slice of `size` rows of which `kept` stay, evenly spaced, first and last included."""
    if kept > size or (kept > 1 and (size - 1) % (kept - 1)):
        raise _misfit(weights, shape, f"{kept} evenly spaced taps cannot be taken out of {size}")
    if kept == 1:
        return slice(size // 2, size // 2 + 1)
    return slice(0, size, (size - 1) // (kept - 1))


def flat(weights: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The first numbers of `weights` in memory order, as an array of this shape."""
    count = int(np.prod(shape))
    if weights.size < count:
        raise _misfit(weights, shape, "the source has fewer weights than the net needs")
    return weights.reshape(-1)[:count].reshape(shape)


MODES = {"decimate": decimate, "flat": flat}


def fit(
    weights: np.ndarray, shape: Sequence[int], mode: str = "decimate"
) -> tuple[np.ndarray, str]:
    """fc6's weights in another shape, and one word for what was done.

    Where the number of weights is the same they are only reshaped, in every mode.
    """
    if weights.size == int(np.prod(shape)):
        return weights.reshape(shape), "copied"
    if mode not in MODES:
        raise SurgeryError(f"fc6 mode {mode!r}: choose one of {', '.join(MODES)}")
    if len(shape) != 4:
        raise _misfit(weights, shape, "in the net, fc6 must be a convolution")
    return MODES[mode](weights, shape), {"decimate": "decimated", "flat": "truncated"}[mode]


def _misfit(weights, shape, why):
    return SurgeryError(
        f"layer fc6: the source has shape {by_x(weights.shape)}, the net has {by_x(shape)}: {why}"
    )
