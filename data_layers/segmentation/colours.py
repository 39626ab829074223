"""Label maps drawn in colours: each colour of a mask is that of a class, or of void."""

from __future__ import annotations

import numpy as np

from segmentation.labels import VOID, listed
from segmentation.params import DataError
from segmentation.pictures import MAX_PIXELS, read_picture

MOST_COLOURS = 4096
"""Colours of one table."""


class ColourTable(dict):
    """{red << 16 | green << 8 | blue: class number}"""


def colour_table(value):
    """A kind: {class number, or 255 for void: [(red, green, blue), …]}; or None.

    One colour alone needs no list. No colour may stand for two classes. Returned is a ColourTable.
    """
    if value is None or isinstance(value, ColourTable):
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("expected {class number: [red, green, blue] or a list of these}")
    table = ColourTable()
    for number, given in value.items():
        colours = given if _is_list(given) and given and _is_list(given[0]) else [given]
        number = int(number) if isinstance(number, str) and number.isdigit() else number
        if type(number) is not int or not 0 <= number <= VOID:
            raise ValueError(f"expected class numbers, 0 to {VOID}")
        for colour in colours:
            if not _is_colour(colour):
                raise ValueError("expected colours [red, green, blue], each 0 to 255")
            code = colour[0] << 16 | colour[1] << 8 | colour[2]
            if table.setdefault(code, number) != number:
                raise ValueError(f"the colour {_words(code)} stands for two classes")
    if len(table) > MOST_COLOURS:
        raise ValueError(f"expected at most {MOST_COLOURS} colours")
    return table


def _is_list(value):
    return isinstance(value, (tuple, list))


def _is_colour(value):
    return _is_list(value) and len(value) == 3 and all(
        type(v) is int and 0 <= v <= 255 for v in value
    )  # fmt: skip


def _words(code):
    return f"{code >> 16} {code >> 8 & 255} {code & 255}"


def read_colours(path, table, other=None, max_pixels=MAX_PIXELS):
    """A mask in colours as H x W uint8 class numbers: an RGB or gray PNG, or a palette PNG, whose
    palette's colours are meant. Alpha is dropped.

    table: as a ColourTable; other: the class number of all colours
    that it lacks. Without it such a colour is an error. Raises DataError.
    """
    codes = read_codes(path, max_pixels)
    known = np.array(sorted(table), np.uint32)
    numbers = np.array([table[code] for code in known.tolist()], np.uint8)
    label = np.empty(codes.shape, np.uint8)
    for row in range(0, codes.shape[0], 256):  # parts: an index for each pixel is 8 bytes
        part = codes[row : row + 256]
        at = np.minimum(np.searchsorted(known, part), len(known) - 1)
        wrong = known[at] != part
        if wrong.any() and other is None:
            raise _unknown(path, codes, known, row + int(np.argwhere(wrong)[0][0]))
        label[row : row + 256] = np.where(wrong, VOID if other is None else other, numbers[at])
    return label


def read_codes(path, max_pixels=MAX_PIXELS):
    """A PNG's colours, H x W uint32: red << 16 | green << 8 | blue. Raises DataError."""

    def decode(image):
        if image.mode.startswith(("I", "F")):
            array = np.asarray(image)
            raise DataError(
                f"{path}: a mask of 16-bit gray, which holds {listed(array)}; colours are of 8 bits"
            )
        image.info.pop("transparency", None)
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        codes = pixels[..., 0].astype(np.uint32)
        for channel in (1, 2):
            codes <<= np.uint32(8)
            codes |= pixels[..., channel]
        return codes

    return read_picture(path, ("PNG",), max_pixels, decode)


def _unknown(path, codes, known, row):
    """The DataError for the first colour of a row that is not among the `known`."""
    column = int(np.flatnonzero(~np.isin(codes[row], known))[0])
    code = int(codes[row, column])
    counts = sum(int((~np.isin(part, known)).sum()) for part in np.array_split(codes, 64))
    kinds = len(np.setdiff1d(np.unique(codes), known))
    parts = [(code >> shift & 255) for shift in (16, 8, 0)]
    away = [sum(abs(p - (k >> s & 255)) for p, s in zip(parts, (16, 8, 0))) for k in known.tolist()]
    near = int(known[int(np.argmin(away))])
    many = "" if kinds <= 64 else ": edges that are smoothed, or a mask that went through JPEG?"
    return DataError(
        f"{path}: the colour {_words(code)} at row {row}, column {column} is none of `colours` "
        f"(nearest: {_words(near)}); {counts} of {codes.size} pixels have {kinds} such "
        f'colour{"s" * (kinds > 1)}{many}; add it to `colours`, or give other = "void"'
    )
