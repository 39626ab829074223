"""Caffe's HDF5 caffemodels and solverstates (``snapshot_format: HDF5``).

A caffemodel holds ``/data/<layer>/<index>`` (and ``/diff/...``), a solverstate ``iter``,
``learned_net``, ``current_step`` and ``/history/<index>``. A blob shared by several layers is
stored with its owner alone. h5py is imported when the first such file is met.

HDF5 takes a ``/`` for a path: the group of layer ``conv1/bn`` lies in that of ``conv1``, beside its
arrays. Layers that have no such place (unnamed ones, a second one of a name, ``a/0`` beside an
array 0 of ``a``) are in ``/apart``, which BVLC Caffe does not look at: their number in the net,
their name, their arrays. BVLC Caffe itself cannot write them, and reads no name with a ``/``.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence

import numpy as np

from caffe.proto.encoding import MAX_AXES, Damaged
from caffe.proto.files import atomic_write
from caffe.proto.hdf5_checks import (
    Room,
    array_of,
    check_storage,
    children,
    h5py_package,
    is_group,
    member_of,
    opened,
)
from caffe.proto.wire import LayerWeights, SolverState

_APART, _NAME = "apart", "name"


def _indexed(group, members, room: Room) -> list:
    """A group's arrays, of its ``members``, by their index; None where an index is missing (a
    shared blob)."""
    found: dict[int, np.ndarray] = {}
    for name, member in members:
        # An index beyond the members would only be a gap; it must not become a huge list.
        if not name.isdecimal() or int(name) > 2 * len(group) + MAX_AXES:
            raise Damaged(f"'{group.name}/{name}' is not a blob's index")
        found[int(name)] = array_of(member, room)
    return [found.get(i) for i in range(max(found, default=-1) + 1)]


def _layers(group, prefix: str, above: set, room: Room):
    """(layer name, arrays) of all groups that hold arrays; a name may contain slashes.

    ``above`` is the set of groups met so far.
    """
    for name, member in children(group):
        if not is_group(member):
            if prefix:
                continue  # an array of the layer `group` itself
            raise Damaged(f"'{group.name}/{name}' is not a group")
        if member.id in above:
            raise Damaged(f"'{group.name}/{name}' is a group that the file has elsewhere too")
        above.add(member.id)
        inner = children(member)
        arrays = [child for child in inner if not is_group(child[1])]
        if arrays or not inner:
            yield prefix + name, _indexed(member, arrays, room)
        yield from _layers(member, f"{prefix}{name}/", above, room)


def _apart(group, room: Room):
    """(layer name, arrays) of the layers in ``/apart``, in the net's order."""
    found = {}
    for number, member in children(group):
        if not number.isdecimal() or not is_group(member):
            raise Damaged(f"'{group.name}/{number}' is not a layer's group")
        arrays = [child for child in children(member) if child[0] != _NAME]
        found[int(number)] = _string(member, _NAME), _indexed(member, arrays, room)
    return [found[number] for number in sorted(found)]


def _weights_group(file):
    data = member_of(file, "data")
    if data is not None and is_group(data):
        return data
    if member_of(file, "history") is not None:
        raise Damaged(
            "it is a solverstate, not weights; they are in the .caffemodel.h5 beside it, and "
            "training is resumed from this file"
        )
    if data is not None:
        raise Damaged("it holds arrays of a data set, as HDF5Data reads them, not weights")
    if "keras_version" in file.attrs or "model_weights" in file or "layers" in file:
        raise Damaged("it is a Keras model, not Caffe's weights; convert its arrays first")
    raise Damaged(f"has no group 'data'; is it a caffemodel? It holds {_names(file)}")


def _names(file) -> str:
    found = sorted(file)
    return ", ".join(map(repr, found[:6])) + ", …" * (len(found) > 6) or "nothing"


def read_weights_hdf5(path) -> list[LayerWeights]:
    """The layers of an HDF5 caffemodel: (name, "", [(shape, float32 array)]), read into memory.

    The type is not stored. An index that the file leaves out, because another layer owns that
    blob, gives None in the pair's place. Layers of one name are in the net's order. Raises
    InputError naming the file and the array.
    """
    with opened(path, "caffemodel") as file:
        data, room = _weights_group(file), Room(file)
        found = list(_layers(data, "", {data.id}, room))
        apart = member_of(file, _APART)
        if apart is not None and is_group(apart):
            inside = member_of(apart, "data")
            found += [] if inside is None or not is_group(inside) else _apart(inside, room)
        return [
            LayerWeights(name, "", [None if a is None else (a.shape, a) for a in arrays])
            for name, arrays in found
        ]


def member_names(path) -> list[str]:
    """The names at the top of an HDF5 file. InputError where it cannot be read."""
    with opened(path, "file") as file:
        return sorted(file)


def read_arrays(path, *levels: str) -> dict[tuple[str, ...], np.ndarray]:
    """The float32 arrays of an HDF5 file of another program's, by the names on the way to each.

    ``levels``: a regular expression for the whole name at each level; members that do not fit are
    not looked into, and one that is an array above the last level, or a group there, is left out.
    Raises InputError naming the file and the array.
    """
    with opened(path, "file") as file:
        return dict(_arrays_below(file, levels, (), {file.id}, Room(file)))


def _arrays_below(group, levels, names: tuple, above: set, room: Room):
    for name, member in children(group):
        if not re.fullmatch(levels[0], name) or is_group(member) != (len(levels) > 1):
            continue
        if member.id in above:
            raise Damaged(f"'{group.name}/{name}' is what the file has elsewhere too")
        above.add(member.id)
        if len(levels) > 1:
            yield from _arrays_below(member, levels[1:], (*names, name), above, room)
        else:
            yield (*names, name), array_of(member, room)


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


def _put_string(group, name: str, value: str) -> None:
    text = value.encode("utf-8")
    # Read by C code too, which looks for the closing zero byte.
    group.create_dataset(name, data=np.array(text, dtype=f"S{len(text) + 1}"))


def _with_a_place(pairs) -> set[int]:
    """The numbers of the layers that have the group of their name: HDF5 takes its parts for a
    path, and there may be another layer of the name, or another layer's array in the way."""
    first: dict[str, int] = {}
    for number, (name, _) in enumerate(pairs):
        first.setdefault(name, number)
    arrays = {f"{name}/{i}" for name, number in first.items() for i in range(len(pairs[number][1]))}

    def fits(name: str) -> bool:
        parts = name.split("/")
        ways = {"/".join(parts[: i + 1]) for i in range(len(parts))}
        return not {"", "."} & set(parts) and "\0" not in name and not ways & arrays

    return {number for name, number in first.items() if fits(name)}


def _put_layer(group, arrays) -> None:
    for i, array in enumerate(arrays):
        if array is not None:
            _put(group, str(i), array)


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
            top, placed = file.create_group(root), _with_a_place(pairs)
            for number, (name, arrays) in enumerate(pairs):
                if number in placed:
                    _put_layer(top.require_group(name), arrays)
                elif arrays:
                    group = file.create_group(f"{_APART}/{root}/{number}")
                    _put_string(group, _NAME, name)
                    _put_layer(group, arrays)


def _integer(file, name: str) -> int:
    member = member_of(file, name)
    if member is None or is_group(member) or member.dtype.kind not in "iu" or member.size != 1:
        raise Damaged(f"has no whole number '{name}'; is it a solverstate?")
    check_storage(member)
    value = int(np.asarray(member[()]).reshape(-1)[0])
    if not 0 <= value < 1 << 31:
        raise Damaged(f"'{name}' is {value}, out of range")
    return value


def _string(file, name: str) -> str:
    member = member_of(file, name)
    if member is None:
        return ""
    if is_group(member) or member.dtype.kind != "S" or member.size != 1:
        raise Damaged(f"'{name}' is not a string of fixed length")
    check_storage(member)
    try:
        return bytes(np.asarray(member[()]).reshape(-1)[0]).decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged(f"'{name}' is not UTF-8 text") from None


def read_solverstate_hdf5(path) -> SolverState:
    """An HDF5 solverstate, its history as read-only float32 arrays in memory."""
    with opened(path, "solverstate") as file:
        history = member_of(file, "history")
        if history is None and member_of(file, "data") is not None:
            raise Damaged(
                "it holds weights, not a solverstate; it is read where weights are asked for"
            )
        if history is None or not is_group(history):
            raise Damaged(f"has no group 'history'; is it a solverstate? It holds {_names(file)}")
        arrays = _indexed(history, children(history), Room(file))
        if any(array is None for array in arrays):
            raise Damaged("its history has gaps")
        iteration, step = _integer(file, "iter"), _integer(file, "current_step")
        return SolverState(iteration, _string(file, "learned_net"), arrays, step)


def write_solverstate_hdf5(
    path, iter: int, learned_net: str, history: Sequence[np.ndarray], current_step: int = 0
) -> None:
    """Write an HDF5 solverstate; atomic, Error where it fails."""
    with _created(path) as file:
        file.create_dataset("iter", data=np.array([iter], np.int32))
        file.create_dataset("current_step", data=np.array([current_step], np.int32))
        _put_string(file, "learned_net", learned_net)
        group = file.create_group("history")
        for i, array in enumerate(history):
            _put(group, str(i), array)
