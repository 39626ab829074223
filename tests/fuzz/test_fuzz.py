"""Damaged and hostile files: a short run over all kinds, and what each reader once got wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from caffe import io
from caffe.errors import InputError
from caffe.proto import caffe_pb2, encoding, hdf5, text, wire
from caffe.reading import databases
from caffe.reading.data_transformer import read_mean
from tests.helpers.processes import environment

ROOT = Path(__file__).resolve().parents[2]


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(ROOT),
        capture_output=True,
        text=True,
        timeout=120,
    )


def fuzz(tmp_path, *arguments):
    return python("-m", "tests.fuzz.run", "--out", str(tmp_path / "found"), *arguments)


def refused(read, *arguments) -> str:
    """The error of a reader, which is one short line."""
    with pytest.raises(InputError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 2100
    return message


@pytest.fixture
def put(tmp_path):
    """put(bytes) -> the path of a file of them."""

    def put(data):
        path = tmp_path / "x"
        path.write_bytes(data)
        return str(path)

    return put


@pytest.fixture
def taken():
    """taken(function): the most bytes of NumPy's and Python's memory that it takes."""
    import tracemalloc

    def taken(function):
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return taken


@pytest.fixture
def few(monkeypatch):
    """A file may hold 100 layers and blobs."""
    monkeypatch.setattr(encoding, "MAX_PARTS", 100)


@pytest.mark.slow
def test_damaged_files_of_all_kinds_are_read_or_refused(tmp_path):
    ran = fuzz(tmp_path, "--inputs", "900", "--seed", "7")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("900 inputs")


BROKEN_READER = """
import os, signal, sys
from tests.fuzz import run, targets
run.PATIENCE, run.SECONDS = 2.0, 0.2
deeds = {{
    3: lambda: os.kill(os.getpid(), signal.SIGSEGV),
    5: lambda: signal.pause(),
    7: lambda: {{}}["no such key"],
    8: lambda: bytearray(100 << 20),
    9: lambda: [sum(range(10**6)) for _ in range(30)],
}}
seen = targets.TARGETS["solverstate"]
count = lambda data, path: deeds.get(int(data[0]), lambda: None)()
targets.TARGETS["solverstate"] = seen._replace(seeds=lambda folder: [b"\\0"], read=count)
run.make_input = lambda name, seeds, seed, number: bytes([number])
sys.exit(run.main(["--target", "solverstate", "--inputs", "12", "--out", {out!r}]))
"""


@pytest.mark.slow
def test_a_crash_a_hang_another_exception_too_much_memory_and_time_are_found(tmp_path):
    ran = python("-c", BROKEN_READER.format(out=str(tmp_path)))
    assert ran.returncode == 1 and "12 inputs" in ran.stdout, ran.stdout + ran.stderr
    for number, words in {
        3: "crash: SIGSEGV",
        5: "went on for more than",
        7: "KeyError",
        8: " MiB for 1 bytes",
        9: " s: ",
    }.items():
        assert (tmp_path / f"solverstate-1-{number}").read_bytes() == bytes([number])
        line = next(x for x in ran.stdout.splitlines() if x.endswith(f"solverstate-1-{number}"))
        assert words in line


# -- texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["9" * 5000, "layer { type: " + "9" * 5000 + "}", "é" * 5000])
def test_a_word_of_thousands_of_characters_is_not_repeated_in_the_error(content):
    refused(text.parse_net, content)


def test_a_long_name_with_line_breaks_does_not_make_the_error_long(put):
    name = "a\nb" * 5000
    for generation, kind in (("layer", b""), ("layers", b"conv")):
        net = caffe_pb2.NetParameter()
        getattr(net, generation).add(name=name).blobs.add(data=[1, 2])
        refused(wire.read_weights, put(net.SerializeToString() + kind))
    refused(text.parse_net, 'layers { layer { name: "a\\nb" type: "' + "x" * 5000 + '" } }')


def test_a_row_of_many_blanks_is_refused_before_protobuf_takes_memory_for_each():
    words = refused(text.parse_net, "\n" + "\t" * 100_000 + 'name: "a"')
    assert words == "text:2: 100000 blanks in a row are too many"
    assert text.parse_net((" " * 1000 + "\n") * 200 + 'name: "a"').name == "a"


# -- protobuf -----------------------------------------------------------------------------------


def test_a_caffemodel_of_very_many_empty_layers_is_refused(put, few):
    refused(wire.read_weights, put(encoding.encode_bytes(100, b"") * 101))
    assert len(wire.read_weights(put(encoding.encode_bytes(100, b"") * 100))) == 100


def test_layers_of_very_many_empty_blobs_are_refused(put, few):
    empty = encoding.encode_bytes(7, encoding.encode_bytes(7, encoding.encode_bytes(1, b"\0")))
    for layers, blobs in ((6, 20), (1, 101)):
        path = put(encoding.encode_bytes(100, empty * blobs) * layers)
        assert "more than 100 layers or blobs" in refused(wire.read_weights, path)


def test_a_solverstate_of_very_many_empty_blobs_is_refused(put, few):
    empty = encoding.encode_bytes(7, encoding.encode_bytes(1, b"\0"))
    refused(wire.read_solverstate, put(encoding.encode_bytes(3, empty) * 101))


def test_a_blob_of_very_many_axes_is_refused_at_the_first_too_many(put, taken):
    axes = encoding.encode_bytes(7, b"\x08\x01" * 500_000)
    path = put(encoding.encode_bytes(100, encoding.encode_bytes(7, axes)))
    assert taken(lambda: refused(wire.read_weights, path)) < 1 << 20


@pytest.mark.slow
def test_numbers_that_alternate_with_gradients_take_no_array_each(put, taken):
    count = 20_000
    shape = encoding.encode_bytes(7, encoding.encode_bytes(1, encoding.encode_varint(count)))
    pairs = np.zeros((count, 10), np.uint8)
    pairs[:, 0], pairs[:, 5] = 5 << 3 | 5, 6 << 3 | 5
    pairs[:, 1:5] = np.arange(count, dtype="<f4").view(np.uint8).reshape(-1, 4)
    path = put(encoding.encode_bytes(100, encoding.encode_bytes(7, pairs.tobytes() + shape)))
    assert taken(lambda: wire.read_weights(path)) < 4 * pairs.nbytes
    assert np.array_equal(wire.read_weights(path)[0].blobs[0][1], np.arange(count))
    assert not wire.read_diffs(path)[0][1][0].any()


@pytest.mark.parametrize(
    "dims", [[-1, -1], [1 << 32, 1 << 32], [0, 1 << 62, 1 << 62], [1] * 100, [0] * 100]
)
def test_impossible_shapes_in_a_blobproto_are_the_engines_error(dims):
    blob = caffe_pb2.BlobProto(shape={"dim": dims}, data=[1] if 0 not in dims else [])
    refused(io.blobproto_to_array, blob)


def test_the_numbers_of_messages_do_not_become_lists(taken):
    count = 300_000
    blob = caffe_pb2.BlobProto(shape={"dim": [count]}, data=np.zeros(count).tolist())
    datum = caffe_pb2.Datum(channels=1, height=1, width=count, float_data=blob.data)
    assert taken(lambda: io.blobproto_to_array(blob)) < 10 * count
    assert taken(lambda: io.datum_to_array(datum)) < 10 * count


def test_a_mean_takes_little_more_than_its_numbers(put, taken):
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=300, width=300, data=[0.5] * 270_000)
    path = put(blob.SerializeToString())
    assert taken(lambda: read_mean(path)) < 2 * 4 * 270_000


def test_doubles_beyond_float32_in_a_mean_are_infinite_without_a_warning(put, recwarn):
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=1, width=1, double_data=[1e300])
    assert np.isinf(read_mean(put(blob.SerializeToString()))).all() and not recwarn.list


# -- HDF5 ---------------------------------------------------------------------------------------


@pytest.fixture
def hdf5_file(tmp_path):
    """hdf5_file(change) -> the path of a file in which `change(group)` filled 'data/ip'."""
    h5py = pytest.importorskip("h5py")

    def make(change, group="data/ip"):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            change(file.create_group(group))
        return tmp_path / "x.h5"

    return make


def replaced(path, old: bytes, new: bytes):
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


def in_pieces(group):
    group.create_dataset("0", data=np.zeros((20, 30), "f4"), chunks=(10, 10), compression="gzip")


def test_a_history_of_groups_is_refused(hdf5_file):
    path = hdf5_file(lambda group: group.create_group("0"), "history")
    assert "is a group, not an array" in refused(hdf5.read_solverstate_hdf5, path)


def test_pieces_of_other_axes_than_the_array_are_refused(hdf5_file):
    """HDF5's library would go on without end. The dataspace says 1 axis in place of 2."""
    shape = b"".join(n.to_bytes(8, "little") for n in (20, 30))
    head = b"\x01\x02\x01" + bytes(5)  # version, axes, with the largest shape
    path = replaced(hdf5_file(in_pieces), head + shape, b"\x01\x01" + bytes(6) + shape)
    assert "in pieces of shape (10, 10)" in refused(hdf5.read_weights_hdf5, path)


def test_a_filter_without_its_setting_is_refused(hdf5_file):
    """h5py looks for deflate's level without asking whether there is one."""
    path = hdf5_file(in_pieces)
    content = path.read_bytes()
    place = content.index(b"deflate\0")
    path.write_bytes(content[: place - 2] + b"\0\0" + content[place:])
    refused(hdf5.read_weights_hdf5, path)


def test_pieces_larger_than_their_bytes_can_fill_are_refused(hdf5_file):
    def huge(group):
        data = group.create_dataset(
            "0", (1,), "f4", chunks=(1 << 28,), maxshape=(None,), compression="gzip"
        )
        data.id.write_direct_chunk((0,), b"x\x9c\x03\x00\x00\x00\x00\x01")

    assert "has shape (1,) but only 8 bytes" in refused(hdf5.read_weights_hdf5, hdf5_file(huge))


def test_a_ring_of_free_places_in_a_heap_is_refused(hdf5_file):
    """HDF5's library would follow it without end. The first free place names itself as next."""
    path = hdf5_file(lambda group: group.create_dataset("0", data=np.zeros(4, "f4")))
    content = bytearray(path.read_bytes())
    heap = content.rindex(b"HEAP")
    free, names = (int.from_bytes(content[heap + i : heap + i + 8], "little") for i in (16, 24))
    content[names + free : names + free + 8] = free.to_bytes(8, "little")
    for size in (content[heap + 8 : heap + 16], b"\xff" * 8):
        content[heap + 8 : heap + 16] = size
        path.write_bytes(content)
        assert "more free places than room" in refused(hdf5.read_weights_hdf5, path)


def test_a_heap_whose_names_are_elsewhere_is_refused(hdf5_file):
    path = hdf5_file(lambda group: group.create_dataset("0", data=np.zeros(4, "f4")))
    content = bytearray(path.read_bytes())
    heap = content.rindex(b"HEAP")
    content[heap + 24] ^= 0xC2
    path.write_bytes(content)
    refused(hdf5.read_weights_hdf5, path)


def test_a_file_that_asks_for_another_driver_is_refused(hdf5_file):
    """HDF5's library would take the memory that the driver's description asks for."""
    path = hdf5_file(in_pieces)
    content = bytearray(path.read_bytes())
    content[48:56] = (1471).to_bytes(8, "little")
    path.write_bytes(content)
    assert "in a way that Caffe does not use" in refused(hdf5.read_weights_hdf5, path)


def test_files_in_hdf5s_newer_form_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file["data/ip/0"] = np.arange(4, dtype="f4")
    assert hdf5.read_weights_hdf5(tmp_path / "x.h5")[0].blobs[0][1].sum() == 6


def test_one_array_in_many_layers_is_not_read_many_times(hdf5_file):
    def linked(group):
        array = group.create_dataset("0", data=np.zeros(10_000, "f4"))
        for i in range(20):
            group.parent.create_group(f"layer{i}")["0"] = array

    words = refused(hdf5.read_weights_hdf5, hdf5_file(linked))
    assert "and the arrays before it are more than the file" in words


def test_arrays_compressed_twice_are_refused(hdf5_file):
    h5py = pytest.importorskip("h5py")

    def twice(group):
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((100,))
        settings.set_deflate(9)
        settings.set_deflate(9)
        space = h5py.h5s.create_simple((100,))
        data = h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, settings)
        h5py.Dataset(data)[...] = 0

    assert "compressed more than once" in refused(hdf5.read_weights_hdf5, hdf5_file(twice))


# -- databases ----------------------------------------------------------------------------------


def test_a_database_that_is_dropped_while_another_is_opened_is_closed_without_waiting():
    """The garbage collector may drop one at any time, in the thread that is opening another."""

    class Opened:
        closed = False

        def close(self):
            self.closed = True

    first, second = Opened(), Opened()

    def opening(path):
        databases._release("first")
        return second

    def work():
        databases._acquire("first", lambda path: first)
        databases._acquire("second", opening)
        databases._release("second")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and first.closed and second.closed
    assert not {"first", "second"} & databases._shared.keys()
