"""Caffemodels and solverstates in HDF5."""

from __future__ import annotations

import os

import numpy as np
import pytest

from caffe.errors import Error, InputError
from caffe.proto import hdf5

h5py = pytest.importorskip("h5py")

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.float32([7, 8])
LAYERS = [("data", []), ("ip", [WEIGHT, BIAS]), ("block/scale", [np.float32(3)])]


@pytest.fixture
def model(tmp_path):
    hdf5.write_weights_hdf5(tmp_path / "m.caffemodel.h5", LAYERS, LAYERS)
    return tmp_path / "m.caffemodel.h5"


def refused(read, path, *words):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in (str(path), *words)), message


def test_weights_go_round(model):
    found = {name: blobs for name, _, blobs in hdf5.read_weights_hdf5(model)}
    assert found.keys() == {"data", "ip", "block/scale"} and found["data"] == []
    assert [shape for shape, _ in found["ip"]] == [(2, 3), (2,)]
    assert np.array_equal(found["ip"][0][1], WEIGHT) and found["block/scale"][0][1] == 3


def test_the_layout_is_caffes(model):
    with h5py.File(model) as file:
        assert file["data/ip/0"].dtype == np.float32 and file["data/ip/0"].shape == (2, 3)
        assert set(file) == {"data", "diff"} and set(file["diff/ip"]) == {"0", "1"}


def test_a_blob_that_another_layer_owns_is_left_out(tmp_path):
    hdf5.write_weights_hdf5(tmp_path / "m.h5", [("a", [None, BIAS])])
    (_, _, blobs), *_ = hdf5.read_weights_hdf5(tmp_path / "m.h5")
    assert blobs[0] is None and np.array_equal(blobs[1][1], BIAS)


def test_solverstates_go_round(tmp_path):
    path = tmp_path / "s.solverstate.h5"
    hdf5.write_solverstate_hdf5(path, 5, "a/ü.caffemodel.h5", [WEIGHT, BIAS], 2)
    state = hdf5.read_solverstate_hdf5(path)
    assert (state.iter, state.learned_net, state.current_step) == (5, "a/ü.caffemodel.h5", 2)
    assert np.array_equal(state.history[0], WEIGHT) and np.array_equal(state.history[1], BIAS)
    with h5py.File(path) as file:  # as C code reads it: fixed length, closed by a zero byte
        assert file["learned_net"].dtype.itemsize == len("a/ü.caffemodel.h5".encode()) + 1
        assert file["iter"].dtype == np.int32 and file["iter"].shape == (1,)


def test_eleven_history_blobs_keep_their_order(tmp_path):
    history = [np.float32([i]) for i in range(11)]
    hdf5.write_solverstate_hdf5(tmp_path / "s.h5", 1, "", history)
    read = hdf5.read_solverstate_hdf5(tmp_path / "s.h5").history
    assert [float(array[0]) for array in read] == list(range(11))


def test_a_file_cut_in_half_is_refused(model):
    content = model.read_bytes()
    model.write_bytes(content[: len(content) // 2])
    refused(hdf5.read_weights_hdf5, model, "is not an HDF5 caffemodel, or it is damaged")


def test_a_file_of_another_kind_is_refused(tmp_path, model):
    refused(hdf5.read_solverstate_hdf5, model, "it holds weights, not a solverstate")
    (tmp_path / "x.h5").write_bytes(b"text")
    refused(
        hdf5.read_weights_hdf5,
        tmp_path / "x.h5",
        "it is a text that begins 'text', not an HDF5 caffemodel",
    )
    refused(hdf5.read_weights_hdf5, tmp_path / "none.h5", "No such file")


def changed(tmp_path, change):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        change(file.create_group("data/ip"))
    return tmp_path / "x.h5"


def test_an_array_larger_than_the_file_is_refused(tmp_path):
    path = changed(
        tmp_path, lambda g: g.create_dataset("0", (1 << 40,), "f4", chunks=(1024,), fillvalue=1)
    )
    refused(hdf5.read_weights_hdf5, path, "'/data/ip/0' has shape (1099511627776,) but only 0")


def test_compressed_arrays_are_read(tmp_path):
    path = changed(tmp_path, lambda g: g.create_dataset("0", data=WEIGHT, compression="gzip"))
    assert np.array_equal(hdf5.read_weights_hdf5(path)[0].blobs[0][1], WEIGHT)


def test_links_to_other_files_are_not_followed(tmp_path, model):
    def link(group):
        group["0"] = h5py.ExternalLink(str(model), "/data/ip/0")

    refused(hdf5.read_weights_hdf5, changed(tmp_path, link), "link to elsewhere")


def test_numbers_kept_in_other_files_are_not_read(tmp_path):
    def external(group):
        group.create_dataset("0", (4,), "f4", external=[("/etc/passwd", 0, 16)])

    refused(hdf5.read_weights_hdf5, changed(tmp_path, external), "keeps its numbers in another")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("x", WEIGHT, "is not a blob's index"),
        ("4000000000", WEIGHT, "is not a blob's index"),
        ("0", "text", "not numbers"),
    ],
)
def test_members_that_are_no_blobs_are_refused(tmp_path, name, value, words):
    path = changed(tmp_path, lambda g: g.create_dataset(name, data=value))
    refused(hdf5.read_weights_hdf5, path, "/data/ip/" + name, words)


def test_a_ring_of_groups_does_not_hang(tmp_path):
    def ring(group):
        for i in range(8):
            group.create_group("inner")["a"] = group if i else group.parent
            group = group["inner"]

    refused(hdf5.read_weights_hdf5, changed(tmp_path, ring), "elsewhere too")


def test_a_group_that_holds_itself_is_refused(tmp_path):
    def loop(group):
        group["again"] = group

    refused(hdf5.read_weights_hdf5, changed(tmp_path, loop), "under several names")


def test_one_array_under_many_names_is_not_read_many_times(tmp_path):
    def repeat(group):
        group["0"] = WEIGHT
        group["1"] = group["0"]

    refused(hdf5.read_weights_hdf5, changed(tmp_path, repeat), "under several names")


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path, largest_file):
    path = tmp_path / "m.h5"
    path.write_bytes(b"old")
    with largest_file(1 << 14), pytest.raises(Error, match="cannot write .*m.h5: "):
        hdf5.write_weights_hdf5(path, [("a", [np.zeros(1 << 16, np.float32)])])
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.h5"]


@pytest.mark.parametrize("kind", ["int64", "uint8", "float64", "float16"])
def test_numbers_of_any_kind_are_read_as_float32(tmp_path, kind):
    values = np.arange(3).astype(kind)
    path = changed(tmp_path, lambda g: g.create_dataset("0", data=values))
    (_, _, blobs), *_ = [one for one in hdf5.read_weights_hdf5(path) if one[0] == "ip"]
    array = blobs[0][1]
    assert array.dtype == np.float32 and array.tolist() == [0, 1, 2]
