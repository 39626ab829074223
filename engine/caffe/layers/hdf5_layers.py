"""HDF5Data and HDF5Output: batches out of, and into, HDF5 files."""

from __future__ import annotations

import contextlib
import io
import math
import os

import numpy as np

from ..compute import rng
from ..core.layer import TRAIN, Layer
from ..errors import Error, InputError
from ..proto import kinds, not_utf8
from ..proto.encoding import Damaged
from ..proto.files import in_the_way, reason
from ..proto.hdf5_checks import check_storage, check_structure, h5py_package, is_in_file
from ..proto.opening import LARGEST_LIST, FileBytes, read_regular
from ..ranks import solver_count
from . import register
from ._data import (
    ITEM,
    ORDER,
    Prefetching,
    failing,
    machine_memory,
    randomness,
    require_positive_batch,
    stack,
    turn,
)

BLOCK = 64 * 2**20
"""Bytes of one file that are in memory at once, unless one row is more or it is shuffled."""

DATASETS = ("data", "label")
"""What HDF5Output makes."""
OUTPUT_MARK, OUTPUT_HEAD = b"HDF5Output of dilated-fcn2s-caffe", 4096
"""How a file of HDF5Output says so, and within how many bytes of its beginning."""
ROOM, CHUNK_ENTRY = 2**16, 512
"""More bytes than HDF5 takes beside the numbers themselves: for all, and for each chunk."""
_SEARCHED = 1 << 28
"""Bytes of a file up to which rings in its structures are looked for."""


class _File:
    """The datasets of one file, by row."""

    def __init__(self, path: str, names, fail, whole: bool):
        self.path, self.names, self.fail = path, names, fail
        self.begin = self.end = 0  # the rows that `arrays` holds
        self.searched = False
        with self._opened() as file:
            datasets = [self._dataset(file, name) for name in names]
            self.shapes = [dataset.shape[1:] for dataset in datasets]
            counts = [dataset.shape[0] for dataset in datasets]
        for name, count in zip(names, counts):
            if count != counts[0]:
                raise fail(
                    f"{path}: '{names[0]}' has {counts[0]} rows, '{name}' has {count}; "
                    "all datasets need as many"
                )
        self.rows = counts[0]
        if self.rows == 0:
            raise fail(f"{path}: its datasets have no rows")
        row = max(1, 4 * sum(math.prod(shape) for shape in self.shapes))
        self.block = self.rows if whole else max(1, BLOCK // row)
        has = machine_memory()
        if self.block * row > has:
            raise fail(
                f"{path}: {self.block * row / 2**30:.1f} GiB, to be shuffled, do not fit into this "
                f"machine's {has / 2**30:.1f} GiB; use several smaller files"
            )

    @contextlib.contextmanager
    def _opened(self):
        """The open file; what is wrong with it, then and while it is read, is an error of ours."""
        try:
            self._check_file()
            with h5py_package().File(self.path, "r") as file:
                yield file
        except Damaged as error:
            raise self.fail(f"{self.path}: {error}") from None
        except (Error, MemoryError):
            raise
        except Exception as error:  # h5py raises many kinds for a damaged file
            what = f"{self.path}: is no HDF5 file, or it is damaged: {reason(error)}"
            raise self.fail(what) from None

    def _check_file(self) -> None:
        try:
            with FileBytes(self.path) as buf:
                wrong = kinds.misfit(buf, "an HDF5 file", kinds.HDF5, kinds.MATLAB)
                if not wrong:  # a training set is not searched whole
                    check_structure(buf, heaps=len(buf) <= _SEARCHED and not self.searched)
                    self.searched = True
        except InputError as error:
            raise self.fail(f"source: {error}") from None
        if wrong:
            raise self.fail(f"{self.path}: {wrong}")

    def _dataset(self, file, name: str):
        if name in file and not is_in_file(file, name):
            raise Damaged(f"'{name}' is a link to elsewhere, which is not followed")
        found = file.get(name)
        if not isinstance(found, h5py_package().Dataset):
            there = ", ".join(sorted(file)) or "nothing"
            raise self.fail(f"{self.path}: no dataset '{name}'; it holds {there}")
        if not found.shape:
            raise self.fail(f"{self.path}: '{name}' has no axis of rows")
        if found.dtype.kind not in "fiu":
            raise self.fail(f"{self.path}: '{name}' holds {found.dtype}, not numbers")
        if found.size:
            check_storage(found)
        return found

    def row(self, index: int) -> list[np.ndarray]:
        """Row `index` of each dataset, float32."""
        if not self.begin <= index < self.end:
            self.begin = index - index % self.block
            end = min(self.begin + self.block, self.rows)
            with self._opened() as file:
                found = [self._dataset(file, name) for name in self.names]
                if any(d.shape != (self.rows, *s) for d, s in zip(found, self.shapes)):
                    raise self.fail(f"{self.path}: changed while it was read")
                arrays = [d.astype(np.float32)[self.begin : end] for d in found]
            self.arrays, self.end = arrays, end
        return [array[index - self.begin] for array in self.arrays]


class _Rows:
    """The source of HDF5Data; see `_data`. `loop`, `file` and `row` of its state say which row
    comes next for the first of all solvers."""

    def __init__(self, layer):
        param = layer.layer_param.hdf5_data_param
        self.fail = failing(layer)
        self.batch = require_positive_batch(layer, param.batch_size)
        self.names, self.shuffle = list(layer.layer_param.top), param.shuffle
        self.files = self._list(not_utf8.path(param.source))
        self.contents = [os.path.basename(name) for name in self.files]
        self.solvers, self.rank = turn(layer)
        self.start = {"loop": 0, "file": 0, "row": 0}
        if self.shuffle:
            self.start["seed"] = rng.draw_seed()
        first = self.file(self.order(self.start, 0)[0], None)
        self.shapes = [(self.batch, *shape) for shape in first.shapes]

    def _list(self, source: str) -> list[str]:
        if not source:
            raise self.fail("hdf5_data_param.source is not given: the file with the list")
        try:
            kinds.check_text(source, "a text that lists HDF5 files")
            names = [os.fsdecode(name) for name in read_regular(source, LARGEST_LIST).split()]
        except InputError as error:
            raise self.fail(f"source: {error}") from None
        if not names:
            raise self.fail(f"{source}: must list at least 1 HDF5 file")
        for name in names:
            if not os.path.exists(name):
                raise self.fail(f"{source}: it lists {name}, which is not there")
        return names

    def order(self, state: dict, loop: int) -> list[int]:
        """The order of the files in a loop over all of them."""
        if self.shuffle:
            return randomness(state["seed"], ORDER, loop).permutation(len(self.files)).tolist()
        return list(range(len(self.files)))

    def file(self, index: int, shapes) -> _File:
        """File `index`; its rows must be of these shapes."""
        made = _File(self.files[index], self.names, self.fail, self.shuffle)
        if shapes is not None and made.shapes != shapes:
            raise self.fail(
                f"{made.path}: rows of shapes {made.shapes}, those of {self.files[0]} {shapes}"
            )
        return made

    def row_order(self, state: dict, file: _File):
        """The order of the rows of the file at `state`, another each time it comes."""
        if not self.shuffle:
            return range(file.rows)
        visit = state["loop"] * len(self.files) + state["file"]
        return randomness(state["seed"], ITEM, visit).permutation(file.rows)

    def batches(self, state: dict):
        shapes = [shape[1:] for shape in self.shapes]
        files = self.order(state, state["loop"])
        file = self.file(files[min(state["file"], len(files) - 1)], shapes)
        rows = self.row_order(state, file)
        if state["file"] >= len(files) or state["row"] >= file.rows:
            raise self.fail("the stored position lies beyond the data: they have changed")
        while True:
            arrays = [stack(shape, self.batch) for shape in shapes]
            for number in range(self.batch * self.solvers):
                if number % self.solvers == self.rank:
                    for array, row in zip(arrays, file.row(int(rows[state["row"]]))):
                        array[number // self.solvers] = row
                state["row"] += 1
                if state["row"] < file.rows:
                    continue
                state["row"] = 0
                state["file"] += 1
                if state["file"] == len(files):
                    state["file"] = 0
                    state["loop"] += 1
                    files = self.order(state, state["loop"])
                if len(files) > 1:
                    del file  # before the next one takes its memory
                    file = self.file(files[state["file"]], shapes)
                rows = self.row_order(state, file)
            yield arrays, dict(state)


@register("HDF5Data")
class HDF5Data(Prefetching):
    """Each top is the dataset of its name, from the files that `source` lists, one after
    another."""

    num_top = (1, None)

    def open_source(self, top):
        if self.layer_param.HasField("transform_param"):
            raise self.fail("does not transform data: leave transform_param out")
        return _Rows(self)


def _is_output(file) -> bool:
    """Whether a file is of HDF5Output: the attribute stands near the beginning as long as it is
    there, so that HDF5's library need not read what may be anything."""
    head = file.read(OUTPUT_HEAD)
    return head.startswith(b"\x89HDF\r\n\x1a\n") and OUTPUT_MARK in head


@register("HDF5Output")
class HDF5Output(Layer):
    """Two bottoms, (n, channels, height, width), into the datasets `data` and `label` of a file
    that each forward makes longer. (BVLC Caffe ends at the second forward.)

    The first forward makes the file: what was there is kept until then. (BVLC Caffe empties it as
    the net is made, whatever it is.) Only a file of this layer is replaced, which its attribute
    `written_by` tells. Between two forwards it is whole and closed. The bottoms are fetched from
    the GPU: the file is the host's.
    """

    num_bottom = (2, 2)
    num_top = (0, 0)

    def setup(self, bottom, top):
        self.path = not_utf8.path(self.layer_param.hdf5_output_param.file_name)
        if not self.path:
            raise self.fail("hdf5_output_param.file_name is not given")
        if self.phase == TRAIN and solver_count() > 1:
            raise self.fail(
                f"{solver_count()} solvers would write {self.path} at once; leave the layer to the "
                "test nets: include { phase: TEST }"
            )
        self._check_place()
        self.begun = False

    def _check_place(self) -> None:
        """The file can be written, as far as can be seen, or an error."""
        folder = os.path.dirname(self.path) or "."
        why = in_the_way(self.path, "one that this layer has written", _is_output)
        if not why and not os.path.isdir(folder):
            why = f"there is no folder {folder}"
        elif not why and not os.access(self.path if os.path.exists(self.path) else folder, os.W_OK):
            why = "no permission"
        if why:
            raise self.fail(f"cannot write {self.path}: {why}")

    def _begin(self) -> None:
        """The file, with nothing in it."""
        self._check_place()
        content = io.BytesIO()
        with h5py_package().File(content, "w") as file:
            file.attrs["written_by"] = np.bytes_(OUTPUT_MARK)
        with open(self.path, "wb") as file:
            file.write(content.getvalue())
        self.begun = True

    def reshape(self, bottom, top):
        for blob, name in zip(bottom, self.layer_param.bottom):
            if len(blob.shape) > 4:
                raise self.fail(f"bottom '{name}' has {len(blob.shape)} axes; at most 4")
        if bottom[0].num != bottom[1].num:
            raise self.fail(
                "data blob and label blob must have the same batch size, not "
                f"{bottom[0].num} and {bottom[1].num}"
            )

    def forward(self, bottom, top):
        arrays = [
            b.read().cpu().numpy().reshape(b.num, b.channels, b.height, b.width) for b in bottom
        ]
        try:
            if not self.begun:
                self._begin()
            room = self._room_for(arrays)
            with self._opened(room) as file:
                for name, array in zip(DATASETS, arrays):
                    held = file[name]
                    held.resize(len(held) + len(array), axis=0)
                    held[len(held) - len(array) :] = array
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            if isinstance(error, Error):
                raise
            raise Error(str(self.fail(f"cannot write {self.path}: {reason(error)}"))) from None

    def _opened(self, room: int):
        """The file, to be changed, with so many bytes of the disk set aside for it.

        HDF5's library ends the process, sooner or later, once the disk is full under it. What it
        does not take of the room it gives back as it closes the file."""
        with open(self.path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                os.posix_fallocate(file.fileno(), size, room)
                return h5py_package().File(self.path, "r+")
            except OSError:
                file.truncate(size)
                raise

    def _room_for(self, arrays) -> int:
        """How many bytes more the file takes with the arrays; makes their datasets, empty."""
        room = ROOM
        with self._opened(ROOM) as file:
            for name, array in zip(DATASETS, arrays):
                if name not in file:
                    whole = (None, *array.shape[1:])
                    file.create_dataset(name, array.shape, "f4", maxshape=whole).resize(0, axis=0)
                held = file[name]
                if held.shape[1:] != array.shape[1:]:
                    raise self.fail(
                        f"{self.path}: '{name}' holds {held.shape[1:]} so far, and is now "
                        f"given {array.shape[1:]}"
                    )
                rows, *others = held.chunks
                across = math.prod(-(-n // chunk) for n, chunk in zip(held.shape[1:], others))
                down = -(-(len(held) + len(array)) // rows) - len(held) // rows
                room += across * down * (4 * math.prod(held.chunks) + CHUNK_ENTRY)
        return room
