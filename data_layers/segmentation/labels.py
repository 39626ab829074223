"""Label maps held against what they must be, and messages that say what was found instead."""

from __future__ import annotations

import numpy as np

from segmentation.known_colours import recognised
from segmentation.params import DataError

VOID = 255

RECIPE = 'docs/own-data.md, "Masks": `colours` in the TOML gives colours their classes'

_SHOWN = 6  # colours or values of a label that are listed


def check_labels(path, label, classes):
    """Raise DataError if `label` (H x W integers) holds a value that is no class and not void."""
    wrong = (label >= classes) & (label != VOID)
    if label.dtype.kind != "u":
        wrong |= label < 0
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{entry_of(path)}: label {int(label[row, column])} at row {row}, column {column} is "
            f"no class: the {classes} classes are 0 to {classes - 1}, and {VOID} is void; the file "
            f"holds {listed(label)}. Mend the file ({RECIPE}), or give the number of classes "
            "('classes' in param_str, or in the TOML)"
        )


def in_colours(path, mode, pixels):
    """The DataError for a label whose pixels are colours: H x W x C uint8, with alpha or without.

    It says which colours there are, of which known palette, and how they become class numbers.
    """
    remedy = (
        f"give each its class ({RECIPE}), or save it as a palette or gray PNG whose pixel values "
        f"are the class numbers, {VOID} for void"
    )
    colours = pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., :1]
    if (colours == colours[..., :1]).all():
        values = listed(colours[..., 0])
        return DataError(f"{path}: label in {mode} colours that are all gray ({values}); {remedy}")
    codes = colours.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, counts = np.unique(codes, return_counts=True)
    if len(found) > 256:
        return DataError(
            f"{path}: label in {mode} colours, {len(found)} of them: a photograph, or a mask whose "
            "edges are smoothed or that went through JPEG; export it as PNG, without smoothing"
        )
    largest = np.argsort(-counts, kind="stable")[:_SHOWN]
    texts = [
        f"{code >> 16} {code >> 8 & 255} {code & 255} ({100 * counts[i] / codes.size:.0f} %)"
        for i, code in ((i, int(found[i])) for i in largest)
    ]
    more = ", …" if len(found) > _SHOWN else ""
    name = recognised([(c >> 16, c >> 8 & 255, c & 255) for c in found.tolist()])
    of = f", of the palette of {name}" if name else ""
    return DataError(
        f"{path}: label in {mode} colours, {len(found)} of them{of}: {', '.join(texts)}{more}; "
        f"{remedy}"
    )


def check_sizes(sizes, orientation=None):
    """Raise DataError unless all of {path: H x W array} have one height and width.

    orientation(path) tells the EXIF orientation by which a picture was turned upright, for the
    message.
    """
    (first, a), *others = sizes.items()
    for path, b in others:
        if a.shape[:2] != b.shape[:2]:
            text = (
                f"{entry_of(path)}: {b.shape[1]}x{b.shape[0]} pixels, but {first} has "
                f"{a.shape[1]}x{a.shape[0]}; they must be of one size"
            )
            turn = orientation(first) if orientation and a.shape[:2] == b.shape[1::-1] else 1
            if turn > 1:
                text += (
                    f". {first} is shown turned, by its EXIF orientation {turn}, and so it is "
                    "read: turn the label likewise, or save the photograph without the tag"
                )
            raise DataError(text)


def entry_of(path):
    """A path for a message, with the entry of the file that is meant, where it has several."""
    entry = getattr(path, "id", "")
    return f"{path}: image {entry!r}" if entry else path


def listed(array):
    """The values of an array of integers in words, the smallest ones and the largest."""
    values = np.unique(array)
    shown = ", ".join(str(int(value)) for value in values[:_SHOWN])
    return shown + (f", … {int(values[-1])}" if len(values) > _SHOWN else "")
