"""HDF5 files, by the engine's guarded reader; under BVLC Caffe by h5py, with the guards that
matter most: numbers lie in the file itself, and are no more than it can hold."""

import re
from contextlib import contextmanager

import numpy as np

import caffe
from prototxt.opening import open_regular
from surgery.errors import SurgeryError

DEFLATED = 1032  # no deflated array is smaller than this share of its size


def is_hdf5(path) -> bool:
    """Whether a file's first bytes are those of HDF5."""
    with open_regular(path) as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read_arrays(path, *levels):
    """{names on the way: float32 array} of the arrays whose names fit, at each level, the regular
    expression for it. Raises SurgeryError."""
    engine = getattr(caffe, "engine", None)
    if engine is not None:
        try:
            return engine.read_hdf5_arrays(path, *levels)
        except engine.Error as error:
            raise SurgeryError(str(error)) from None
    with open_hdf5(path) as file:
        return dict(_below(path, file, levels, ()))


@contextmanager
def open_hdf5(path):
    """Context: the file, open for reading; what h5py raises of it becomes a SurgeryError."""
    try:
        import h5py
    except ImportError:
        raise SurgeryError(
            f"{path}: reading HDF5 needs the package h5py: pip install h5py"
        ) from None
    open_regular(path).close()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (SurgeryError, MemoryError):
        raise
    except Exception as error:  # h5py raises many kinds for a damaged file
        told = " ".join(str(error).split())
        raise SurgeryError(f"{path}: not a readable HDF5 file ({told})") from None


def _below(path, group, levels, names):
    for name in group:
        if not re.fullmatch(levels[0], name):
            continue
        member, place = own_member(path, group, name), (*names, name)
        if len(levels) > 1 and hasattr(member, "keys"):
            yield from _below(path, member, levels[1:], place)
        elif len(levels) == 1 and not hasattr(member, "keys"):
            yield place, numbers(path, member)


def own_member(path, group, name):
    """A group's member that lies in the file itself. Raises SurgeryError for a link elsewhere."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise SurgeryError(f"{path}: {group.name}/{name} is a link to elsewhere")
    return group[name]


def numbers(path, dataset):
    """An array's numbers as float32. Raises SurgeryError where they are not in the file."""
    if dataset.dtype.kind != "f":
        raise SurgeryError(f"{path}: {dataset.name} holds {dataset.dtype}, not floats")
    stored = dataset.id.get_storage_size() * (DEFLATED if dataset.compression else 1)
    if dataset.external or dataset.is_virtual or dataset.size * dataset.dtype.itemsize > stored:
        raise SurgeryError(f"{path}: the numbers of {dataset.name} are not in the file")
    return np.array(dataset, np.float32)
