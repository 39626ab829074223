"""Photographs, label maps and depth maps as arrays; every error names the file.

A JPEG with an EXIF orientation is turned upright, as OpenCV reads it and as programs show it. In
other formats programs differ, and the tag is refused.
"""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image, ImageOps

from segmentation.kinds import wrong_kind
from segmentation.labels import RECIPE, VOID as VOID, in_colours, listed
from segmentation.opening import LARGEST_PICTURE, read_regular
from segmentation.params import DataError

MAX_PIXELS = 178_956_970  # as the engine; Pillow's own limit
# As the engine: of larger pictures than the first, pixels of a byte, and if they are coloured.
FREE_PIXELS, PIXELS_OF_A_BYTE, COLOURED_OF_A_BYTE = 1 << 22, 8256, 344
MAX_SCANS, MAX_WORK = 64, 2_000_000_000  # of a JPEG, as the engine; pixels times scans
# Only plain raster formats: Pillow would otherwise start an outside program for some (EPS).
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")

_ORIENTATION = 0x0112  # the EXIF tag
_TURNED = range(2, 9)  # its values that say more than "upright"


def read_rgb(path, max_pixels=MAX_PIXELS):
    """A photograph as H x W x 3 uint8 RGB, upright.

    Gray and palette pictures become RGB, CMYK is converted, alpha is dropped, 16-bit gray keeps
    its upper 8 bits. Raises DataError.
    """

    def decode(image):
        if image.mode in ("RGB", "L"):
            array = np.asarray(image)
        elif image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
            kind = "float" if image.mode == "F" else "32-bit"
            raise DataError(f"{path}: {kind} pixels; save it as an 8-bit picture")
        elif image.mode.startswith("I"):
            array = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        else:
            image.info.pop("transparency", None)  # dropped, as alpha is
            array = np.asarray(image.convert("RGB"))
        return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array

    return read_picture(path, IMAGE_FORMATS, max_pixels, decode)


def read_bgr(path):
    """A photograph as H x W x 3 uint8, channels B, G, R, upright."""
    return read_rgb(path)[..., ::-1]


def read_label(path, max_pixels=MAX_PIXELS):
    """A label map as H x W uint8: a palette PNG's indices or a gray PNG's values.

    A palette's colours, and its transparent ones, mean nothing. Raises DataError; labels drawn in
    colours are refused.
    """

    def decode(image):
        if image.mode in ("P", "L", "1"):
            return np.asarray(image).astype(np.uint8)
        if image.mode.startswith("I"):
            array = np.asarray(image)
            if array.min() < 0 or array.max() > 255:
                raise DataError(
                    f"{path}: 16-bit label with values above 255: it holds {listed(array)}; class "
                    f"numbers are 0 to 254 ({RECIPE})"
                )
            return array.astype(np.uint8)
        pixels = np.asarray(image if image.mode in ("RGB", "RGBA", "LA") else image.convert("RGB"))
        raise in_colours(path, image.mode, pixels)

    return read_picture(path, ("PNG",), max_pixels, decode)


def read_palette(path):
    """The colours of a palette PNG, n x 3 uint8; None for a gray one. Raises DataError."""

    def decode(image):
        if image.mode != "P":
            return None
        return np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)

    return read_picture(path, ("PNG",), MAX_PIXELS, decode)


def read_millimetres(path, max_pixels=MAX_PIXELS):
    """A depth map, a 16-bit gray PNG of millimetres, as H x W uint16; 0 is not measured.

    Raises DataError.
    """

    def decode(image):
        if not image.mode.startswith("I"):
            raise DataError(
                f"{path}: depth in {image.mode} pixels; expected a 16-bit gray PNG of millimetres"
            )
        return np.asarray(image).astype(np.uint16)  # Pillow's "I" of a PNG is 16 bits, too

    return read_picture(path, ("PNG",), max_pixels, decode)


def orientation(path):
    """The EXIF orientation of a picture, 1 (upright) to 8; 1 where it has none or is unreadable."""
    try:
        return _opened(path, IMAGE_FORMATS, MAX_PIXELS, _orientation)
    except DataError:
        return 1


def size(path):
    """(height, width) of a photograph as it is read, from its head alone. Raises DataError."""
    width, height = _opened(path, IMAGE_FORMATS, MAX_PIXELS, lambda image: image.size)
    return (width, height) if orientation(path) > 4 else (height, width)


def read_picture(path, formats, max_pixels, decode):
    """decode(Pillow image, loaded and upright) of a picture in one of `formats`.

    Raises DataError.
    """

    def loaded(image):
        turn = _orientation(image)
        if turn in _TURNED and image.format not in ("JPEG", "MPO"):
            raise DataError(
                f"{path}: a {image.format} with the EXIF orientation {turn}, which some programs "
                "follow and others do not; save it upright, without the tag"
            )
        image.load()  # here, since NumPy hides what goes wrong in asarray(image)
        if turn not in _TURNED:
            return decode(image)
        upright = ImageOps.exif_transpose(image)
        upright.format = image.format
        return decode(upright)

    return _opened(path, formats, max_pixels, loaded)


def _orientation(image):
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged tag is no damaged picture
        return 1
    return found if found in _TURNED else 1


def _check_scans(path, data, pixels):
    """Raise DataError for a JPEG of so many scans that decoding it takes too long."""
    count = data.count(b"\xff\xda")  # at least as many as there are scans
    if count > MAX_SCANS or count * pixels > MAX_WORK:
        import caffe  # here: PyTorch is slow to import, and hardly any picture comes here

        engine = getattr(caffe, "engine", None)
        count = engine.jpeg_scans(data) if engine else count
    if count > MAX_SCANS or count * pixels > MAX_WORK:
        raise DataError(
            f"{path}: a JPEG of {pixels} pixels in {count} scans takes too much work (at most "
            f"{MAX_SCANS} scans, and {MAX_WORK} pixels times scans); save it anew"
        )


def _webp_size(data):
    """(Width, height) that the head of a WebP claims, before Pillow takes memory for them; (0, 0)
    for other formats, and under BVLC Caffe."""
    if data[8:12] != b"WEBP":
        return 0, 0
    import caffe  # here: PyTorch is slow to import

    engine = getattr(caffe, "engine", None)
    return engine.webp_size(data[:30]) if engine else (0, 0)


def _check_size(path, data, size, channels, max_pixels):
    """Raise DataError for a picture of more pixels than may be, or than its bytes can hold."""
    width, height = size
    most = (COLOURED_OF_A_BYTE if channels > 1 else PIXELS_OF_A_BYTE) * len(data)
    if width * height > max_pixels:
        raise DataError(
            f"{path}: {width}x{height} pixels are more than {max_pixels}; scale it down"
        )
    if width * height > max(FREE_PIXELS, most):
        raise DataError(f"{path}: {width}x{height} pixels in {len(data)} bytes: damaged, or a bomb")


def _opened(path, formats, max_pixels, use):
    """use(Pillow image, not yet loaded) of a picture in one of `formats`. Raises DataError."""
    if any(kind not in Image.OPEN for kind in formats):
        Image.init()
    try:
        known = [k for k in formats if k in Image.OPEN]
        data = read_regular(path, LARGEST_PICTURE)
        _check_size(path, data, _webp_size(data), 3, max_pixels)
        with Image.open(io.BytesIO(data), formats=known) as image:
            width, height = image.size
            _check_size(path, data, image.size, len(image.getbands()), max_pixels)
            if image.format in ("JPEG", "MPO"):
                _check_scans(path, data, width * height)
            return use(image)
    except (DataError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: more than {max_pixels} pixels; scale it down") from None
    except Image.UnidentifiedImageError:
        if os.path.getsize(path) == 0:
            raise DataError(f"{path}: the file is empty; fetch it again") from None
        kinds = "/".join(formats)
        wrong = wrong_kind(path, f"a {kinds} picture", *formats)
        raise DataError(
            f"{path}: {wrong or f'not a {kinds} picture, or damaged at its head'}"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly every kind
        told = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({told}); fetch it again") from None
