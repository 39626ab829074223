"""Resizing pictures as BVLC's pycaffe does with scikit-image (0.18, as Debian 11 has it).

Pixels are squares: pixel i of n out of m lies at (i + 1/2) m / n - 1/2. Beyond the border there
is 0. What shrinks is smoothed first, by a Gaussian of (m / n - 1) / 2 pixels.
"""

from __future__ import annotations

import numpy as np

ORDERS = range(6)
NEAREST, LINEAR, CUBIC = 0, 1, 3


def _positions(size: int, wanted: int) -> np.ndarray:
    return (np.arange(wanted) + 0.5) * (size / wanted) - 0.5


def _taps(position: np.ndarray, order: int):
    """(pixels, weights) that each position is a sum of, (n, taps) each."""
    if order == NEAREST:
        return np.floor(position + 0.5)[:, None], np.ones((len(position), 1))
    first = np.floor(position)
    t = position - first
    if order == LINEAR:
        return first[:, None] + [0, 1], np.stack([1 - t, t], axis=1)
    weights = [  # Keys 1981, "Cubic convolution interpolation", equation 15 (a = -1/2)
        -t / 2 + t**2 - t**3 / 2,
        1 - 5 * t**2 / 2 + 3 * t**3 / 2,
        t / 2 + 2 * t**2 - 3 * t**3 / 2,
        t**3 / 2 - t**2 / 2,
    ]
    return first[:, None] + [-1, 0, 1, 2], np.stack(weights, axis=1)


def _along(axis: int, image: np.ndarray, wanted: int, order: int) -> np.ndarray:
    """`image` with `wanted` pixels along one axis."""
    size = image.shape[axis]
    pixels, weights = _taps(_positions(size, wanted), order)
    weights = np.where((pixels >= 0) & (pixels < size), weights, 0)
    pixels = pixels.clip(0, size - 1).astype(int)
    shape = [1] * image.ndim
    shape[axis] = wanted
    return sum(
        image.take(pixels[:, i], axis) * weights[:, i].reshape(shape)
        for i in range(pixels.shape[1])
    )


def _splines(image: np.ndarray, size, order: int) -> np.ndarray:
    from scipy import ndimage

    at = [_positions(have, want) for have, want in zip(image.shape, size)]
    grid = np.meshgrid(*at, indexing="ij")
    channels = [
        ndimage.map_coordinates(image[..., i], grid, order=order, mode="constant")
        for i in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


def resize(image: np.ndarray, size, order: int) -> np.ndarray:
    """`image` (height, width, channels), of floats, at `size` (height, width).

    Values stay within those of the smoothed image, and 0 where only the border is seen.
    """
    factors = [have / want for have, want in zip(image.shape, size)]
    if max(factors) > 1:
        from scipy import ndimage

        sigma = [max(0.0, (factor - 1) / 2) for factor in factors]
        image = ndimage.gaussian_filter(image, [*sigma, 0], mode="constant")
    if order in (NEAREST, LINEAR, CUBIC):
        out = _along(1, _along(0, image, size[0], order), size[1], order)
    else:
        out = _splines(image, size, order)
    if order == NEAREST:
        return out
    least, most = image.min(), image.max()
    kept = out.clip(least, most)
    return kept if least <= 0 <= most else np.where(out == 0, out, kept)


def zoom(image: np.ndarray, size, order: int) -> np.ndarray:
    """`image` (height, width, channels) at `size`, the corners' pixels on the corners'."""
    from scipy import ndimage

    scale = [want / have for have, want in zip(image.shape, size)]
    return ndimage.zoom(image, [*scale, 1], order=order)
