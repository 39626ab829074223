"""The parts of scikit-image that BVLC's `caffe.io` uses, for where the package is not installed.

As version 0.18 has them, which BVLC Caffe 1.0 runs with in Debian 11.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import types

import numpy as np

from . import interpolation, pixels

_ABSENT = "scikit-image is not installed (pip install scikit-image), and without it there is only"


def img_as_float(image, force_copy=False) -> np.ndarray:
    """Pixels as floats: whole numbers as float64 in [0, 1], signed ones in [-1, 1], and floats as
    they are."""
    array = np.asarray(image)
    if array.dtype.kind == "f":
        return array.copy() if force_copy else array
    if array.dtype.kind not in "ui":
        return array.astype(np.float64)
    most = 2.0 ** (8 * array.dtype.itemsize) - 1
    return (2.0 * array + 1) / most if array.dtype.kind == "i" else array / most


def imread(fname, as_gray=False) -> np.ndarray:
    """A picture's pixels as they are stored; with `as_gray` those of colours as luminance, float
    in [0, 1]."""
    array = pixels.read(fname)
    if not as_gray or array.ndim == 2:
        return array
    return pixels.gray(pixels.in_unit_range(array, os.fspath(fname)))


def resize(image, output_shape, order=1, mode="constant", **more) -> np.ndarray:
    """A picture (H, W) or (H, W, K) at `output_shape` (height, width), in floats: what shrinks is
    smoothed, and beyond the border there is 0. Raises TypeError for other settings."""
    if mode != "constant" or more:
        given = ", ".join([f"mode={mode!r}"] * (mode != "constant") + sorted(more))
        raise TypeError(f"{_ABSENT} resize(image, shape, order, mode='constant'); given: {given}")
    array = np.asarray(image)
    array = array if array.dtype.kind in "uf" else img_as_float(array)
    picture = array if array.ndim == 3 else array[..., None]
    # Whole numbers are smoothed as such, rounded down, and become floats only then.
    found = interpolation.resize(picture, tuple(map(int, output_shape[:2])), order)
    found = found / (np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1)
    return found if array.ndim == 3 else found[..., 0]


class _Part(types.ModuleType):
    """A module of the package, with few of its names."""

    def __init__(self, name: str, **members):
        super().__init__(name)
        vars(self).update(members)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        there = ", ".join(sorted(key for key in vars(self) if not key.startswith("_")))
        raise AttributeError(f"{self.__name__}.{name}: {_ABSENT} {there}")


_PARTS = _Part(
    "skimage",
    img_as_float=img_as_float,
    io=_Part("skimage.io", imread=imread),
    transform=_Part("skimage.transform", resize=resize),
)


def package():
    """scikit-image, or what there is of it here."""
    if importlib.util.find_spec("skimage") is None:
        return _PARTS
    # By name: the engine does not depend on it.
    for part in ("skimage.io", "skimage.transform"):
        importlib.import_module(part)
    return importlib.import_module("skimage")
