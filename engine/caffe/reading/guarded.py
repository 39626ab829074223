"""Pictures of strangers: what is looked at before Pillow decodes one.

Only formats that Pillow decodes itself are opened: for others, EPS among them, it starts another
program.
"""

from __future__ import annotations

import contextlib
import io
import os
import re

from ..errors import InputError

MOST_PIXELS = 178_956_970
"""Of one picture; Pillow's own limit."""
MOST_SCANS = 64
MOST_WORK = 2_000_000_000
"""Pixels times scans of a JPEG: each scan goes through the whole picture."""
FREE_PIXELS, PIXELS_OF_A_BYTE, COLOURED_OF_A_BYTE = 1 << 22, 8256, 344
"""A picture of more than the first has at most the second for each byte of its file, or the third,
if it has several channels: as many as deflate, which packs 1032 to 1, gets of one bit, or of three
channels of 8 bits."""
FORMATS = (
    "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "SGI", "SUN",
    "TGA", "TIFF", "WEBP", "XBM",
)  # fmt: skip

_HEAD = 30  # bytes that tell a format, and a WebP's size
_JPEG = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # not in a scan's numbers, nor a restart
_TEM, _SOI, _EOI, _SOS = 0x01, 0xD8, 0xD9, 0xDA


def scans(data: bytes) -> int:
    """How many scans a JPEG's decoder finds in its bytes: those that begin before its end, outside
    of what other segments hold (a thumbnail, say)."""
    count, place = 0, len(_JPEG) - 1
    while (found := _MARKER.search(data, place)) and (marker := found[1][0]) != _EOI:
        place = found.end()
        if marker in (_TEM, _SOI):
            continue
        count += marker == _SOS
        place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return count


def webp_size(head: bytes) -> tuple[int, int]:
    """(Width, height) that a WebP's first 30 bytes claim; (0, 0) where they are of no WebP. Pillow
    takes memory for the whole picture before it tells its size."""
    kind = head[12:16] if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else b""
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[k : k + 3], "little") for k in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = (int.from_bytes(head[k : k + 2], "little") & 0x3FFF for k in (26, 28))
        return width, height
    return 0, 0


def _check(width: int, height: int, channels: int, size: int, count: int) -> None:
    most = (COLOURED_OF_A_BYTE if channels > 1 else PIXELS_OF_A_BYTE) * size
    if width * height > MOST_PIXELS:
        raise InputError(f"{width} × {height} pixels are more than {MOST_PIXELS}; scale it down")
    if width * height > max(FREE_PIXELS, most):
        raise InputError(f"{width} × {height} pixels in {size} bytes: damaged, or a bomb")
    if count > MOST_SCANS or count * width * height > MOST_WORK:
        raise InputError(
            f"a JPEG of {width} × {height} pixels in {count} scans is too much work (at most "
            f"{MOST_SCANS} scans, and {MOST_WORK} pixels times scans); save it anew"
        )


@contextlib.contextmanager
def opened(file):
    """Context: the Pillow image in a binary file object, not yet decoded. InputError, in one line
    without a name, where it has too many pixels or scans; Pillow's own errors come through."""
    from PIL import Image

    if any(kind not in Image.OPEN for kind in FORMATS):
        Image.init()
    count = 0
    head = file.read(_HEAD)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _check(*webp_size(head), 3, size, 0)
    if head.startswith(_JPEG):
        data = file.read()
        file, count = io.BytesIO(data), scans(data)
    try:
        with Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
            _check(*image.size, len(image.getbands()), size, count)
            yield image
    except Image.DecompressionBombError:
        raise InputError(f"more than {MOST_PIXELS} pixels; scale it down") from None
