"""Label maps in MATLAB files of versions 5 and 7.3, good and bad."""

from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zlib

import h5py
import numpy as np
import pytest
import segmentation.mat as segmentation_mat
import segmentation.mat73 as segmentation_mat73
from hypothesis import HealthCheck, given, settings, strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix
from segmentation.mat import read_mat
from segmentation.params import DataError
from voc_layers import SBDDSegDataLayer

from tests.helpers import no_files
from tests.helpers.layouts import mark_as_mat73, refused, write_mat73, write_sbd_label

SBD = "SBDDSegDataLayer"
LABEL = (np.arange(35 * 20) % 460).reshape(35, 20).astype(np.uint16)


@pytest.fixture
def mat(sbd):
    """The label file of the first id of SBD's val split."""
    return sbd.root / "cls" / f"{sbd.ids[3]}.mat"


@pytest.fixture
def x(tmp_path):
    return tmp_path / "x.mat"


def test_mat_cut_in_half_is_named(sbd, build, mat):
    data = mat.read_bytes()
    for size in (0, 60, 130, len(data) // 2, len(data) - 1):
        mat.write_bytes(data[:size])
        refused(lambda: build(SBD, sbd.params), str(mat))


def test_mat_without_the_segmentation_is_named(sbd, build, mat):
    savemat(mat, {"GTinst": np.zeros((2, 2))})
    refused(lambda: build(SBD, sbd.params), str(mat), "holds no GTcls.Segmentation")
    savemat(mat, {"GTcls": np.zeros((2, 2))})
    refused(lambda: build(SBD, sbd.params), str(mat))


@pytest.mark.parametrize("label", [np.zeros((2, 2, 2)), np.full((2, 2), 0.5), np.zeros((0, 0))])
def test_mat_with_something_else_than_a_label_map_is_named(sbd, build, mat, label):
    write_sbd_label(mat, label)
    refused(lambda: build(SBD, sbd.params), str(mat), "GTcls.Segmentation")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 0.25])
def test_mat_with_a_number_that_is_not_whole_is_refused(x, value):
    savemat(x, {"L": np.array([[1, value]])})
    refused(lambda: read_mat(str(x), "L"), "x.mat", "L holds fractions")


def test_negative_label_in_a_mat_is_refused(sbd, build, mat):
    label = sbd.labels[sbd.ids[3]].astype(np.int16)
    label[1, 2] = -1
    write_sbd_label(mat, label)
    refused(lambda: build(SBD, sbd.params), str(mat), "label -1 at row 1, column 2")


def test_mat_that_unpacks_to_too_much_is_refused(sbd, build, mat, monkeypatch):
    monkeypatch.setattr(segmentation_mat, "MAX_MAT_BYTES", 50_000)
    write_sbd_label(mat, np.zeros((300, 300), np.uint8))
    assert mat.stat().st_size < 5000
    refused(lambda: build(SBD, sbd.params), str(mat), "when unpacked")


def test_uncompressed_and_compressed_mats_are_read_alike(x):
    label = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for compress in (False, True):
        stream = io.BytesIO()
        savemat(stream, {"a": np.ones(3), "L": label}, do_compression=compress)
        x.write_bytes(stream.getvalue())
        np.testing.assert_array_equal(read_mat(str(x), "L"), label)


KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(KINDS),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    compress=st.booleans(),
    place=st.sampled_from(["L", "GTcls.L", "cell.L", "deep.inner.L"]),
)
def test_what_scipy_writes_is_read_wherever_it_stands(x, kind, shape, seed, compress, place):
    label = np.random.RandomState(seed).randint(0, 100, shape).astype(kind)
    others = {"text": "a text", "empty": np.zeros((0, 0)), "sparse": csc_matrix(np.eye(3))}
    cell = np.empty((2, 1), object)
    cell[0, 0], cell[1, 0] = {**others, "L": label}, 3
    deep = {"inner": {"L": label, **others}, "z": 1.5}
    variables = {**others, "GTcls": {**others, "L": label}, "cell": cell, "deep": deep, "L": label}
    savemat(x, variables, do_compression=compress)
    np.testing.assert_array_equal(read_mat(str(x), *place.split(".")), label)
    for fields in (("K",), ("GTcls", "K"), ("L", "K"), ("deep", "K", "L"), ("text", "L")):
        refused(lambda f=fields: read_mat(str(x), *f), "holds no " + ".".join(fields))
    for fields in (("text",), ("GTcls", "sparse"), ("deep", "inner")):
        refused(lambda f=fields: read_mat(str(x), *f), ".".join(fields) + " is no label map")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(3, 4), (1, 3)])
def test_doubles_stored_as_bytes_and_short_elements_are_read_as_matlab_writes_them(x, order, shape):
    label = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)

    def element(kind, content):
        if len(content) <= 4:
            return struct.pack(order + "I", len(content) << 16 | kind) + content.ljust(4, b"\0")
        body = struct.pack(order + "II", kind, len(content)) + content
        return body + bytes(-len(body) % 8)

    matrix = (
        element(6, struct.pack(order + "II", 6, 0))  # an array of class double
        + element(5, struct.pack(order + "ii", *shape))
        + element(1, b"L")
        + element(2, label.tobytes(order="F"))
    )
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "H", 0x0100)
    x.write_bytes(head + (b"IM" if order == "<" else b"MI") + element(14, matrix))
    np.testing.assert_array_equal(loadmat(x)["L"], label)
    np.testing.assert_array_equal(read_mat(str(x), "L"), label)


def test_sbd_class_numbers_are_checked_too(sbd, build):
    params = dict(sbd.params, classes=2)
    refused(lambda: build(SBD, params), ".mat", "the 2 classes are 0 to 1")
    assert SBDDSegDataLayer.ids(params) == sbd.ids[3:]


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>", b"<html>" * 100, b"\0"])
def test_file_that_is_no_mat_is_told(x, content):
    x.write_bytes(content)
    refused(lambda: read_mat(str(x), "L"), "x.mat", "not a MATLAB file")


def test_empty_missing_and_unreadable_files_are_told(x, tmp_path):
    refused(lambda: read_mat(str(x), "L"), "x.mat", "no such file")
    x.write_bytes(b"")
    refused(lambda: read_mat(str(x), "L"), "x.mat", "the file is empty")
    refused(lambda: read_mat(str(tmp_path), "L"), str(tmp_path), "cannot be read")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 699), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_mat_is_read_or_refused_and_nothing_else(x, damage):
    stream = io.BytesIO()
    savemat(stream, {"S": {"a": [[1, 2]], "L": LABEL[:6, :6]}})
    data = bytearray(stream.getvalue())
    for place, value in damage:
        data[place % len(data)] = value
    x.write_bytes(data)
    try:
        assert read_mat(str(x), "S", "L").ndim == 2
    except DataError as error:
        assert "x.mat: " in str(error) and "\n" not in str(error)


# version 7.3


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("storage", [{}, {"chunks": (4, 16)}, {"chunks": None}])
def test_version_7_3_gives_the_array_as_matlab_shows_it(x, kind, storage):
    label = LABEL.astype(kind) if kind is not np.uint8 else (LABEL % 256).astype(kind)
    write_mat73(x, {"other": np.ones((40, 40)), "L": label}, **storage)
    got = read_mat(str(x), "L")
    assert got.dtype == kind
    np.testing.assert_array_equal(got, label)


def test_compressed_with_a_chunk_that_does_not_get_smaller(x):
    noise = np.random.RandomState(0).randint(0, 256, (40, 40)).astype(np.uint8)
    write_mat73(x, {"L": noise}, chunks=(8, 8), compression="gzip", shuffle=True, fletcher32=True)
    np.testing.assert_array_equal(read_mat(str(x), "L"), noise)


def test_chunks_that_were_never_written_hold_zeros(x):
    with h5py.File(x, "w", userblock_size=512) as file:
        made = file.create_dataset("L", (20, 35), np.uint8, chunks=(10, 10), compression="gzip")
        made[:10, :10] = 7
    mark_as_mat73(x)
    got = read_mat(str(x), "L")
    assert got.shape == (35, 20) and got.sum() == 700 and (got[:10, :10] == 7).all()


@pytest.mark.parametrize("as_array", [False, True])
def test_sbd_labels_of_version_7_3_give_the_same_items(sbd, build, take, as_array):
    want = take(build(SBD, sbd.params), 2)
    for name in sbd.ids[3:]:
        struct = {"Boundaries": np.zeros((20, 1)), "Segmentation": sbd.labels[name]}
        value = [struct, dict(struct, Segmentation=np.zeros((2, 2)))] if as_array else struct
        write_mat73(sbd.root / "cls" / f"{name}.mat", {"GTcls": value})
    for a, b in zip(want, take(build(SBD, sbd.params), 2)):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_version_7_3_without_the_variable_is_told(x):
    write_mat73(x, {"GTcls": {"Boundaries": np.zeros((2, 2))}, "L": LABEL})
    for fields in (("LabelMap",), ("GTcls", "Segmentation"), ("L", "Segmentation")):
        refused(lambda f=fields: read_mat(str(x), *f), "x.mat", "holds no " + ".".join(fields))


@pytest.mark.parametrize("size", [128, 300, 512, 600, 1500, -1])
def test_version_7_3_cut_off_is_told(x, size):
    write_mat73(x, {"L": LABEL})
    x.write_bytes(x.read_bytes()[:size])
    refused(lambda: read_mat(str(x), "L"), "x.mat", "cut off or damaged")


def test_version_7_3_with_damaged_numbers_is_told(x):
    write_mat73(x, {"L": LABEL})
    data = x.read_bytes()
    start = data.index(zlib.compress(LABEL.T.tobytes(), 3)[:40])
    x.write_bytes(data[:start] + b"\xff" * 40 + data[start + 40 :])
    refused(lambda: read_mat(str(x), "L"), "x.mat", "damaged")


@pytest.mark.parametrize("label", [np.zeros((2, 2, 2)), np.full((2, 2), 0.5), np.zeros((0, 3))])
def test_version_7_3_with_something_else_than_a_label_map_is_told(x, label):
    write_mat73(x, {"L": label}, chunks=None)
    refused(lambda: read_mat(str(x), "L"), "x.mat: L ")


@pytest.mark.parametrize("attribute", [{"MATLAB_class": np.bytes_("char")}, {"MATLAB_empty": 1}])
def test_version_7_3_texts_and_empty_arrays_are_no_label_maps(x, attribute):
    write_mat73(x, {"L": np.array([[84, 105]], np.uint16)})
    with h5py.File(x, "r+") as file:
        file["L"].attrs.update(attribute)
    refused(lambda: read_mat(str(x), "L"), "x.mat: L is no label map")


def test_version_7_3_structs_and_groups_are_no_label_maps(x):
    write_mat73(x, {"L": {"inner": LABEL}})
    refused(lambda: read_mat(str(x), "L"), "x.mat: L is no label map")


def test_version_7_3_larger_than_the_limit_is_refused_before_it_is_read(x):
    with h5py.File(x, "w", userblock_size=512) as file:
        file.create_dataset("L", (1 << 15, 1 << 14), np.uint8, chunks=(256, 256))
    mark_as_mat73(x)
    tracemalloc.start()
    refused(lambda: read_mat(str(x), "L"), "x.mat", "when unpacked")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_version_7_3_chunk_that_unpacks_to_more_than_its_size_is_refused(x):
    with h5py.File(x, "w", userblock_size=512) as file:
        made = file.create_dataset("L", (10, 10), np.uint8, chunks=(10, 10), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(10_000)))
    mark_as_mat73(x)
    refused(lambda: read_mat(str(x), "L"), "x.mat", "unpacks to more than its size")


def test_version_7_3_that_points_out_of_the_file_is_refused(x, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(100)))
    write_mat73(tmp_path / "other.mat", {"L": LABEL})
    layout = h5py.VirtualLayout((20, 35), np.uint16)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.mat"), "L", (20, 35))
    with h5py.File(x, "w", userblock_size=512) as file:
        file.create_dataset("raw", (10, 10), np.uint8, external=[(str(secret), 0, 100)])
        file.create_virtual_dataset("virtual", layout)
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.mat"), "L")
        file["soft"] = h5py.SoftLink("/raw")
    mark_as_mat73(x)
    for name in ("raw", "virtual"):
        refused(lambda n=name: read_mat(str(x), n), f"x.mat: {name} lies in other files")
    for name in ("link", "soft"):
        refused(lambda n=name: read_mat(str(x), n), "x.mat")


@pytest.mark.parametrize("storage", [{"compression": "lzf"}, {"chunks": (1, 1)}])
def test_version_7_3_stored_as_matlab_never_does_is_refused(x, monkeypatch, storage):
    monkeypatch.setattr(segmentation_mat73, "MAX_CHUNKS", 100)
    write_mat73(x, {"L": LABEL}, **storage)
    refused(lambda: read_mat(str(x), "L"), "x.mat", "save it with -v7")


def test_version_7_3_without_h5py_is_refused_with_the_remedy(x, monkeypatch):
    write_mat73(x, {"L": LABEL})
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(lambda: read_mat(str(x), "L"), "x.mat", "pip install h5py", "-v7")


def test_a_ring_in_a_7_3_files_heap_is_refused(x):
    """HDF5's library would follow it without end. The first free place names itself as next."""
    with h5py.File(x, "w", userblock_size=512) as file:
        file["L"] = np.zeros((3, 4), np.uint8)
    mark_as_mat73(x)
    content = bytearray(x.read_bytes())
    heap = content.rindex(b"HEAP")
    free, names = (int.from_bytes(content[heap + i : heap + i + 8], "little") for i in (16, 24))
    place = 512 + names + free  # addresses count from behind MATLAB's own block
    content[place : place + 8] = free.to_bytes(8, "little")
    x.write_bytes(content)
    with no_files.in_time():
        refused(lambda: read_mat(str(x), "L"), "x.mat", "more free places than room")
