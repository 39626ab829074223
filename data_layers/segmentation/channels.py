"""Photographs of any number of bands, of 8 or 16 bits or float, by the bands that are asked for."""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

import numpy as np

from segmentation.opening import LARGEST_PICTURE, open_regular, read_regular
from segmentation.params import DataError
from segmentation.pictures import IMAGE_FORMATS, MAX_PIXELS, read_picture

COLOURS = ("red", "green", "blue")
MOST_BANDS = 64
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
KINDS = ("uint8", "uint16", "float32")
MOST_BYTES = 3 * MAX_PIXELS
"""Of a picture's pixels in memory."""
FREE_BYTES, BYTES_OF_A_BYTE = 1 << 24, 1032
"""Of larger pictures than the first, bytes of pixels of a byte in the file (deflate's most)."""
_BITS, _SAMPLES, _ORIENTATION, _EXTRA = 258, 277, 274, 338  # tags of TIFF 6.0
_UNASSOCIATED = 2  # alpha that the colours are not multiplied by


class Channel(NamedTuple):
    """One channel of the blob.

    name  "" where only its number is given
    band  of the file, from 0
    """

    name: str
    band: int


class Channels(NamedTuple):
    """The channels of a blob, in order. bands: how many the file must have; None: enough."""

    each: tuple[Channel, ...]
    bands: int | None

    def names(self):
        return tuple(channel.name for channel in self.each)


def channels(value):
    """A kind: the names of a file's bands, in order; or the numbers of those to take, from 1; or
    {name: number}. None stands for photographs in B, G, R."""
    if value is None or isinstance(value, Channels):
        return value
    if isinstance(value, dict):
        names, numbers, count = list(value), list(value.values()), None
    elif isinstance(value, (tuple, list)) and all(isinstance(v, str) for v in value):
        names, numbers, count = list(value), list(range(1, len(value) + 1)), len(value)
    elif isinstance(value, (tuple, list)):
        names, numbers, count = [""] * len(value), list(value), None
    else:
        names, numbers, count = [], [], None
    named = all(isinstance(name, str) and (name.strip() or not isinstance(value, dict))
                for name in names)  # fmt: skip
    good = all(type(number) is int and 1 <= number <= MOST_BANDS for number in numbers)
    if not 1 <= len(names) <= MOST_BANDS or not good or not named:
        raise ValueError(f"expected 1 to {MOST_BANDS} names of bands, or their numbers from 1")
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise ValueError(f"the channel {twice[0]!r} is there twice")
    return Channels(tuple(Channel(n, number - 1) for n, number in zip(names, numbers)), count)


def pixel_scale(value):
    """A kind: what stored numbers are multiplied by, above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ValueError("expected a number above 0")
    return float(value)


def mean_of(value):
    """A kind: numbers, one for each channel; how many, the layer checks."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    good = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if not 1 <= len(values) == len(good) <= MOST_BANDS or not all(abs(v) < 1e6 for v in good):
        raise ValueError("expected a number for each channel")
    return tuple(float(v) for v in values)


def colour_places(wanted):
    """The places of red, green and blue among the channels, for pictures to look at; the first
    three, or one alone, where they have no such names."""
    names = wanted.names()
    if set(COLOURS) <= set(names):
        return tuple(names.index(colour) for colour in COLOURS)
    return (0, 1, 2) if len(names) > 2 else (0, 0, 0)


def read_channels(path, wanted, scale=1.0):
    """The channels `wanted` of a photograph, H x W x C: uint8, or float32 times `scale` where that
    is not 1 or the file holds other numbers. Raises DataError."""
    array = read_bands(path)
    count, most = array.shape[2], max(channel.band for channel in wanted.each) + 1
    if wanted.bands not in (None, count) or most > count:
        raise DataError(
            f"{path}: has {count} band{'s' * (count > 1)}, but `channels` "
            + (f"names {wanted.bands}; name each of the file's, or give their numbers"
               if wanted.bands else f"asks for number {most}")
        )  # fmt: skip
    array = array[..., [channel.band for channel in wanted.each]]
    if array.dtype == np.uint8 and scale == 1:
        return array
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        row, column, band = np.argwhere(~np.isfinite(array))[0]
        raise DataError(
            f"{path}: band {wanted.each[band].band + 1} has no finite number at row {row}, column "
            f"{column}; fill such pixels in"
        )
    return array * np.float32(scale)


def to_look_at(image, wanted):
    """H x W x C of `wanted` channels as H x W x 3 uint8 in R, G, B."""
    return image[..., list(colour_places(wanted))].round().clip(0, 255).astype(np.uint8)


def read_bands(path):
    """All bands of a photograph as it is stored: H x W x C uint8, uint16 or float32. Raises
    DataError."""
    try:
        with open_regular(path, LARGEST_PICTURE) as file:
            tiff = file.read(4) in TIFF_STARTS
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    array = None
    if not tiff:
        array = read_picture(path, IMAGE_FORMATS, MAX_PIXELS, lambda image: _plain(path, image))
    else:
        # Of bands that Pillow does not know it raises: then tifffile says what is wrong.
        with contextlib.suppress(DataError):
            array = read_picture(path, ("TIFF",), MAX_PIXELS, _plain_tiff)
        if array is None:
            array = _read_tiff(path)
    return array[..., None] if array.ndim == 2 else array


def _plain(path, image):
    """The pixels of a picture that is no TIFF."""
    if image.mode.startswith("I") or image.mode == "F":
        array = np.asarray(image)
        return array.astype(np.uint16 if image.mode.startswith("I") else np.float32)
    if image.format == "PNG":
        with open_regular(path, LARGEST_PICTURE) as file:
            deep = file.read(25)[24:] == b"\x10"
        if deep:
            raise DataError(f"{path}: a PNG of 16-bit colours; save it as TIFF")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def _plain_tiff(image):
    """The pixels of a TIFF where Pillow gives them as they are stored, else None."""
    tags = image.tag_v2
    bits, extra = tags.get(_BITS, (1,)), tags.get(_EXTRA, ())
    bits = bits if isinstance(bits, tuple) else (bits,)
    whole = tags.get(_SAMPLES, 1) == len(image.getbands())
    known = all(each == _UNASSOCIATED for each in (extra if isinstance(extra, tuple) else (extra,)))
    if not whole or not known or getattr(image, "n_frames", 1) > 1:
        return None
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and max(bits) <= 8:
        return np.asarray(image)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    return np.asarray(image) if image.mode == "F" and max(bits) == 32 else None


def _read_tiff(path):
    """All bands of a TIFF, by the package tifffile."""
    try:
        import tifffile
    except ImportError:
        raise DataError(
            f"{path}: a TIFF of these bands is read by the package tifffile, which is not "
            "installed; `pip install tifffile imagecodecs` (the extra `formats`) installs it"
        ) from None
    try:
        data = read_regular(path, LARGEST_PICTURE)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [file.pages.first]
            if pages[0].samplesperpixel == 1:
                pages = list(_pages(path, file))
            for page in pages:
                _check_page(path, page, len(data), len(pages))
            arrays = [_rows(page.asarray(), page) for page in pages]
    except (DataError, MemoryError):
        raise
    except Exception as error:  # its decoders raise nearly every kind
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot be read ({told})") from None
    if any(array.shape != arrays[0].shape or array.dtype != arrays[0].dtype for array in arrays):
        raise DataError(f"{path}: its pages are not all of one size and kind")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=2)


def _pages(path, file):
    """The pages of a TIFF whose bands are pages."""
    for index, page in enumerate(file.pages):
        if index >= MOST_BANDS:
            raise DataError(f"{path}: more than {MOST_BANDS} pages")
        yield page


def _check_page(path, page, size, pages):
    """Raise DataError for a page that is not taken, before its pixels take memory."""
    kind = str(page.dtype)
    if kind not in KINDS:
        raise DataError(f"{path}: pixels of {kind}; expected {', '.join(KINDS)}")
    turn = page.tags.get(_ORIENTATION)
    if turn is not None and turn.value != 1:
        raise DataError(
            f"{path}: a TIFF with the EXIF orientation {turn.value}, which some programs follow "
            "and others do not; save it upright, without the tag"
        )
    count, height, width = page.samplesperpixel, page.imagelength, page.imagewidth
    if page.imagedepth != 1 or count > MOST_BANDS or height * width > MAX_PIXELS:
        raise DataError(
            f"{path}: {width}x{height} pixels of {count} bands; at most {MAX_PIXELS} pixels and "
            f"{MOST_BANDS} bands are read"
        )
    needed = height * width * count * page.dtype.itemsize
    if needed * pages > max(FREE_BYTES, min(MOST_BYTES, BYTES_OF_A_BYTE * size)):
        raise DataError(
            f"{path}: {width}x{height} pixels of {count * pages} bands of {kind} in {size} bytes: "
            "too large, damaged, or a bomb"
        )


def _rows(array, page):
    """H x W x C of a page's array, whose bands may come first."""
    if page.axes == "YX":
        return array[..., None]
    if page.axes in ("YXS", "SYX"):
        return array if page.axes == "YXS" else np.moveaxis(array, 0, 2)
    raise ValueError(f"its pixels lie as {page.axes}")
