"""Pictures as scikit-image reads them, which pycaffe's `caffe.io` is made on."""

from __future__ import annotations

import os

import numpy as np

from ..errors import FileError, InputError, WrongArray
from ..proto import kinds, not_utf8
from ..proto.opening import LARGEST_PICTURE, open_regular
from .guarded import opened

_LUMINANCE = (0.2125, 0.7154, 0.0721)  # of linear RGB, CRT primaries (ITU-R BT.709)
_FULL = {"u1": 255, "u2": 65535, "i4": 2**31 - 1}


def _decoded(image) -> np.ndarray:
    """The pixels of a Pillow image, upright: (height, width) or (height, width, 3 or 4)."""
    from PIL import ImageOps

    if getattr(image, "format", None) == "JPEG":
        image = ImageOps.exif_transpose(image)
    if image.mode in ("P", "PA") or image.mode == "LA":
        opaque = "transparency" not in image.info
        plain = image.mode == "P" and image.palette.mode == "RGB" and opaque
        image = image.convert("RGB" if plain else "RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "RGBA", "F") and not image.mode.startswith("I"):
        image = image.convert("RGB")
    array = np.asarray(image)
    if image.mode == "I" and image.format == "PNG":  # 16 bits a pixel
        array = array.astype(np.uint16)
    return array


def in_unit_range(array: np.ndarray, name: str) -> np.ndarray:
    """Pixels as floats: whole numbers by the largest of their type. `name` is the file's."""
    if array.dtype.kind == "f":
        return array
    full = _FULL.get(array.dtype.newbyteorder("=").str[1:])
    if full is None:
        raise WrongArray(f"{name}: pixels of type {array.dtype} have no known range")
    return array / full


def gray(array: np.ndarray) -> np.ndarray:
    """The luminance of pixels in [0, 1]: of what is transparent, on white."""
    if array.ndim == 2:
        return array
    colours = array[..., :3]
    if array.shape[2] == 4:  # on white
        alpha = array[..., 3:]
        colours = (alpha * colours + (1 - alpha)).clip(0, 1)
    return colours @ np.array(_LUMINANCE)


def read(filename) -> np.ndarray:
    """A picture's pixels as they are stored: (H, W), (H, W, 3) RGB or (H, W, 4) with alpha.

    A JPEG is turned as its EXIF tag says. Raises FileError for a file that is missing, damaged or
    no picture.
    """
    name = os.fspath(filename)
    try:
        file = open_regular(name, LARGEST_PICTURE)
    except InputError as error:
        missing = not os.path.lexists(not_utf8.path(name))
        raise FileError(f"{name}: no such file" if missing else str(error)) from None
    try:
        with file, opened(file) as image:
            image.load()
            return _decoded(image)
    except InputError as error:
        raise FileError(f"{name}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a broken file
        known = kinds.file_misfit(name, "a picture", *kinds.PICTURES)
        text = known or f"is no picture that can be read: {' '.join(str(error).split())}"
        raise FileError(f"{name}: {text}") from None
