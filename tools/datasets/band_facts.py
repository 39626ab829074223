"""What the photographs of a data set are, where they are not of 8-bit colours."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from segmentation.channels import read_bands

from prototxt.tasks import VOC_MEAN

SOME = 20
"""Photographs that are read for the mean."""
DEEP = {"uint8": 1.0, "uint16": 1 / 257}


@dataclass
class Bands:
    """The bands of photographs: count, what numbers are multiplied by, their mean after that."""

    count: int
    scale: float
    mean: list[float]
    notes: list[str] = field(default_factory=list)


def of_photographs(paths) -> Bands | None:
    """The Bands of some of the photographs `paths`; None for 8-bit colours or gray. Raises
    DataError."""
    some = paths[:: max(1, -(-len(paths) // SOME))]
    if not some or not some[0].lower().endswith((".tif", ".tiff")):
        return None
    first = read_bands(some[0])
    count, kind = first.shape[2], str(first.dtype)
    if count in (1, 3) and kind == "uint8":
        return None
    arrays = [a for a in map(read_bands, some) if a.shape[2] == count]
    highest = max(float(np.nanmax(a)) for a in arrays)
    scale = DEEP.get(kind, 255 / highest if highest > 0 else 1.0)
    made = Bands(count, scale, [])
    if kind != "uint8":
        made.notes.append(
            f"numbers are {kind}, up to {highest:g} in {len(arrays)} photographs; pixel_scale "
            "is to bring them to about 0 to 255"
        )
    means = np.mean([np.nanmean(a.reshape(-1, count), axis=0, dtype=float) for a in arrays], axis=0)
    made.mean = [round(float(v) * scale, 3) for v in means]
    made.notes.append(
        "which bands are red, green and blue is not known: name them, as in channels = "
        '["red", "green", "blue", "nir"], and their weights are VGG\'s'
        + (f" (whose mean of blue, green, red is {', '.join(f'{v:.1f}' for v in VOC_MEAN)})")
    )
    return made
