"""Small files in the real formats that the data layers read."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from caffe.proto import caffe_pb2


def pixels(seed, height, width, channels=3):
    """Random uint8 (height, width, channels), or (height, width) for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def scene(seed, height, width):
    """Smooth colours, as a photograph has them: uint8 (height, width, 3)."""
    small = Image.fromarray(pixels(seed, 4, 5))
    return np.asarray(small.resize((width, height), Image.BICUBIC))


def bilinear(array, axis, size):
    """`array` with another number of pixels along an axis, in floats; pixels are squares."""
    have = array.shape[axis]
    at = (np.arange(size) + 0.5) * have / size - 0.5
    return np.apply_along_axis(lambda row: np.interp(at, np.arange(have), row), axis, array)


def encoded(array, format="PNG", **more):
    """The bytes of a picture file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, **more)
    return file.getvalue()


def datum(array, label=0):
    """A Datum of (channels, height, width): bytes if it is uint8, floats otherwise."""
    made = caffe_pb2.Datum(label=label)
    made.channels, made.height, made.width = array.shape
    if array.dtype == np.uint8:
        made.data = array.tobytes()
    else:
        made.float_data.extend(array.ravel().tolist())
    return made


def encoded_datum(data, label=0):
    return caffe_pb2.Datum(data=data, label=label, encoded=True)


def open_databases(folder):
    """The real paths of the LMDB databases in or below `folder` that this process has open, one
    for each time. Needs /proc."""
    files = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            files.append(os.readlink(f"/proc/self/fd/{number}"))
    places = [os.path.dirname(file) for file in files if os.path.basename(file) == "data.mdb"]
    inside = os.path.join(os.path.realpath(folder), "")
    return sorted(place for place in places if os.path.join(place, "").startswith(inside))


def need_lmdb():
    """The package lmdb; the test is skipped where it is not installed."""
    return pytest.importorskip("lmdb", reason="LMDB databases need the package lmdb")


def write_lmdb(path, values):
    """An LMDB of these Datums (or bytes), under the keys 00000000, 00000001, ... A test that
    asks for it is skipped where the package lmdb is not installed."""
    lmdb = need_lmdb()
    with lmdb.open(str(path), map_size=2**24) as env, env.begin(write=True) as transaction:
        for i, value in enumerate(values):
            data = value if isinstance(value, bytes) else value.SerializeToString()
            transaction.put(b"%08d" % i, data)
    return str(path)


def lmdb_for_later(path, values):
    """`write_lmdb` for tables that are made when a test's file is imported: without the package
    lmdb nothing is there, and who reads it calls `need_lmdb` first."""
    with contextlib.suppress(pytest.skip.Exception):
        write_lmdb(path, values)
    return str(path)


def write_leveldb(path, datums):
    """A LevelDB of these Datums, under the keys of `write_lmdb`; needs the package plyvel."""
    import plyvel

    with plyvel.DB(str(path), create_if_missing=True) as database:
        for i, value in enumerate(datums):
            database.put(b"%08d" % i, value.SerializeToString())
    return str(path)


def write_mean(path, array):
    """A binaryproto of (channels, height, width), as Caffe's compute_image_mean writes it."""
    proto = caffe_pb2.BlobProto(num=1, data=np.ravel(array).tolist())
    proto.channels, proto.height, proto.width = array.shape
    path.write_bytes(proto.SerializeToString())
    return str(path)


def write_hdf5(path, **arrays):
    import h5py

    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return str(path)


def write_pictures(folder, arrays, suffix=".png", **more):
    """Picture files 0.png, 1.png, ... and list.txt beside them; the list's path."""
    lines = []
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{i}{suffix}", **more)
        lines.append(f"{folder / f'{i}{suffix}'} {i}\n")
    (folder / "list.txt").write_text("".join(lines))
    return str(folder / "list.txt")


def write_windows(path, pictures):
    """A window file of [(picture's path, (height, width), [(label, overlap, x1, y1, x2, y2)])]."""
    text = ""
    for i, (name, size, windows) in enumerate(pictures):
        text += f"# {i}\n{name}\n3\n{size[0]}\n{size[1]}\n{len(windows)}\n"
        text += "".join(" ".join(map(str, window)) + "\n" for window in windows)
    path.write_text(text)
    return str(path)


def batches(net, times):
    """The net's next `times` batches, each {blob's name: array}."""
    found = []
    for _ in range(times):
        net.forward()
        found.append({name: blob.data.copy() for name, blob in net.blobs.items()})
    return found
