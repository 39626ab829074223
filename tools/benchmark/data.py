"""Photographs for the bench to score: made up, or the first of a data set in VOC's layout."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from prototxt.tasks import VOID
from tools.common.cli import UserError
from tools.common.pictures import save_indexed

HEIGHT, WIDTH, CLASSES = 375, 500, 21
LISTS = os.path.join("ImageSets", "Segmentation")


def made_up(folder, count):
    """Write `count` photographs of 375 x 500 and their labels in VOC's layout under `folder`."""
    for name in ("JPEGImages", "SegmentationClass"):
        os.makedirs(os.path.join(folder, name))
    random = np.random.RandomState(0)
    for k in range(count):
        coarse = random.randint(0, 256, (24, 32, 3)).astype(np.uint8)
        rgb = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.BICUBIC), np.int16)
        rgb = np.clip(rgb + random.randint(-9, 10, rgb.shape), 0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(os.path.join(folder, f"JPEGImages/{k}.jpg"), quality=90)
        blocks = random.randint(0, CLASSES, (8, 10)).astype(np.uint8)
        label = np.array(Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.NEAREST))
        label[:5], label[:, :5] = VOID, VOID
        save_indexed(os.path.join(folder, f"SegmentationClass/{k}.png"), label)
    return folder, [str(k) for k in range(count)]


def first_of(root, count):
    """The ids of the first `count` photographs of the split val of a data set in VOC's layout."""
    path = os.path.join(root, LISTS, "val.txt")
    try:
        with open(path, encoding="utf-8") as file:
            ids = file.read().split()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"--data {root}: {path} cannot be read; VOC's layout is expected") from None
    if not ids:
        raise UserError(f"--data {root}: {path} names no photographs")
    return os.path.abspath(root), ids[:count]


def score_source(folder, data, count):
    """(parameters for the data layer, number of photographs); the list goes to `folder`."""
    root, ids = first_of(data, count) if data else made_up(os.path.join(folder, "voc"), count)
    with open(os.path.join(folder, "bench.txt"), "w", encoding="utf-8") as file:
        file.write("".join(f"{name}\n" for name in ids))
    return {"voc_dir": root, "split": "bench", "split_dir": folder}, len(ids)
