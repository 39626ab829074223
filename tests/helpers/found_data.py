"""Data sets as people have them, small, each in another layout, with the labels that are meant."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

NAMES = ("sky", "road", "car")
SIZE = 8, 10


def truth(seed, void=True):
    """H x W class numbers of a seed: columns of each class, and a void corner."""
    label = np.repeat(np.arange(10) * 3 // 10, 8).reshape(10, 8).T.astype(np.uint8)
    label = np.roll(label, seed, axis=1)
    if void:
        label[:2, :2] = 255
    return label


def photograph(path, seed, ending=".jpg"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.random.RandomState(seed).randint(0, 256, (*SIZE, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(f"{path}{ending}")


def mask(path, label, colours=None, mode="RGB"):
    """A label as a PNG: its numbers, or `colours`, {number: colour}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if colours is None:
        Image.fromarray(label).save(f"{path}.png")
        return
    rgb = np.zeros((*label.shape, 3), np.uint8)
    for number, colour in colours.items():
        rgb[label == number] = colour
    image = Image.fromarray(rgb)
    (image.quantize(16) if mode == "P" else image.convert(mode)).save(f"{path}.png")


def box_of(label, number):
    """(left, top, right, bottom) of the columns of a class that lie together, or None."""
    columns = np.flatnonzero((label == number).any(axis=0))
    if not len(columns) or columns[-1] - columns[0] + 1 != len(columns):
        return None
    return int(columns[0]), 0, int(columns[-1]) + 1, label.shape[0]


def drawn(label, names=NAMES):
    """([(name, box)], the label that they draw, void where there is none)."""
    boxes = [(name, box_of(label, i)) for i, name in enumerate(names)]
    boxes = [(name, box) for name, box in boxes if box]
    made = np.full(label.shape, 255, np.uint8)
    for name, (left, top, right, bottom) in boxes:
        made[top:bottom, left:right] = names.index(name)
    return boxes, made


def labelme(path, label, size=SIZE):
    """A labelme file of boxes; returns the label that they draw."""
    boxes, made = drawn(label)
    shapes = [
        {"label": name, "shape_type": "rectangle", "points": [box[:2], box[2:]], "flags": {}}
        for name, box in boxes
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / f"{path.name}.json").write_text(json.dumps(
        {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{path.name}.jpg",
         "imageData": None, "imageHeight": size[0], "imageWidth": size[1]}
    ))  # fmt: skip
    return made


def coco(path, labels, folder=""):
    """A COCO file of boxes as run lengths for {id: label}; {id: the label that they draw}."""
    images, annotations, made = [], [], {}
    for number, (name, label) in enumerate(labels.items(), 100):
        boxes, made[name] = drawn(label)
        height, width = label.shape
        images.append(
            {"id": number, "file_name": f"{folder}{name}.jpg", "height": height, "width": width}
        )
        for thing, (left, _, right, _) in boxes:
            counts = [left * height, (right - left) * height, (width - right) * height]
            annotations.append({
                "id": len(annotations), "image_id": number, "iscrowd": 0,
                "category_id": NAMES.index(thing) + 1,
                "segmentation": {"size": [height, width], "counts": counts},
            })  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(
        {"images": images, "annotations": annotations, "categories": categories}
    ))  # fmt: skip
    return made


def cvat(path, labels):
    """A CVAT file of boxes for {id: label}; {id: the label that they draw}."""
    text, made = "", {}
    for number, (name, label) in enumerate(labels.items()):
        boxes, made[name] = drawn(label)
        inside = "".join(
            f'<box label="{thing}" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"/>'
            for thing, (left, top, right, bottom) in boxes
        )
        text += (f'<image id="{number}" name="{name}.jpg" width="{label.shape[1]}" '
                 f'height="{label.shape[0]}">{inside}</image>')  # fmt: skip
    path.write_text(f"<annotations><version>1.1</version>{text}</annotations>")
    return made
