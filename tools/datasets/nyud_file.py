"""NYUDv2's labelled file, `nyu_depth_v2_labeled.mat`, read frame by frame.

It is a MATLAB 7.3 file, that is HDF5 behind a 512-byte head. HDF5 stores MATLAB's arrays with
their axes reversed: `images` (480 x 640 x 3 x 1449 in MATLAB) is 1449 x 3 x 640 x 480 here.
"""

from __future__ import annotations

import contextlib
import os
from collections import namedtuple

import numpy as np

from prototxt.files import wrong_kind
from prototxt.opening import open_regular
from tools.common.cli import UserError

HEIGHT, WIDTH = 480, 640
MAX_MILLIMETRES = 65535  # what a 16-bit PNG holds
MAX_NAMES, MAX_NAME = 65535, 200  # labels are 16 bits; letters
MAX_CHUNK = 1 << 28  # bytes: HDF5 decompresses a whole chunk to read one frame of it
CACHE = 1 << 26  # bytes of chunks that HDF5 keeps per variable, where chunks span frames

# Per frame; `kind` is NumPy's dtype.kind.
VARIABLES = {
    "images": ("u", 1, (3, WIDTH, HEIGHT)),
    "depths": ("f", 8, (WIDTH, HEIGHT)),
    "rawDepths": ("f", 8, (WIDTH, HEIGHT)),
    "labels": ("u", 2, (WIDTH, HEIGHT)),
}

Frame = namedtuple("Frame", "rgb depth rawdepth labels")
Frame.__doc__ = """480 x 640: rgb uint8 (x 3), depth and rawdepth uint16 millimetres, labels uint16.

`depth` is filled in, `rawdepth` is 0 where the sensor saw nothing; label 0 is unlabelled, i is
names[i - 1].
"""


@contextlib.contextmanager
def open_labelled(path):
    """The checked h5py.File at `path`, for a `with` statement. Raises UserError."""
    import h5py

    with open_regular(path) as file:  # here, since h5py names no reason
        head = file.read(128)
    if head[:10] == b"MATLAB 5.0":
        raise UserError(f"{path}: a MATLAB 5 file; NYUDv2's labelled file is MATLAB 7.3 (HDF5)")
    if not h5py.is_hdf5(path):
        wrong = wrong_kind(path, "a MATLAB 7.3 (HDF5) file")
        raise UserError(f"{path}: {wrong or 'not a MATLAB 7.3 (HDF5) file'}; fetch it again")
    try:
        file = h5py.File(path, "r", rdcc_nbytes=CACHE, rdcc_nslots=10007)
    except OSError as error:
        size = os.path.getsize(path)
        told = f"cut off after {size} bytes" if "truncated" in str(error) else f"damaged ({error})"
        raise UserError(f"{path}: {told}; fetch it again") from None
    with file:
        _check(path, file)
        yield file


def _check(path, file):
    import h5py

    for name in (*VARIABLES, "names"):
        if not isinstance(file.get(name), h5py.Dataset):
            raise UserError(
                f"{path}: holds no variable {name!r}; is it nyu_depth_v2_labeled.mat (not the "
                "raw data, nor a part)?"
            )
    counts = {}
    for name, (kind, size, shape) in VARIABLES.items():
        data = file[name]
        if data.shape[1:] != shape or data.ndim != len(shape) + 1:
            wanted = " x ".join(map(str, ("N", *shape)))
            found = " x ".join(map(str, data.shape))
            raise UserError(f"{path}: {name} is {found}; expected {wanted} (MATLAB's reversed)")
        if data.dtype.kind != kind or data.dtype.itemsize > size:
            wanted = {"u": f"uint{8 * size}", "f": "single or double"}[kind]
            raise UserError(f"{path}: {name} holds {data.dtype}; expected {wanted}")
        if data.chunks and np.prod(data.chunks, dtype=np.int64) * data.dtype.itemsize > MAX_CHUNK:
            raise UserError(
                f"{path}: {name} is stored in pieces of {data.chunks}, above {MAX_CHUNK >> 20} "
                "MiB each; repack it (h5repack)"
            )
        counts[name] = len(data)
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(f"{path}: its variables differ in their number of frames: {text}")
    if not counts["images"]:
        raise UserError(f"{path}: holds no frames")


def frame_count(file):
    """The number of frames: 1449 in the published file."""
    return len(file["images"])


def read_names(path, file):
    """The class names, 894 in the published file: label i is the name at i - 1. UserError."""
    import h5py

    cell = file["names"]
    if h5py.check_ref_dtype(cell.dtype) is not h5py.Reference or cell.size > MAX_NAMES:
        raise UserError(f"{path}: names is no cell array of names ({cell.dtype}, {cell.shape})")
    names = []
    for number, reference in enumerate(cell[()].ravel(), 1):
        try:
            codes = file[reference]
            size = 0 if codes.attrs.get("MATLAB_empty", 0) else codes.size
            if not 0 < size <= MAX_NAME or codes.dtype.kind not in "ui":
                raise ValueError
            names.append("".join(chr(code) for code in codes[()].ravel()))
        except (ValueError, KeyError, AttributeError, OverflowError):
            raise UserError(f"{path}: names{{{number}}} is not a name") from None
    return names


def read_frame(path, file, index):
    """Frame number `index`, from 0, as a Frame. Raises UserError."""
    values = {name: _read(path, file, name, index) for name in VARIABLES}
    return Frame(
        rgb=np.ascontiguousarray(values["images"].transpose(2, 1, 0)),
        depth=millimetres(values["depths"].T, f"{path}: depths of frame {index + 1}"),
        rawdepth=millimetres(_known(values["rawDepths"].T), f"{path}: rawDepths of {index + 1}"),
        labels=np.ascontiguousarray(values["labels"].T),
    )


def read_labels(path, file, index):
    """The labels alone of frame number `index`, from 0, as in Frame. Raises UserError."""
    return _read(path, file, "labels", index).T


def _read(path, file, name, index):
    try:
        return file[name][index]
    except OSError as error:
        raise UserError(
            f"{path}: {name} of frame {index + 1} cannot be read ({error}); fetch it again"
        ) from None


def _known(depth):
    return np.where(np.isfinite(depth), depth, 0)


def millimetres(depth, what):
    """Metres (H x W float) as uint16 millimetres, to the nearest. Raises UserError naming `what`.

    65.535 m is the most that 16 bits hold; NYUDv2's depths end at 10 m.
    """
    scaled = np.rint(np.asarray(depth, np.float64) * 1000)
    wrong = ~((scaled >= 0) & (scaled <= MAX_MILLIMETRES))  # NaN too
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f"{what}: {depth[row, column]:g} m at row {row}, column {column}; expected 0 to "
            f"{MAX_MILLIMETRES / 1000} m"
        )
    return np.ascontiguousarray(scaled, np.uint16)
