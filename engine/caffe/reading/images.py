"""Pictures as Caffe's data layers see them: what OpenCV's decoders and its resize give.

A picture is a uint8 array (height, width, channels), colours in the order blue, green, red.
JPEG decoders may differ by a few grey levels; everything else agrees to the bit.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..errors import InputError
from ..proto import kinds, not_utf8
from ..proto.opening import LARGEST_PICTURE, open_regular
from .guarded import opened

COLOR, GRAY, AS_STORED = "color", "gray", "as stored"

_ORIENTATION = 0x0112  # the EXIF tag
_EXTRA_SAMPLES = 338  # the TIFF tag: 2 for an alpha that is not multiplied into the colours
_SRGB = 0.45455  # the gamma that libpng takes for sRGB
_GAMMA_SLACK = 0.05  # from 1: libpng's
_UPRIGHT = {  # what undoes each value of the EXIF tag
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def _luma(rgb: np.ndarray, weights, bits: int, rounding: int) -> np.ndarray:
    red, green, blue = (rgb[..., i].astype(np.int32) * w for i, w in enumerate(weights))
    return ((red + green + blue + rounding) >> bits).astype(np.uint8)


def _gray(image: Image.Image) -> np.ndarray:
    """Luminance; each of OpenCV's readers has a rounding of its own."""
    if image.format == "JPEG":
        image.draft("L", image.size)  # the decoder's own luminance
    if image.mode in ("1", "L", "LA"):
        # LA's alpha is left out, not multiplied in.
        return np.asarray(image.convert("L") if image.mode == "1" else image.getchannel(0))
    rgb = _rgb(image)
    if image.format == "PNG":
        return _png_gray(rgb, _png_gamma(image.info))
    if image.format in ("WEBP", "JPEG2000"):
        return _luma(rgb, (9798, 19235, 3735), 15, 1 << 14)
    return _luma(rgb, (4899, 9617, 1868), 14, 1 << 13)


def _png_gamma(info: dict) -> float:
    """What a PNG says of how its values follow from the light's; 1 where it says nothing."""
    gamma = _SRGB if "srgb" in info else float(info.get("gamma", 1))
    return gamma if gamma > 0 and abs(gamma - 1) > _GAMMA_SLACK else 1.0


def _png_gray(rgb: np.ndarray, gamma: float) -> np.ndarray:
    """As libpng, which mixes light, not values, where a picture says its gamma; it rounds then,
    and cuts off elsewhere. Greys it leaves alone."""
    weights = (9797, 19234, 3737)
    if gamma == 1:
        gray = _luma(rgb, weights, 15, 0)
    else:
        light = _powers(1 / gamma)[rgb]
        gray = _powers(gamma)[_luma(light, weights, 15, 1 << 14)]
    return np.where((rgb == rgb[..., :1]).all(axis=2), rgb[..., 0], gray)


def _powers(exponent: float) -> np.ndarray:
    """v ** exponent of all bytes v, where 255 stands for 1."""
    return np.floor(255 * (np.arange(256) / 255) ** exponent + 0.5).astype(np.uint8)


def _rgb(image: Image.Image) -> np.ndarray:
    """Colours (height, width, 3), red first."""
    if image.mode == "CMYK":
        return _of_inks(image)
    if image.format == "TIFF" and image.mode == "RGBA" and _is_unassociated(image):
        *colours, alpha = np.moveaxis(np.asarray(image).astype(np.int32), 2, 0)
        faded = [(colour * alpha + 127) // 255 for colour in colours]  # libtiff's
        return np.stack(faded, 2).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def _is_unassociated(image: Image.Image) -> bool:
    return image.tag_v2.get(_EXTRA_SAMPLES, (0,))[0] == 2  # type: ignore[attr-defined]


def _of_inks(image: Image.Image) -> np.ndarray:
    """The colours of cyan, magenta, yellow and black: those of a JPEG as OpenCV mixes them, of a
    TIFF as libtiff does."""
    inks = 255 - np.asarray(image).astype(np.int32)  # Pillow turns a JPEG's over; 255: no ink
    black = inks[..., 3:]
    if image.format == "JPEG":
        mixed = black - ((255 - inks[..., :3]) * black >> 8)
    else:
        mixed = inks[..., :3] * black // 255
    return mixed.astype(np.uint8)


def _as_stored(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.format == "TIFF" and image.mode == "LA":
        return np.asarray(image.getchannel(0))
    if image.format == "TIFF" and image.mode in ("CMYK", "RGBA"):
        opaque = Image.new("L", image.size, 255)
        fourth = np.asarray(image.getchannel(3) if image.mode == "RGBA" else opaque)
        return np.dstack([_rgb(image)[..., ::-1], fourth])
    if image.mode == "CMYK":
        return _rgb(image)[..., ::-1]
    alpha = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")
    array = np.asarray(image.convert("RGBA" if alpha else "RGB"))
    return array[..., [2, 1, 0, 3][: array.shape[2]]]


def _check(image: Image.Image, channels: str) -> None:
    """Raise InputError for what OpenCV cannot make bytes of, or makes others of."""
    tiles = getattr(image, "tile", None)
    codec, _, _, args = tiles[0][:4] if tiles else ("", None, None, "")
    stored = " ".join(map(str, args)) if isinstance(args, tuple) else str(args)
    bits = 32 if image.mode == "F" or (image.mode == "I" and "32" in stored) else 8
    if channels == AS_STORED and (image.mode.startswith("I") or "16" in stored):
        bits = max(bits, 16)
    if bits > 8:
        raise InputError(f"it has {bits} bits per channel, not 8; save it with 8")
    if image.mode == "LAB":
        raise InputError("its colours are CIE L*a*b*; save it as RGB")
    if codec.startswith("ppm") and args[1] not in (255, 65535):
        raise InputError(f"its largest value is {args[1]}, not 255; save it anew")
    if channels == AS_STORED and "BGRX" in stored:
        raise InputError("its fourth channel cannot be read; save it with three, or as PNG")


def _decode(file, channels: str) -> np.ndarray:
    with opened(file) as image:
        orientation = 1
        if image.format == "JPEG" and channels != AS_STORED:
            orientation = image.getexif().get(_ORIENTATION, 1)
        _check(image, channels)
        if image.mode.startswith("I"):  # one channel of 16 bits
            array = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            array = array if channels == GRAY else np.repeat(array[..., None], 3, axis=2)
        elif channels == GRAY:
            array = _gray(image)
        elif channels == COLOR:
            array = _rgb(image)[..., ::-1]
        else:
            array = _as_stored(image)
    array = array if array.ndim == 3 else array[..., None]
    return np.ascontiguousarray(_UPRIGHT.get(orientation, lambda a: a)(array))


def decode(data: bytes, channels: str) -> np.ndarray:
    """The picture in an encoded file's bytes, with `channels` COLOR, GRAY or AS_STORED.

    COLOR and GRAY follow a photograph's orientation, AS_STORED does not, and keeps transparency
    as a fourth channel. Raises InputError, in one line without a name, for a broken picture.
    """
    return _decoded(io.BytesIO(data), channels)


def read(path, channels: str) -> np.ndarray:
    """As `decode`, of a file. The InputError names it."""
    name = not_utf8.path(path)
    with open_regular(name, LARGEST_PICTURE) as file:
        try:
            return _decoded(file, channels)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None


def _not_a_picture(file) -> str:
    file.seek(0)
    known = kinds.misfit(file.read(), "a picture", *kinds.PICTURES)
    return known or "it is no picture in a format that Pillow reads"


def _decoded(file, channels: str) -> np.ndarray:
    try:
        return _decode(file, channels)
    except InputError:
        raise
    except Image.UnidentifiedImageError:
        raise InputError(_not_a_picture(file)) from None
    except Exception as error:  # Pillow's plugins raise many kinds for a broken file
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the picture is broken or truncated: {text}") from None


_BITS = 11  # of OpenCV's fixed point weights


def _weights(given: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along one axis, per wanted place: the first of two neighbours (unclipped), and their
    weights in fixed point."""
    scale = 1.0 / (wanted / given)
    at = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.int64)
    part = at - first.astype(np.float32)
    one = np.float32(1 << _BITS)
    low = np.rint((np.float32(1) - part) * one).astype(np.int32)
    return first, low, np.rint(part * one).astype(np.int32)


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """`picture` (uint8, height × width × channels) at another size, bilinearly, to the bit as
    OpenCV's cv::resize (INTER_LINEAR, 8 bits): fixed point of 11 bits, no smoothing; exactly
    half the size both ways is the mean of 2 × 2 pixels."""
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    if (rows, columns) == (2 * height, 2 * width):
        wide = picture.astype(np.int32)
        pairs = wide[0::2] + wide[1::2]
        return ((pairs[:, 0::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)
    x, low, high = _weights(columns, width)
    # Beyond the border across, the border's own pixel has all the weight; down, its two equal
    # neighbours keep their weights, whose sum rounds otherwise.
    outside = (x < 0) | (x >= columns - 1)
    low, high = np.where(outside, 1 << _BITS, low), np.where(outside, 0, high)
    left = x.clip(0, columns - 1)
    right = (left + 1).clip(0, columns - 1)
    y, upper, lower = _weights(rows, height)
    above, below = y.clip(0, rows - 1), (y + 1).clip(0, rows - 1)
    used, place = np.unique(np.concatenate([above, below]), return_inverse=True)
    source = picture[used].astype(np.int32)
    across = source[:, left] * low[:, None] + source[:, right] * high[:, None]
    across >>= 4
    first, second = across[place[:height]], across[place[height:]]
    first *= upper[:, None, None]
    second *= lower[:, None, None]
    total = (first >> 16) + (second >> 16) + 2 >> 2
    return total.clip(0, 255).astype(np.uint8)
