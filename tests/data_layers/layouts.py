"""Writers of the real file formats, and the little data sets that the fixtures lay out."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.io import savemat

MEAN = (104.00698793, 116.66876762, 122.67891434)
SIZES = [(9, 12), (8, 8), (11, 7), (6, 10), (7, 13)]


class DataSet:
    """`ids`, and per id the `images` (RGB as decoded) and `labels` that were written."""

    def __init__(self, root, params):
        self.root, self.params = root, params
        self.ids, self.images, self.labels = [], {}, {}


def pictures(seed=0):
    rng = np.random.RandomState(seed)
    for number, (height, width) in enumerate(SIZES):
        label = rng.randint(0, 21, (height, width)).astype(np.uint8)
        label[0, 0] = 255
        yield f"2007_{number:06d}", rng.randint(0, 256, (height, width, 3)).astype(np.uint8), label


def write_jpeg(path, rgb):
    Image.fromarray(rgb).save(path, quality=95)
    with Image.open(path) as image:
        return np.asarray(image)


def write_palette(path, label):
    image = Image.fromarray(label)
    image.putpalette([v for i in range(256) for v in (i, 255 - i, i // 2)])  # L becomes P
    image.save(path)


def write_sbd_label(path, label):
    record = np.zeros((1, 1), [(n, object) for n in ("Boundaries", "Segmentation")])
    record["Boundaries"][0, 0] = np.zeros((20, 1))
    record["Segmentation"][0, 0] = label
    savemat(path, {"GTcls": record}, do_compression=True)
