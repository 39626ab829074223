"""HDF5 files of others, looked at before HDF5's library follows what they say.

A file may point to other files (external links, external or virtual storage) or claim arrays far
larger than itself; neither is what Caffe writes, and both are refused.
"""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import numpy as np

from caffe.errors import Error, InputError
from caffe.proto import kinds, not_utf8
from caffe.proto.encoding import MAX_AXES, Damaged
from caffe.proto.files import reason
from caffe.proto.opening import FileBytes

# No deflated array is smaller than this share of its size.
_DEFLATE_LIMIT = 1032

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

# A group's local heap: signature and version; size of its names, first free place, and where the
# names are. At a free place are the next one and this one's size.
_HEAP, _HEAP_NUMBERS, _FREE, _LAST_FREE = b"HEAP\0\0\0\0", "<QQQ", "<QQ", 1
_FREE_SIZE = struct.calcsize(_FREE)


def is_hdf5(path) -> bool:
    """Whether a file's first bytes are those of HDF5. Raises InputError if it cannot be read."""
    with FileBytes(path) as buf:
        return buf[: len(_SIGNATURE)] == _SIGNATURE


def h5py_package():
    """The package h5py. Raises Error, with what to install, where it is not there."""
    try:
        import h5py
    except ImportError:
        raise Error("HDF5 files need the package h5py: pip install h5py") from None
    return h5py


def _numbers(buf, start: int, form: str) -> tuple:
    return struct.unpack(form, buf[start : start + struct.calcsize(form)])


def _free_places(buf, heap: int, base: int):
    """The free places of the local heap at `heap`, one by one: without end where they are a ring.
    Addresses count from `base`. Raises Damaged where they are outside of it."""
    start = heap + len(_HEAP)
    if start + struct.calcsize(_HEAP_NUMBERS) > len(buf):
        return
    size, free, names = _numbers(buf, start, _HEAP_NUMBERS)
    names += base
    while free != _LAST_FREE:
        if free + _FREE_SIZE > size or names + free + _FREE_SIZE > len(buf):
            raise Damaged("has a list of free places that leads out of its heap")
        yield free
        free, _ = _numbers(buf, names + free, _FREE)


def _check_driver(buf) -> None:
    """Refuse a file made for another way of storing: HDF5's library takes the memory that such a
    description says it needs, and Caffe writes none."""
    start = _beginning(buf)
    if start + 64 > len(buf):
        raise OSError("it does not begin as one")
    place = {0: 48, 1: 52}.get(buf[start + 8])  # by the version; later ones have none here
    driver = buf[start + (place or 0) : start + (place or 0) + 8]
    if place and (buf[start + 13] != 8 or driver != b"\xff" * 8):
        raise Damaged("is stored in a way that Caffe does not use")


def structure_trouble(buf) -> str:
    """What `check_structure` finds wrong in the bytes of an HDF5 file; "" where that is nothing,
    and where they are no HDF5."""
    try:
        check_structure(buf)
    except Damaged as err:
        return str(err)
    except OSError:
        pass
    return ""


def _beginning(buf) -> int:
    """Where HDF5 begins: at 0, or behind a block of the user's (MATLAB's), as its library looks
    for it."""
    start = 0
    while start < len(buf) and buf[start : start + 8] != _SIGNATURE:
        start = max(512, 2 * start)
    return start


def check_structure(buf, heaps: bool = True) -> None:
    """Refuse bytes (``FileBytes`` or bytes) that HDF5's library would follow without end, or take
    memory for as it is told. Raises Damaged, OSError where they are no HDF5. Not `heaps`: without
    the search through all of them."""
    _check_driver(buf)
    if heaps:
        _check_heaps(buf)


def _check_heaps(buf) -> None:
    """Refuse a ring of free places: HDF5's library would follow it without end."""
    count, heap, base = 0, buf.find(_HEAP), _beginning(buf)
    while heap >= 0:
        for _ in _free_places(buf, heap, base):
            count += 1
            if count * _FREE_SIZE > len(buf):
                raise Damaged("has more free places than room for them")
        heap = buf.find(_HEAP, heap + 1)


@contextlib.contextmanager
def opened(path, what: str):
    name = not_utf8.path(path)
    with FileBytes(name) as buf:
        kinds.refuse(buf, name, f"an HDF5 {what}", kinds.HDF5)
    h5py = h5py_package()
    try:
        with FileBytes(name) as buf:
            check_structure(buf)
        with h5py.File(name, "r") as file:
            yield file
    except Damaged as err:
        raise InputError(f"{name}: {err}") from None
    except Error:
        raise
    except Exception as err:  # h5py raises many kinds for a damaged file
        raise InputError(f"{name}: is not an HDF5 {what}, or it is damaged: {reason(err)}") from err


def is_group(member) -> bool:
    return isinstance(member, h5py_package().Group)


def is_in_file(group, name: str) -> bool:
    """Whether the group's member `name`, maybe a path of several names, lies in its file: none of
    them is a link to elsewhere."""
    for part in filter(None, name.split("/")):
        if not isinstance(group.get(part, getlink=True), h5py_package().HardLink):
            return False
        group = group[part]
    return True


def children(group) -> list[tuple[str, Any]]:
    """The group's members by name; only those that lie in this file."""
    h5py = h5py_package()
    found = []
    for name in group:
        if not is_in_file(group, name):
            raise Damaged(f"'{group.name}/{name}' is a link to elsewhere, which is not followed")
        member = group[name]
        if not isinstance(member, (h5py.Group, h5py.Dataset)):
            raise Damaged(f"'{group.name}/{name}' is neither a group nor an array")
        found.append((name, member))
    # One object under several names could be a ring, or many times the file's size to read.
    if len({member.id for _, member in found} | {group.id}) != len(found) + 1:
        raise Damaged(f"'{group.name}' holds one object under several names")
    return found


def member_of(file, name: str):
    for found, member in children(file):
        if found == name:
            return member
    return None


def _is_compressed(dataset) -> bool:
    """Whether its numbers are; by one filter, as twice deflated they may grow a millionfold."""
    h5z = h5py_package().h5z
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    found = [f for f in filters if f in (h5z.FILTER_DEFLATE, h5z.FILTER_SZIP, h5z.FILTER_LZF)]
    if len(found) > 1:
        raise Damaged(f"'{dataset.name}' is compressed more than once")
    return bool(found)


class Room:
    """How many bytes a file has for numbers: arrays that lie upon each other would take more."""

    def __init__(self, file):
        self.left = file.id.get_filesize()

    def take(self, dataset) -> None:
        self.left -= dataset.id.get_storage_size()
        if self.left < 0:
            raise Damaged(f"'{dataset.name}' and the arrays before it are more than the file")


def check_storage(dataset) -> None:
    """Raise Damaged for a dataset that is stored elsewhere, or claims more than is stored."""
    where = f"'{dataset.name}'"
    if dataset.is_virtual or dataset.external:
        raise Damaged(f"{where} keeps its numbers in another file, which is not followed")
    if dataset.shape is None or dataset.ndim > MAX_AXES:
        raise Damaged(f"{where} is not an array of at most {MAX_AXES} axes")
    stored = dataset.id.get_storage_size()
    most = stored * (_DEFLATE_LIMIT if _is_compressed(dataset) else 1)
    chunk = dataset.chunks or ()
    if max(dataset.size, math.prod(chunk)) * dataset.dtype.itemsize > most:
        raise Damaged(f"{where} has shape {dataset.shape} but only {stored} bytes")
    # HDF5's library goes on without end where a piece has other axes than the array.
    if chunk and len(chunk) != dataset.ndim:
        raise Damaged(f"{where} has shape {dataset.shape} in pieces of shape {chunk}")


def array_of(dataset, room: Room) -> np.ndarray:
    if is_group(dataset):
        raise Damaged(f"'{dataset.name}' is a group, not an array")
    if dataset.dtype.kind not in "fiu":
        raise Damaged(f"'{dataset.name}' holds {dataset.dtype}, not numbers")
    check_storage(dataset)
    room.take(dataset)
    array = np.asarray(dataset[()], dtype=np.float32)
    array.flags.writeable = False
    return array
