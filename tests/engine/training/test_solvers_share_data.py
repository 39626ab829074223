"""Several solvers' data layers: one order of the items, each solver its own of them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import caffe
from caffe import ranks
from tests.helpers import data_files as files
from tests.helpers.data_files import batches

COUNT, BATCH, TIMES = 7, 2, 9
TRANSFORM = "transform_param { crop_size: 4 mirror: true }"
KINDS = {
    "Data": f'data_param {{ source: "db" backend: LMDB rand_skip: 4 batch_size: {BATCH} }} '
    + TRANSFORM,
    "HDF5Data": f'hdf5_data_param {{ source: "rows.txt" batch_size: {BATCH} }}',
    "HDF5Data, shuffled": 'hdf5_data_param { source: "rows.txt" shuffle: true '
    f"batch_size: {BATCH} }}",
    "ImageData": f'image_data_param {{ source: "list.txt" batch_size: {BATCH} }} {TRANSFORM}',
    "ImageData, shuffled": 'image_data_param { source: "list.txt" shuffle: true rand_skip: 3 '
    f"batch_size: {BATCH} }} {TRANSFORM}",
    "WindowData": f'window_data_param {{ source: "windows.txt" batch_size: {BATCH} '
    f"fg_fraction: 1 }} {TRANSFORM}",
}


def text(kind):
    return (
        f'layer {{ name: "d" type: "{kind.split(",")[0]}" top: "data" top: "label" {KINDS[kind]} }}'
    )


@pytest.fixture
def data(tmp_path):
    """Seven items in each kind's files, in the current folder."""
    pictures = [files.pixels(i, 6, 8) for i in range(COUNT)]
    files.write_pictures(tmp_path, pictures)
    files.write_lmdb(
        tmp_path / "db", [files.datum(p.transpose(2, 0, 1), i) for i, p in enumerate(pictures)]
    )
    rows = np.arange(COUNT, dtype=np.float32)
    for name, part in (("a", rows[:3]), ("b", rows[3:])):
        files.write_hdf5(tmp_path / f"{name}.h5", data=part[:, None], label=part)
    (tmp_path / "rows.txt").write_text("a.h5 b.h5")
    windows = [(i + 1, 0.7, i, 0, 6, 5) for i in range(4)] + [(0, 0.1, 0, 0, 5, 5)]
    files.write_windows(tmp_path / "windows.txt", [("0.png", (6, 8), windows)])


@pytest.fixture
def solver(make, data, monkeypatch):
    """solver(kind, rank, count) -> the net of that solver, of one random seed for all."""

    def solver(kind, rank, count, phase=caffe.TRAIN):
        monkeypatch.setattr(ranks, "_state", {"count": count, "rank": rank, "multiprocess": True})
        caffe.set_random_seed(5)
        return make(text(kind), phase)

    return solver


def items(net, times):
    """The next batches' items, one array of numbers each."""
    found = batches(net, times)
    return [
        np.append(data, label)
        for batch in found
        for data, label in zip(batch["data"], batch["label"])
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_solvers_take_turns_at_one_solvers_items(solver, kind, count):
    alone = items(solver(kind, 0, 1), TIMES * count)
    for rank in range(count):
        mine = items(solver(kind, rank, count), TIMES)
        np.testing.assert_array_equal(mine, alone[rank::count])


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_solvers_state_does_for_all_of_any_number(solver, kind):
    states = []
    for rank in range(3):
        net = solver(kind, rank, 3)
        batches(net, 4)
        states.append(json.dumps(net.layer_dict["d"].state()))
    assert states == states[:1] * 3
    alone = items(solver(kind, 0, 1), 12 + 6)
    for rank in range(2):  # fewer solvers go on
        net = solver(kind, rank, 2)
        net.layer_dict["d"].restore_state(json.loads(states[0]))
        np.testing.assert_array_equal(items(net, 3), alone[12 * BATCH + rank :: 2][: 3 * BATCH])


@pytest.mark.parametrize("kind", KINDS)
def test_every_solvers_test_net_has_all_items(solver, kind):
    first = items(solver(kind, 0, 2, caffe.TEST), 3)
    np.testing.assert_array_equal(items(solver(kind, 1, 2, caffe.TEST), 3), first)


CHANGES = {
    "Data": lambda place: files.write_lmdb(place / "db", [files.datum(np.zeros((3, 6, 8)), 0)]),
    "HDF5Data": lambda place: (place / "rows.txt").write_text("b.h5 a.h5"),
    "ImageData": lambda place: (place / "list.txt").write_text("1.png 1\n0.png 0\n" * 3),
    "WindowData": lambda place: files.write_windows(
        place / "windows.txt", [("0.png", (6, 8), [(2, 0.7, 0, 0, 6, 5), (0, 0.1, 0, 0, 5, 5)])]
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_a_solver_reads_is_known_by_a_number_whatever_its_rank(solver, tmp_path, kind):
    numbers = {solver(kind, rank, 2).layers[0].fingerprint for rank in (0, 1)}
    assert len(numbers) == 1
    if kind == "Data":
        shutil.rmtree(tmp_path / "db")
    CHANGES[kind](tmp_path)
    assert solver(kind, 0, 2).layers[0].fingerprint not in numbers
