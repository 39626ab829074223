"""Small pictures for the page, as data URIs: photograph, truth, prediction, confidence."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from tools.common.pictures import indexed

WIDTH, HEIGHT = 240, 320
"""Pixels that a picture is made smaller to."""
QUALITY = 62
"""Of photographs, as JPEG counts it."""


def _size(shape):
    factor = min(WIDTH / shape[1], HEIGHT / shape[0], 1)
    return [max(1, round(side * factor)) for side in (shape[1], shape[0])]


def _uri(image, kind, **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def photograph(rgb):
    """H x W x 3 uint8."""
    image = Image.fromarray(np.ascontiguousarray(rgb, np.uint8))
    return _uri(image.resize(_size(rgb.shape), Image.LANCZOS), "JPEG", quality=QUALITY)


def mask(labels, colours):
    """H x W class numbers, in `colours` (256 x 3 uint8)."""
    image = indexed(labels, colours).resize(_size(labels.shape), Image.NEAREST)
    return _uri(image, "PNG", optimize=True)


def confidence(values):
    """H x W from 0 (black) to 1 (white)."""
    image = Image.fromarray(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))
    return _uri(image.resize(_size(values.shape), Image.BOX), "JPEG", quality=QUALITY)
