"""Weights stored as raw numbers, in the form of NVIDIA Caffe: float16, float and double."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe import io
from caffe.errors import Error, InputError
from caffe.proto import caffe_pb2, encoding, wire

DTYPES = {0: "<f8", 1: "<f4", 2: "<f2"}


def raw_blob(kind, content: bytes, dims, number=12) -> bytes:
    """A BlobProto with raw numbers; `kind` None leaves their type out."""
    head = b"" if kind is None else encoding.encode_varint((number - 2) << 3)
    head += b"" if kind is None else encoding.encode_varint(kind)
    shape = encoding.encode_bytes(1, b"".join(map(encoding.encode_varint, dims)))
    return head + encoding.encode_bytes(number, content) + encoding.encode_bytes(7, shape)


def put(tmp_path, blob: bytes, generation="LayerParameter") -> str:
    name, blobs, layers = (1, 7, 100) if generation == "LayerParameter" else (4, 6, 2)
    layer = encoding.encode_bytes(name, b"fc") + encoding.encode_bytes(blobs, blob)
    path = tmp_path / "raw.caffemodel"
    path.write_bytes(encoding.encode_bytes(layers, layer))
    return str(path)


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        wire.read_weights(path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in (path, *words)), message


@pytest.mark.parametrize("generation", ["LayerParameter", "V1LayerParameter"])
@pytest.mark.parametrize("kind", DTYPES)
def test_raw_numbers_of_each_type_are_read_as_float32(tmp_path, kind, generation):
    numbers = np.array([[1.5, -2], [65504, 2**-24]], DTYPES[kind])
    path = put(tmp_path, raw_blob(kind, numbers.tobytes(), (2, 2)), generation)
    shape, array = wire.read_weights(path)[0].blobs[0]
    assert shape == (2, 2) and array.dtype == np.float32 and not array.flags.writeable
    assert np.array_equal(array, numbers)


def test_raw_gradients_are_read(tmp_path):
    numbers = np.array([3, 4], "<f2")
    blob = raw_blob(2, numbers.tobytes(), (2,)) + raw_blob(2, (2 * numbers).tobytes(), (), 13)
    assert wire.read_diffs(put(tmp_path, blob))[0][1][0].tolist() == [6, 8]


def test_a_file_of_raw_numbers_that_is_damaged_is_refused_in_one_line(tmp_path):
    four = np.zeros(4, "<f2").tobytes()
    refused(put(tmp_path, raw_blob(2, four, (5,))), "layer 'fc', blob 0", "(5,) with 4 numbers")
    refused(put(tmp_path, raw_blob(2, four[:-1], (4,))), "layer 'fc'", "7 bytes", "float16")
    refused(put(tmp_path, raw_blob(None, four, (4,))), "layer 'fc'", "no type")
    for kind in (3, 9, (1 << 64) - 1):
        refused(put(tmp_path, raw_blob(kind, four, (4,))), f"unknown type {kind}")
    refused(put(tmp_path, b"\x60\x01" + raw_blob(2, four, (4,))), "field 12 has wire type 0")


def test_float16_files_differ_by_no_more_than_rounding_to_nearest(tmp_path):
    random = np.random.RandomState(1)
    normal = (random.randn(4000) * 10.0 ** random.uniform(-4, 4, 4000)).astype("f4")
    normal = normal[(np.abs(normal) >= 2**-14) & (np.abs(normal) < 65504)]
    small = (random.uniform(-1, 1, 4000) * 2**-14).astype("f4")
    wire.write_float16(tmp_path / "h", {"n": [normal.reshape(1, -1)], "s": [small]})
    layers = {layer.name: layer.blobs[0] for layer in wire.read_weights(tmp_path / "h")}
    assert layers["n"][0] == (1, normal.size)
    assert (np.abs(layers["n"][1][0] - normal) <= np.abs(normal) * 2.0**-11).all()
    assert (np.abs(layers["s"][1] - small) <= 2.0**-25).all()
    assert not np.array_equal(layers["s"][1], small)


def test_a_float16_file_takes_half_the_size_and_keeps_special_numbers(tmp_path):
    array = np.float32([np.nan, np.inf, -np.inf, -0.0] + [1] * 4996)
    wire.write_float16(tmp_path / "h", {"a": [array], "scalar": [np.float32(3)], "e": [[]]})
    found = {layer.name: layer.blobs[0] for layer in wire.read_weights(tmp_path / "h")}
    assert np.array_equal(found["a"][1], array, equal_nan=True) and np.signbit(found["a"][1][3])
    assert found["scalar"][0] == () and found["scalar"][1] == 3 and found["e"][0] == (0,)
    assert (tmp_path / "h").stat().st_size < 2 * array.size + 100


@pytest.mark.parametrize("value", [65520, -7e4])
def test_a_number_too_large_for_float16_is_refused_and_nothing_written(tmp_path, value):
    with pytest.raises(Error, match=rf"layer 'b', blob 1: {value:g} is beyond .* 65504"):
        wire.write_float16(tmp_path / "h", {"b": [[np.inf], [1, value, np.nan]]})
    assert not list(tmp_path.iterdir())


def test_a_net_takes_its_parameters_from_a_float16_file(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }\n'
        'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"\n'
        "  inner_product_param { num_output: 3 } }\n"
    )
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    weights, bias = np.arange(6.0).reshape(3, 2) / 8, np.arange(3.0)
    wire.write_float16(tmp_path / "h.caffemodel", {"fc": [weights, bias]})
    net.copy_from(str(tmp_path / "h.caffemodel"))
    assert np.array_equal(net.params["fc"][0].data, weights)
    assert np.array_equal(net.params["fc"][1].data, bias)


def test_a_blobproto_with_raw_numbers_becomes_an_array():
    numbers = np.array([[1, 2]], "<f2")
    content = raw_blob(2, numbers.tobytes(), (1, 2)) + raw_blob(2, (-numbers).tobytes(), (), 13)
    blob = caffe_pb2.BlobProto.FromString(content)
    assert io.blobproto_to_array(blob).tolist() == [[1, 2]]
    assert io.blobproto_to_array(blob, return_diff=True).tolist() == [[-1, -2]]


def test_a_blobproto_with_raw_numbers_of_an_unknown_type_is_a_value_error():
    blob = caffe_pb2.BlobProto.FromString(raw_blob(7, b"12", (1,)))
    with pytest.raises(ValueError, match="unknown type 7"):
        io.blobproto_to_array(blob)
