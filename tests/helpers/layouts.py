"""Writers of the real file formats, and the little data sets that the fixtures lay out."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

MEAN = (104.00698793, 116.66876762, 122.67891434)
SIZES = [(9, 12), (8, 8), (11, 7), (6, 10), (7, 13)]


class DataSet:
    """`ids`, and per id the `images` (RGB as decoded) and `labels` that were written."""

    def __init__(self, root, params):
        self.root, self.params = root, params
        self.ids, self.images, self.labels = [], {}, {}
        self.depths, self.hhas = {}, {}  # NYUDv2's


def refused(call, *parts):
    """Assert that call() raises an error of exit code 2 in one line holding every part."""
    with pytest.raises(Exception) as caught:
        call()
    message = str(caught.value)
    assert getattr(caught.value, "exit_code", None) == 2, repr(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


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


def write_list(path, names):
    """Lines 'id: name', ids from 1."""
    path.write_text("".join(f"{i}: {name}\n" for i, name in enumerate(names, 1)))


def write_mat73(path, variables, **storage):
    """A MATLAB 7.3 file: HDF5 behind a header of 512 bytes, every array transposed.

    A dict is a struct, a list of dicts an array of structs; `storage` goes to create_dataset.
    """
    storage = storage or {"chunks": True, "compression": "gzip", "compression_opts": 3}

    def put(group, name, value, root):
        if isinstance(value, dict):
            struct = group.create_group(name)
            struct.attrs["MATLAB_class"] = np.bytes_("struct")
            for field, inner in value.items():
                put(struct, field, inner, root)
        elif isinstance(value, list):
            struct = group.create_group(name)
            for field in value[0]:
                refs = []
                for element in value:
                    place = str(len(root.require_group("#refs#")))
                    put(root["#refs#"], place, element[field], root)
                    refs.append([root["#refs#"][place].ref])
                struct.create_dataset(field, data=np.array(refs, h5py.ref_dtype))
        else:
            made = group.create_dataset(name, data=np.asarray(value).T, **storage)
            made.attrs["MATLAB_class"] = np.bytes_(np.asarray(value).dtype.name)

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            put(file, name, value, file)
    mark_as_mat73(path)


def mark_as_mat73(path):
    """MATLAB's text and version into the first 512 bytes of an HDF5 file, which are free for it."""
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 05 HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(text.ljust(116) + bytes(8) + b"\x00\x02IM")
