"""Small data sets in the published layouts, and defects to plant in them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image
from scipy.io import savemat

CLASSES = ("sky", "road", "car", "tree")
TRAIN, VAL = ["a1", "a2", "a3", "a4", "a5"], ["b1", "b2", "b3"]
IMAGES, LABELS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"

NET = (
    'layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{'
    ' module: "{module}" layer: "{layer}" param_str: "{params}" }} }}\n'
)


def picture(seed, size=(24, 31)):
    """(RGB, label) of a seed: no two alike; the label has every class, and void."""
    rng = np.random.RandomState(seed)
    label = rng.randint(0, len(CLASSES), size).astype(np.uint8)
    label[0, :3] = 255
    return rng.randint(0, 256, (*size, 3)).astype(np.uint8), label


def save_palette(path, label):
    image = Image.fromarray(label)
    image.putpalette([v for i in range(256) for v in (i, 255 - i, i // 2)])
    image.save(path)


def write_voc(root, **splits):
    """A data set in VOC layout with the ids of each split."""
    for folder in (IMAGES, LABELS, LISTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(sorted(set().union(*splits.values()))):
        rgb, label = picture(seed)
        Image.fromarray(rgb).save(root / IMAGES / f"{name}.jpg")
        save_palette(root / LABELS / f"{name}.png", label)
    for split, ids in splits.items():
        (root / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids))
    return root


def write_sbd(root, **splits):
    """A data set in SBD layout (its `dataset` folder)."""
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(sorted(set().union(*splits.values())), 1000):
        rgb, label = picture(seed)
        Image.fromarray(rgb).save(root / "img" / f"{name}.jpg")
        record = np.zeros((1, 1), [("Boundaries", object), ("Segmentation", object)])
        record["Boundaries"][0, 0], record["Segmentation"][0, 0] = np.zeros((2, 1)), label
        savemat(root / "cls" / f"{name}.mat", {"GTcls": record}, do_compression=True)
    for split, ids in splits.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids))
    return root


def write_nyud(root, **splits):
    """NYUDv2 as Gupta et al. lay it out: colour, depth, HHA, labels of 40 classes."""
    for folder in ("data/images", "data/depth", "data/hha", "segmentation"):
        (root / folder).mkdir(parents=True)
    for seed, name in enumerate(sorted(set().union(*splits.values())), 2000):
        rgb, label = picture(seed)
        Image.fromarray(rgb).save(root / f"data/images/img_{name}.png")
        Image.fromarray(rgb[::-1]).save(root / f"data/hha/img_{name}.png")
        depth = rgb[..., 0].astype(np.uint16) + 1000
        Image.frombytes("I;16", depth.shape[::-1], depth.tobytes()).save(
            root / f"data/depth/img_{name}.png"
        )
        savemat(root / f"segmentation/img_{name}.mat", {"segmentation": np.minimum(label, 40)})
    for split, ids in splits.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids))
    return root


def write_context(voc, context, **splits):
    """Pascal-Context: VOC2010's photographs in `voc`, labels and their names in `context`."""
    for folder in (voc / "JPEGImages", voc / "ImageSets/Main", context / "trainval"):
        folder.mkdir(parents=True)
    names = [f"thing{k}" for k in range(1, 81)]
    numbered = [f"{k}: {name}\n" for k, name in enumerate(names, 1)]
    (context / "labels.txt").write_text("".join(numbered))
    (context / "59_labels.txt").write_text("".join(numbered[:59]))
    for seed, name in enumerate(sorted(set().union(*splits.values())), 3000):
        rgb, label = picture(seed)
        Image.fromarray(rgb).save(voc / f"JPEGImages/{name}.jpg")
        fine = np.minimum(label, 80).astype(np.uint16)
        savemat(context / f"trainval/{name}.mat", {"LabelMap": fine}, do_compression=True)
    for split, ids in splits.items():
        (voc / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in ids))
    return context


def write_toml(path, root, **data):
    """A user's TOML for the VOC layout at `root`."""
    more = "".join(f'{key} = "{value}"\n' for key, value in data.items())
    path.write_text(
        f'name = "small"\nclasses = {list(CLASSES)}\n[data]\nroot = "{root}"\n{more}'
        "[training]\nbase_lr = 1e-10\niterations = 1\n"
    )
    return path


def net(path, split, module="voc_layers", layer="VOCSegDataLayer", include="", **params):
    """Write a net that has only a data layer; returns its path."""
    text = NET.format(module=module, layer=layer, params={"split": split, **params})
    path.write_text(text.replace("python_param", f"{include} python_param", 1))
    return str(path)


def missing(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def not_a_picture(path):
    path.write_bytes(b"<html>404</html>" * 20)


def too_large(path):
    """The head of a PNG of 10^10 pixels: to be refused before memory is taken."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 0, 0, 0, 0)
    head = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 0) + b"IDAT")


def without_its_end(path):
    """A PNG less its last chunk; its pixels are all there."""
    path.write_bytes(path.read_bytes()[:-12])


def flipped_checksum(path):
    """A PNG whose IDAT chunk does not have the checksum that it names."""
    data = bytearray(path.read_bytes())
    place = data.index(b"IDAT")
    length = struct.unpack(">I", data[place - 4 : place])[0]
    data[place + 4 + length] ^= 1
    path.write_bytes(data)


def other_size(path):
    save_palette(path, picture(5, (24, 30))[1])


def out_of_range(path):
    label = picture(6)[1]
    label[3, 4] = 77
    save_palette(path, label)


def in_colours(path):
    Image.fromarray(picture(7)[0]).save(path, "PNG")


def other_size_and_out_of_range(path):
    label = picture(6, (24, 30))[1]
    label[3, 4] = 77
    save_palette(path, label)


IMAGE_DEFECTS = {
    # defect: words of what is reported, one string for each row
    missing: ["no such image"],
    empty: ["the file is empty"],
    truncated: ["fetch it again"],
    not_a_picture: ["not a JPEG/PNG/BMP"],
    too_large: ["pixels; scale it down"],
}

LABEL_DEFECTS = {
    missing: ["no such"],
    empty: ["the file is empty"],
    truncated: ["fetch it again"],
    not_a_picture: ["not a PNG picture"],
    too_large: ["pixels; scale it down"],
    without_its_end: ["cut off"],
    flipped_checksum: ["checksum of 'IDAT'"],
    in_colours: ["RGB colours"],
    out_of_range: ["label 77 at row 3, column 4"],
    other_size: ["must be of one size"],
    other_size_and_out_of_range: ["must be of one size", "label 77 at row 3, column 4"],
}
