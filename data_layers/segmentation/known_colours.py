"""Palettes that masks of published data sets are drawn in: class → its colours."""

from __future__ import annotations

import numpy as np

Palette = dict[str, tuple[tuple[int, int, int], ...]]
VOC, VOC_COUNT = "PASCAL VOC", 21


def voc_palette(count=256):
    """The VOC colour map: count x 3 uint8 RGB.

    Bits 0, 1, 2 of the class number are the top bits of red, green, blue, bits 3, 4, 5 the next
    lower ones, and so on (PASCAL VOC development kit, `VOClabelcolormap`).
    """
    labels = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for level in range(3):
        for channel in range(3):
            bit = labels >> (3 * level + channel) & 1
            colours[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colours


def _voc() -> Palette:
    """The classes by their numbers: their names are a task's."""
    colours = [tuple(colour) for colour in voc_palette(VOC_COUNT).tolist()]
    return {**{str(i): (c,) for i, c in enumerate(colours)}, "void": ((224, 224, 192),)}


CAMVID_32: Palette = {
    "Animal": ((64, 128, 64),), "Archway": ((192, 0, 128),), "Bicyclist": ((0, 128, 192),),
    "Bridge": ((0, 128, 64),), "Building": ((128, 0, 0),), "Car": ((64, 0, 128),),
    "CartLuggagePram": ((64, 0, 192),), "Child": ((192, 128, 64),),
    "Column_Pole": ((192, 192, 128),), "Fence": ((64, 64, 128),),
    "LaneMkgsDriv": ((128, 0, 192),), "LaneMkgsNonDriv": ((192, 0, 64),),
    "Misc_Text": ((128, 128, 64),), "MotorcycleScooter": ((192, 0, 192),),
    "OtherMoving": ((128, 64, 64),), "ParkingBlock": ((64, 192, 128),),
    "Pedestrian": ((64, 64, 0),), "Road": ((128, 64, 128),), "RoadShoulder": ((128, 128, 192),),
    "Sidewalk": ((0, 0, 192),), "SignSymbol": ((192, 128, 128),), "Sky": ((128, 128, 128),),
    "SUVPickupTruck": ((64, 128, 192),), "TrafficCone": ((0, 0, 64),),
    "TrafficLight": ((0, 64, 64),), "Train": ((192, 64, 128),), "Tree": ((128, 128, 0),),
    "Truck_Bus": ((192, 128, 192),), "Tunnel": ((64, 0, 64),), "VegetationMisc": ((192, 192, 0),),
    "Wall": ((64, 192, 0),), "void": ((0, 0, 0),),
}  # fmt: skip
"""Brostow, Fauqueur, Cipolla 2009."""

CAMVID_11: Palette = {
    "sky": ((128, 128, 128),), "building": ((128, 0, 0),), "pole": ((192, 192, 128),),
    "road": ((128, 64, 128), (255, 69, 0)), "pavement": ((60, 40, 222),), "tree": ((128, 128, 0),),
    "sign": ((192, 128, 128),), "fence": ((64, 64, 128),), "car": ((64, 0, 128),),
    "pedestrian": ((64, 64, 0),), "bicyclist": ((0, 128, 192),), "void": ((0, 0, 0),),
}  # fmt: skip
"""SegNet's; its markings on the road are road."""

CITYSCAPES: Palette = {
    "road": ((128, 64, 128),), "sidewalk": ((244, 35, 232),), "building": ((70, 70, 70),),
    "wall": ((102, 102, 156),), "fence": ((190, 153, 153),), "pole": ((153, 153, 153),),
    "traffic light": ((250, 170, 30),), "traffic sign": ((220, 220, 0),),
    "vegetation": ((107, 142, 35),), "terrain": ((152, 251, 152),), "sky": ((70, 130, 180),),
    "person": ((220, 20, 60),), "rider": ((255, 0, 0),), "car": ((0, 0, 142),),
    "truck": ((0, 0, 70),), "bus": ((0, 60, 100),), "train": ((0, 80, 100),),
    "motorcycle": ((0, 0, 230),), "bicycle": ((119, 11, 32),),
    "void": ((0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140),
             (180, 165, 180), (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110)),
}  # fmt: skip
"""The 19 classes that are scored; the others' colours are void (Cordts et al. 2016)."""

CITYSCAPES_IDS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip
"""The values of *_labelIds.png."""

KNOWN: dict[str, Palette] = {
    VOC: _voc(),
    "CamVid, 11 classes": CAMVID_11,
    "CamVid, 32 classes": CAMVID_32,
    "Cityscapes": CITYSCAPES,
}


def recognised(colours) -> str | None:
    """The name of the palette in KNOWN that has all of `colours`, (red, green, blue) each; of
    several the one with fewest others. None where none has, or where they are black and white."""
    seen = set(colours)
    if not any(len(set(colour)) > 1 for colour in seen):
        return None
    fitting = []
    for name, palette in KNOWN.items():
        known = {colour for each in palette.values() for colour in each}
        if seen <= known:
            fitting.append((len(known - seen), name))
    return min(fitting)[1] if fitting else None
