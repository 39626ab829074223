"""Caffemodels and solverstates in binary form."""

from __future__ import annotations

import base64
import errno
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import Error, InputError
from caffe.proto import caffe_pb2, encoding, wire

# Written by BVLC Caffe 1.0 for an InnerProduct of 2 to 2 after three iterations, diffs included.
BVLC_MODEL = base64.b64decode(
    "CgF0ogYyCgFkEglEdW1teURhdGEiAWQiAWxQAOoGGQoKCghnYXVzc2lhbgoAMgQKAgICMgMKAQKiBnEKAmlwEgxJbm5l"
    "clByb2R1Y3QaAWQiAmlwOioqEIecBr7WVp0/s47vPtIqhj8yEKlAKr0ItKS6qUAqPfyzpDo6BAoCAgI6GSoIisR+PorE"
    "fr4yCB0Syr0dEso9OgMKAQJQAKoHDAgCGggKBnhhdmllcqIGKwoEbG9zcxIPU29mdG1heFdpdGhMb3NzGgJpcBoBbCIE"
    "bG9zcy0AAIA/UAA="
)
BVLC_STATE = base64.b64decode(
    "CAMSE3RfaXRlcl8zLmNhZmZlbW9kZWwaGCoQqUAqvQi0pLqpQCo9/LOkOjoECgICAhoPKggdEsq9HRLKPToDCgECIAE="
)
FROM_HEX = np.vectorize(float.fromhex, otypes=[np.float32])
WEIGHTS = FROM_HEX(
    [["-0x1.0d390ep-3", "0x1.3aadacp+0"], ["0x1.df1d66p-2", "0x1.0c55a4p+0"]],
)
WEIGHT_DIFFS = FROM_HEX(
    [["-0x1.548152p-5", "-0x1.496810p-10"], ["0x1.548152p-5", "0x1.4967f8p-10"]],
)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "bvlc.caffemodel"
    path.write_bytes(BVLC_MODEL)
    return path


def put(tmp_path, message) -> str:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(message if isinstance(message, bytes) else message.SerializeToString())
    return str(path)


def only_blob(tmp_path, **blob):
    net = caffe_pb2.NetParameter()
    net.layer.add(name="fc").blobs.add(**blob)
    return wire.read_weights(put(tmp_path, net))[0].blobs[0]


def test_a_caffemodel_of_bvlc_caffe_is_read_to_the_bit(model):
    layers = wire.read_weights(model)
    assert [(name, kind) for name, kind, _ in layers] == [
        ("d", "DummyData"),
        ("ip", "InnerProduct"),
        ("loss", "SoftmaxWithLoss"),
    ]
    (shape, weights), (bias_shape, _) = layers[1].blobs
    assert shape == (2, 2) and bias_shape == (2,)
    assert weights.dtype == np.float32 and np.array_equal(weights, WEIGHTS)


def test_stored_gradients_are_read_to_the_bit(model):
    name, diffs = wire.read_diffs(model)[1]
    assert name == "ip" and np.array_equal(diffs[0], WEIGHT_DIFFS)


def test_a_solverstate_of_bvlc_caffe_is_read_and_written_back(tmp_path):
    path = tmp_path / "t.solverstate"
    path.write_bytes(BVLC_STATE)
    state = wire.read_solverstate(path)
    assert (state.iter, state.learned_net, state.current_step) == (3, "t_iter_3.caffemodel", 1)
    assert [array.shape for array in state.history] == [(2, 2), (2,)]
    wire.write_solverstate(tmp_path / "ours.solverstate", *state)
    read = caffe_pb2.SolverState.FromString((tmp_path / "ours.solverstate").read_bytes())
    assert read == caffe_pb2.SolverState.FromString(BVLC_STATE)


def test_arrays_are_read_only_views_of_the_file(tmp_path):
    wire.write_net(tmp_path / "n", caffe_pb2.NetParameter(layer=[{}]), [[np.zeros(1 << 20, "f4")]])
    tracemalloc.start()
    try:
        array = wire.read_weights(tmp_path / "n")[0].blobs[0][1]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert array.base is not None and not array.flags.writeable


def test_a_net_that_is_read_and_written_is_the_same_message(model, tmp_path):
    net = caffe_pb2.NetParameter.FromString(BVLC_MODEL + b"\xfa\x3e\x03abc")
    net.layer[1].MergeFromString(b"\xfa\x3e\x02xy")
    expected = net.SerializeToString()
    for layer in net.layer:
        layer.ClearField("blobs")
    blobs = [[array for _, array in blobs] for _, _, blobs in wire.read_weights(model)]
    wire.write_net(tmp_path / "o", net, blobs, [diffs for _, diffs in wire.read_diffs(model)])
    written = caffe_pb2.NetParameter.FromString((tmp_path / "o").read_bytes())
    assert written.SerializeToString() == expected


def test_special_numbers_keep_their_bits(tmp_path):
    bits = np.array([0x7FC00001, 0xFF800000, 0x80000000, 0x00000001], np.uint32)
    net = caffe_pb2.NetParameter(layer=[{"name": "a"}])
    wire.write_net(tmp_path / "o", net, [[bits.view(np.float32)]])
    assert np.array_equal(wire.read_weights(tmp_path / "o")[0].blobs[0][1].view(np.uint32), bits)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4, 5, 6)])
def test_every_shape_goes_round(tmp_path, shape):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wire.write_net(tmp_path / "o", caffe_pb2.NetParameter(layer=[{"name": "a"}]), [[array]])
    stored, values = wire.read_weights(tmp_path / "o")[0].blobs[0]
    assert stored == shape and values.shape == shape and np.array_equal(values, array)


def test_arrays_of_other_types_and_strides_are_stored_as_float32(tmp_path):
    array = np.arange(12.0).reshape(3, 4).T[::-1]
    wire.write_net(tmp_path / "o", caffe_pb2.NetParameter(layer=[{"name": "a"}]), [[array]])
    assert np.array_equal(wire.read_weights(tmp_path / "o")[0].blobs[0][1], array)


def test_numbers_stored_one_field_each_are_read(tmp_path):
    numbers = np.arange(200_000, dtype="<f4")
    table = np.empty((numbers.size, 5), np.uint8)
    table[:, 0], table[:, 1:] = 5 << 3 | 5, numbers.view(np.uint8).reshape(-1, 4)
    blob = table.tobytes() + encoding.encode_bytes(
        7, encoding.encode_bytes(1, encoding.encode_varint(numbers.size))
    )
    net = encoding.encode_bytes(100, encoding.encode_bytes(7, blob))
    assert np.array_equal(wire.read_weights(put(tmp_path, net))[0].blobs[0][1], numbers)


def test_numbers_in_several_pieces_are_joined(tmp_path):
    one = encoding.encode_bytes(5, np.float32([1, 2]).tobytes())
    two = encoding.encode_bytes(5, np.float32([3]).tobytes())
    blob = one + two + encoding.encode_bytes(7, b"\x08\x03")
    net = encoding.encode_bytes(100, encoding.encode_bytes(7, blob))
    assert wire.read_weights(put(tmp_path, net))[0].blobs[0][1].tolist() == [1, 2, 3]


def test_doubles_are_read_as_float32(tmp_path):
    shape, array = only_blob(tmp_path, shape={"dim": [2]}, double_data=[0.1, 2])
    assert array.dtype == np.float32 and np.array_equal(array, np.float32([0.1, 2]))


def test_a_legacy_shape_matches_as_caffe_has_it(tmp_path):
    shape, _ = only_blob(tmp_path, num=1, channels=1, height=2, width=3, data=range(6))
    assert shape == (1, 1, 2, 3)
    assert encoding.shapes_match(shape, (2, 3)) and encoding.shapes_match(shape, (1, 2, 3))
    assert not encoding.shapes_match(shape, (3, 2)) and not encoding.shapes_match(shape, (6,))


def test_a_current_shape_matches_only_itself(tmp_path):
    shape, _ = only_blob(tmp_path, shape={"dim": [1, 1, 2, 3]}, data=range(6))
    assert encoding.shapes_match(shape, (1, 1, 2, 3)) and not encoding.shapes_match(shape, (2, 3))


@pytest.mark.parametrize("generation", ["V0", "V1"])
def test_older_caffemodels_are_read_with_todays_type_names(tmp_path, generation):
    net = caffe_pb2.NetParameter()
    layer = net.layers.add()
    if generation == "V0":
        layer.layer.name, layer.layer.type, owner = "conv1", "conv", layer.layer
    else:
        layer.name, layer.type, owner = "conv1", caffe_pb2.V1LayerParameter.CONVOLUTION, layer
    owner.blobs.add(num=2, channels=1, height=1, width=1, data=[3, 4])
    (name, kind, blobs), *_ = wire.read_weights(put(tmp_path, net))
    assert (name, kind, blobs[0][0]) == ("conv1", "Convolution", (2, 1, 1, 1))
    assert blobs[0][1].ravel().tolist() == [3, 4]


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        wire.read_weights(path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in (str(path), *words)), message


def test_a_caffemodel_cut_in_half_is_refused_by_name(model):
    model.write_bytes(BVLC_MODEL[: len(BVLC_MODEL) // 2])
    refused(model, "damaged or cut short")


def test_numbers_that_do_not_fit_the_shape_name_the_layer(tmp_path):
    net = caffe_pb2.NetParameter()
    net.layer.add(name="fc").blobs.add(shape={"dim": [2, 3]}, data=[1])
    refused(put(tmp_path, net), "layer 'fc', blob 0", "shape (2, 3) with 1 numbers")


@pytest.mark.parametrize("dim", [[-1], [1 << 62], [1 << 20] * 3, [0, 1 << 40, 2], [1] * 33])
def test_impossible_shapes_are_refused_before_memory_is_taken(tmp_path, dim):
    net = caffe_pb2.NetParameter()
    net.layer.add(name="fc").blobs.add(shape={"dim": dim}, data=[1])
    refused(put(tmp_path, net), "layer 'fc', blob 0")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xff" * 40, "is not a caffemodel"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc", "is not a caffemodel"),
        (b"\x0a\x01n", "holds no layers"),
        (b"\x12\x02\x22\x00\xa2\x06\x00", "both of the old and of the current format"),
    ],
)
def test_what_is_no_caffemodel_is_told_so(tmp_path, content, words):
    refused(put(tmp_path, content), words)


def test_a_missing_caffemodel_a_folder_and_a_pipe_are_refused(tmp_path):
    refused(tmp_path / "none.caffemodel", "No such file")
    refused(tmp_path, "it is a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")


def read_or_refuse(read, path) -> None:
    """Any outcome but a clean result, a clean refusal within little memory, fails."""
    tracemalloc.start()
    try:
        read(path)
    except InputError as err:
        assert "\n" not in str(err) and str(path) in str(err)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused_in_little_memory(tmp_path_factory, data):
    read, whole = data.draw(
        st.sampled_from([(wire.read_weights, BVLC_MODEL), (wire.read_solverstate, BVLC_STATE)])
    )
    content = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    read_or_refuse(read, path)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_arbitrary_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "arbitrary"
    path.write_bytes(encoding.encode_bytes(100, encoding.encode_bytes(7, content)))
    read_or_refuse(wire.read_weights, path)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_varints_go_round(value):
    coded = encoding.encode_varint(value)
    read, end = encoding.varint(coded, 0, len(coded))
    assert encoding.signed(read) == value and end == len(coded)


def net_of(size: int):
    return caffe_pb2.NetParameter(layer=[{"name": "a"}]), [[np.zeros(size, np.float32)]]


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(tmp_path, largest_file):
    path = tmp_path / "snap.caffemodel"
    path.write_bytes(b"old")
    said = "cannot write .*snap.caffemodel: File too large"
    with largest_file(1 << 16), pytest.raises(Error, match=said):
        wire.write_net(path, *net_of(1 << 18))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["snap.caffemodel"]


def test_a_disk_that_is_full_only_at_the_sync_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "snap.caffemodel"
    path.write_bytes(b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Error, match="snap.caffemodel: No space left on device") as caught:
        wire.write_net(path, *net_of(4))
    assert caught.value.exit_code == 1 and not isinstance(caught.value, InputError)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["snap.caffemodel"]


def test_what_a_killed_writer_left_beside_a_file_goes_with_the_next_write(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover = tmp_path / f".snap.caffemodel.{dead.pid}.part"
    others = [
        tmp_path / f".snap.caffemodel.{os.getppid()}.part",
        tmp_path / ".snap.caffemodel.x.part",
    ]
    for path in (leftover, *others):
        path.write_bytes(b"half")
    wire.write_net(tmp_path / "snap.caffemodel", *net_of(4))
    assert not leftover.exists() and all(path.exists() for path in others)


def test_a_link_to_a_snapshot_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    wire.write_net(tmp_path / "link", *net_of(1))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() != b"old"


def test_more_than_protobuf_can_hold_is_refused_before_writing(tmp_path):
    huge = np.broadcast_to(np.float32(0), (1 << 29,))
    parts = [memoryview(b"")]
    with pytest.raises(Error, match="2 GiB; use snapshot_format: HDF5"):
        wire._check_size(tmp_path / "o", huge.nbytes + encoding.parts_size(parts))
