from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from hypothesis import given, strategies as st

from tests.helpers.nyud_mat import COLUMNS, ROWS, files, frame, one_error, read, stack, write_mat
from tools.datasets.nyud_file import millimetres


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, parts",
    [
        ({"rawDepths": None}, ["no variable 'rawDepths'"]),
        ({"names": None}, ["no variable 'names'"]),
        ({"depths": stack("depths")[:2]}, ["images 3, depths 2"]),
        ({"images": stack("images").transpose(0, 1, 3, 2)}, ["images is 3 x 3 x 480 x 640"]),
        ({"images": stack("images").transpose(0, 3, 2, 1)}, ["images is 3 x 480 x 640 x 3"]),
        ({"images": stack("images").astype("f4")}, ["images holds float32; expected uint8"]),
        ({"depths": stack("depths").astype("u2")}, ["depths holds uint16; expected single"]),
        ({"labels": stack("labels") + np.uint16(1)}, ["frame 1 has label 6", "5 names"]),
        ({"depths": stack("depths") * np.float32(100)}, ["depths of frame 1", "65.535 m"]),
        ({"depths": -stack("depths")}, ["depths of frame 1: -1 m at row 0, column 0"]),
        ({"depths": stack("depths") * np.float32("nan")}, ["depths of frame 1: nan m"]),
        ({"names": ["wall", "x" * 300]}, ["names{2} is not a name"]),
    ],
)
def test_variables_that_do_not_fit_are_one_line(labelled, changes, parts):
    write_mat(labelled.mat, **changes)
    one_error(labelled.run(), 2, "labeled.mat", *parts)
    assert not labelled.out.exists() or files(labelled.out) == []


def test_no_frames_is_one_line(labelled):
    empty = {k: v[:0] for k, v in ((k, stack(k)) for k in frame(0))}
    with h5py.File(labelled.mat, "a") as file:
        for name, value in empty.items():
            del file[name]
            file.create_dataset(name, data=value)
    one_error(labelled.run(), 2, "labeled.mat", "holds no frames")


def test_names_that_are_no_cell_array_are_one_line(labelled):
    with h5py.File(labelled.mat, "a") as file:
        del file["names"]
        file["names"] = np.zeros((1, 5), np.uint16)
    one_error(labelled.run(), 2, "labeled.mat", "names is no cell array")


def test_a_file_in_huge_pieces_is_refused_before_one_is_read(labelled):
    with h5py.File(labelled.mat, "a") as file:
        del file["depths"]
        file.create_dataset("depths", (1000, 640, 480), "f8", chunks=(500, 640, 480))
    one_error(labelled.run(), 2, "depths is stored in pieces", "h5repack")


@pytest.mark.slow
def test_missing_raw_depth_that_is_not_a_number_becomes_0(labelled):
    raw = stack("rawDepths")
    raw[raw == 0] = np.nan
    write_mat(labelled.mat, rawDepths=raw)
    assert labelled.run("--no-crop")[0] == 0
    found = read(labelled.out / "data/rawdepth/img_5001.png")[1]
    np.testing.assert_array_equal(found == 0, COLUMNS < 300 - ROWS // 2)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_one_line(labelled, share):
    data = labelled.mat.read_bytes()
    labelled.mat.write_bytes(data[: int(len(data) * share)])
    one_error(labelled.run(), 2, "labeled.mat", "fetch it again")
    assert not labelled.out.exists()


@pytest.mark.parametrize(
    "data, part",
    [
        (b"", "not a MATLAB 7.3 (HDF5) file"),
        (b"<html>404 Not Found</html>" * 99, "not a MATLAB 7.3 (HDF5) file"),
        (b"MATLAB 5.0 MAT-file".ljust(999), "a MATLAB 5 file"),
    ],
)
def test_another_kind_of_file_is_one_line(labelled, data, part):
    labelled.mat.write_bytes(data)
    one_error(labelled.run(), 2, "labeled.mat", part)


def test_a_file_that_is_not_there_is_one_line(labelled):
    labelled.mat.unlink()
    one_error(labelled.run(), 2, "labeled.mat", "No such file")


def test_damage_in_a_frame_is_one_line_and_loses_no_frame_before_it(labelled):
    with h5py.File(labelled.mat) as file:
        chunk = file["depths"].id.get_chunk_info(2)
    with open(labelled.mat, "r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(os.urandom(chunk.size // 4))
    one_error(labelled.run(), 2, "labeled.mat", "depths of frame 3", "fetch it again")
    assert len(files(labelled.out)) == 8
    assert not any("5003" in name for name in files(labelled.out))


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=50))
def test_millimetres_survive_the_way_through_single_precision_metres(values):
    metres = (np.array([values]) / 1000).astype(np.float32)
    found = millimetres(metres, "x")
    assert found.dtype == np.uint16 and found.tolist() == [values]
