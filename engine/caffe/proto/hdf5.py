"""Caffe's HDF5 caffemodels and solverstates (``snapshot_format: HDF5``).

A caffemodel holds ``/data/<layer>/<index>`` (and ``/diff/...``), a solverstate ``iter``,
``learned_net``, ``current_step`` and ``/history/<index>``. A blob shared by several layers is
stored with its owner alone. h5py is imported when the first such file is met.

A file may point to other files (external links, external or virtual storage) or claim arrays far
larger than itself; neither is what Caffe writes, and both are refused.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe.errors import Error, InputError
from caffe.proto import not_utf8
from caffe.proto.encoding import MAX_AXES, Damaged
from caffe.proto.files import atomic_write, map_file, reason
from caffe.proto.wire import LayerWeights, SolverState

# No deflated array is smaller than this share of its size.
_DEFLATE_LIMIT = 1032

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

# A group's local heap: signature and version; size of its names, first free place, and where the
# names are. At a free place are the next one and this one's size.
_HEAP, _HEAP_NUMBERS, _FREE, _LAST_FREE = b"HEAP\0\0\0\0", "<QQQ", "<QQ", 1
_FREE_SIZE = struct.calcsize(_FREE)


def is_hdf5(path) -> bool:
    """Caffe tells the formats apart by the name alone: HDF5 ends in ``.h5``."""
    return os.fspath(path).endswith(".h5")


def h5py_package():
    """The package h5py. Raises Error, with what to install, where it is not there."""
    try:
        import h5py
    except ImportError:
        raise Error("HDF5 files need the package h5py: pip install h5py") from None
    return h5py


def _free_places(buf, heap: int):
    """The free places of the local heap at `heap`, one by one: without end where they are a ring.
    Raises Damaged where they are outside of it."""
    start = heap + len(_HEAP)
    if start + struct.calcsize(_HEAP_NUMBERS) > len(buf):
        return
    size, free, names = struct.unpack_from(_HEAP_NUMBERS, buf, start)
    while free != _LAST_FREE:
        if free + _FREE_SIZE > size or names + free + _FREE_SIZE > len(buf):
            raise Damaged("has a list of free places that leads out of its heap")
        yield free
        free, _ = struct.unpack_from(_FREE, buf, names + free)


def _check_driver(buf) -> None:
    """Refuse a file made for another way of storing: HDF5's library takes the memory that such a
    description says it needs, and Caffe writes none."""
    if buf[:8] != _SIGNATURE or len(buf) < 64:
        raise OSError("it does not begin as one")
    place = {0: 48, 1: 52}.get(buf[8])  # by the version; later ones have none here
    if place and (buf[13] != 8 or buf[place : place + 8] != b"\xff" * 8):
        raise Damaged("is stored in a way that Caffe does not use")


def _check_heaps(buf) -> None:
    """Refuse a ring of free places: HDF5's library would follow it without end."""
    count, heap = 0, buf.obj.find(_HEAP)  # the map's own `find`
    while heap >= 0:
        for _ in _free_places(buf, heap):
            count += 1
            if count * _FREE_SIZE > len(buf):
                raise Damaged("has more free places than room for them")
        heap = buf.obj.find(_HEAP, heap + 1)


@contextlib.contextmanager
def _opened(path, what: str):
    name = not_utf8.path(path)
    buf = map_file(name)
    h5py = h5py_package()
    try:
        _check_driver(buf)
        _check_heaps(buf)
        with h5py.File(name, "r") as file:
            yield file
    except Damaged as err:
        raise InputError(f"{name}: {err}") from None
    except Error:
        raise
    except Exception as err:  # h5py raises many kinds for a damaged file
        raise InputError(f"{name}: is not an HDF5 {what}, or it is damaged: {reason(err)}") from err


def _children(group) -> list[tuple[str, Any]]:
    """The group's members by name; only those that lie in this file."""
    h5py = h5py_package()
    found = []
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise Damaged(f"'{group.name}/{name}' is a link to elsewhere, which is not followed")
        member = group[name]
        if not isinstance(member, (h5py.Group, h5py.Dataset)):
            raise Damaged(f"'{group.name}/{name}' is neither a group nor an array")
        found.append((name, member))
    # One object under several names could be a ring, or many times the file's size to read.
    if len({member.id for _, member in found} | {group.id}) != len(found) + 1:
        raise Damaged(f"'{group.name}' holds one object under several names")
    return found


def _member(file, name: str):
    for found, member in _children(file):
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


class _Room:
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


def _array(dataset, room: _Room) -> np.ndarray:
    if _is_group(dataset):
        raise Damaged(f"'{dataset.name}' is a group, not an array")
    if dataset.dtype.kind != "f":
        raise Damaged(f"'{dataset.name}' holds {dataset.dtype}, not floats")
    check_storage(dataset)
    room.take(dataset)
    array = np.asarray(dataset[()], dtype=np.float32)
    array.flags.writeable = False
    return array


def _indexed(group, room: _Room) -> list:
    """A group's arrays by their index; None where an index is missing (a shared blob)."""
    found: dict[int, np.ndarray] = {}
    for name, member in _children(group):
        # An index beyond the members would only be a gap; it must not become a huge list.
        if not name.isdecimal() or int(name) > 2 * len(group) + MAX_AXES:
            raise Damaged(f"'{group.name}/{name}' is not a blob's index")
        found[int(name)] = _array(member, room)
    return [found.get(i) for i in range(max(found, default=-1) + 1)]


def _is_group(member) -> bool:
    return isinstance(member, h5py_package().Group)


def _layers(group, prefix: str, above: set, room: _Room):
    """(layer name, arrays) of all groups that hold arrays; a name may contain slashes.

    ``above`` is the set of groups met so far.
    """
    for name, member in _children(group):
        if not _is_group(member):
            raise Damaged(f"'{group.name}/{name}' is not a group")
        if member.id in above:
            raise Damaged(f"'{group.name}/{name}' is a group that the file has elsewhere too")
        above.add(member.id)
        inner = _children(member)
        if any(_is_group(child) for _, child in inner):
            yield from _layers(member, f"{prefix}{name}/", above, room)
        else:
            yield prefix + name, _indexed(member, room)


def read_weights_hdf5(path) -> list[LayerWeights]:
    """The layers of an HDF5 caffemodel: (name, "", [(shape, float32 array)]), read into memory.

    The type is not stored. An index that the file leaves out, because another layer owns that
    blob, gives None in the pair's place. Raises InputError naming the file and the array.
    """
    with _opened(path, "caffemodel") as file:
        data = _member(file, "data")
        if data is None or not _is_group(data):
            raise Damaged("has no group 'data'; is it a caffemodel?")
        return [
            LayerWeights(name, "", [None if a is None else (a.shape, a) for a in arrays])
            for name, arrays in _layers(data, "", {data.id}, _Room(file))
        ]


@contextlib.contextmanager
def _created(path):
    """Context: an HDF5 file made in memory; its bytes take ``path``'s place at the end.

    Not made on disk: where a write fails, HDF5's library crashes the process when it closes.
    """
    buffer = io.BytesIO()
    with h5py_package().File(buffer, "w") as file:
        yield file
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def _put(group, name: str, array) -> None:
    values = np.asarray(array, dtype="<f4")
    group.create_dataset(name, data=values)


def write_weights_hdf5(
    path, layers: Sequence[tuple[str, Sequence]], diffs: Sequence[tuple[str, Sequence]] = ()
) -> None:
    """Write an HDF5 caffemodel from pairs (layer name, arrays), stored as float32.

    ``diffs`` are the gradients in the same form, where they are to be stored too. An entry None
    among the arrays (a blob that another layer owns) is left out. Atomic; Error where it fails.
    """
    with _created(path) as file:
        for root, pairs in (("data", layers), ("diff", diffs)):
            if root == "diff" and not pairs:
                continue
            top = file.create_group(root)
            for name, arrays in pairs:
                group = top.require_group(name)
                for i, array in enumerate(arrays):
                    if array is not None:
                        _put(group, str(i), array)


def _integer(file, name: str) -> int:
    member = _member(file, name)
    if member is None or _is_group(member) or member.dtype.kind not in "iu" or member.size != 1:
        raise Damaged(f"has no whole number '{name}'; is it a solverstate?")
    check_storage(member)
    value = int(np.asarray(member[()]).reshape(-1)[0])
    if not 0 <= value < 1 << 31:
        raise Damaged(f"'{name}' is {value}, out of range")
    return value


def _string(file, name: str) -> str:
    member = _member(file, name)
    if member is None:
        return ""
    if _is_group(member) or member.dtype.kind != "S" or member.size != 1:
        raise Damaged(f"'{name}' is not a string of fixed length")
    check_storage(member)
    try:
        return bytes(np.asarray(member[()]).reshape(-1)[0]).split(b"\0")[0].decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged(f"'{name}' is not UTF-8 text") from None


def read_solverstate_hdf5(path) -> SolverState:
    """An HDF5 solverstate, its history as read-only float32 arrays in memory."""
    with _opened(path, "solverstate") as file:
        history = _member(file, "history")
        if history is None or not _is_group(history):
            raise Damaged("has no group 'history'; is it a solverstate?")
        arrays = _indexed(history, _Room(file))
        if any(array is None for array in arrays):
            raise Damaged("its history has gaps")
        iteration, step = _integer(file, "iter"), _integer(file, "current_step")
        return SolverState(iteration, _string(file, "learned_net"), arrays, step)


def write_solverstate_hdf5(
    path, iter: int, learned_net: str, history: Sequence[np.ndarray], current_step: int = 0
) -> None:
    """Write an HDF5 solverstate; atomic, Error where it fails."""
    text = learned_net.encode("utf-8")
    with _created(path) as file:
        file.create_dataset("iter", data=np.array([iter], np.int32))
        file.create_dataset("current_step", data=np.array([current_step], np.int32))
        # Read by C code, which looks for the closing zero byte.
        file.create_dataset("learned_net", data=np.array(text, dtype=f"S{len(text) + 1}"))
        group = file.create_group("history")
        for i, array in enumerate(history):
            _put(group, str(i), array)
