"""Weights from caffemodels: both formats, with and without prototxt, whole and broken."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import caffe
from caffe.proto import caffe_pb2
from prototxt.errors import InputError
from surgery.errors import SurgeryError
from surgery.importers import caffemodel as importer, read_source
from tests.helpers.surgery_nets import caffemodel, small_vgg, v1_caffemodel

MEAN = (104.0, 116.0, 122.0)

V1_PROTOTXT = """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv1_1" type: CONVOLUTION bottom: "data" top: "conv1_1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "conv1_2" type: CONVOLUTION bottom: "conv1_1" top: "conv1_2"
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "scores" type: INNER_PRODUCT bottom: "conv1_2" top: "scores"
  inner_product_param { num_output: OUTPUTS } }
"""


@pytest.fixture(params=["engine", "protobuf"])
def read(request, monkeypatch):
    """The importer's `read`, with the engine's reader, and with protobuf as under BVLC Caffe."""
    if request.param == "protobuf":
        monkeypatch.delattr(caffe, "engine", raising=False)
    elif not hasattr(caffe, "engine"):
        pytest.skip("BVLC Caffe has no reader of its own")
    return importer.read


def raw_caffemodel(kind, raw):
    """A caffemodel with 3 numbers of layer a as raw bytes (BlobProto's raw_data_type, raw_data)."""
    blob = caffe_pb2.BlobProto(shape={"dim": [3]}).SerializeToString()
    blob += bytes([10 << 3, kind, 12 << 3 | 2, len(raw)]) + raw
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob)]) + blob
    return b"\xa2\x06" + bytes([len(layer)]) + layer


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        assert [a.shape for a in found[name]] == [a.shape for a in arrays], name
        assert all(map(np.array_equal, found[name], arrays)), name


@pytest.mark.parametrize("encode", [v1_caffemodel, caffemodel])
def test_a_caffemodel_alone_gives_names_shapes_and_numbers(tmp_path, encode):
    path = tmp_path / "vgg.caffemodel"
    path.write_bytes(encode(small_vgg()))
    found = read_source(str(path), MEAN)
    assert_same(found, small_vgg())
    assert all(a.dtype == np.float32 for arrays in found.values() for a in arrays)


def test_numbers_encoded_one_by_one_are_read(tmp_path, read):
    numbers = np.arange(4, dtype="f4")
    blob = b"".join(b"\x2d" + struct.pack("<f", number) for number in numbers)
    blob += caffe_pb2.BlobProto(shape={"dim": [2, 2]}).SerializeToString()
    model = caffe_pb2.NetParameter()
    model.layer.add(name="a", blobs=[caffe_pb2.BlobProto.FromString(blob)])
    packed = model.layer[0].blobs[0].SerializeToString()
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob)]) + blob
    assert packed != blob
    (tmp_path / "a.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    assert_same(read(str(tmp_path / "a.caffemodel")), {"a": [numbers.reshape(2, 2)]})


def test_double_precision_is_read(tmp_path, read):
    model = caffe_pb2.NetParameter()
    model.layer.add(name="a").blobs.add(double_data=[1.5, 2.5], shape={"dim": [2]})
    (tmp_path / "a.caffemodel").write_bytes(model.SerializeToString())
    assert_same(read(str(tmp_path / "a.caffemodel")), {"a": [np.array([1.5, 2.5], "f4")]})


def test_with_its_prototxt_weights_have_the_nets_shapes(tmp_path):
    weights = small_vgg()
    weights = {"conv1_1": weights["conv1_1"], "conv1_2": weights["conv1_2"]}
    weights["scores"] = [np.ones((5, 64), "f4"), np.ones(5, "f4")]
    (tmp_path / "v.caffemodel").write_bytes(v1_caffemodel(weights))
    (tmp_path / "v.prototxt").write_text(V1_PROTOTXT.replace("OUTPUTS", "5"))
    assert_same(read_source(f"{tmp_path}/v.caffemodel:{tmp_path}/v.prototxt", MEAN), weights)


def test_a_prototxt_of_another_net_is_named_with_both_shapes(tmp_path):
    weights = {"scores": [np.ones((5, 64), "f4"), np.ones(5, "f4")]}
    (tmp_path / "v.caffemodel").write_bytes(v1_caffemodel(weights))
    (tmp_path / "v.prototxt").write_text(V1_PROTOTXT.replace("OUTPUTS", "6"))
    with pytest.raises(SurgeryError, match="layer scores.*5x64.*6x64"):
        read_source(f"{tmp_path}/v.caffemodel:{tmp_path}/v.prototxt", MEAN)


def test_a_typo_in_the_prototxt_is_named_by_its_line(tmp_path):
    (tmp_path / "v.caffemodel").write_bytes(v1_caffemodel(small_vgg()))
    (tmp_path / "v.prototxt").write_text(V1_PROTOTXT.replace("OUTPUTS", "5 outputs: 1"))
    with pytest.raises(InputError, match="v.prototxt:7:.*outputs"):
        read_source(f"{tmp_path}/v.caffemodel:{tmp_path}/v.prototxt", MEAN)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_file_cut_anywhere_is_refused_or_ends_at_a_whole_layer(tmp_path, read, part, old):
    whole = (v1_caffemodel if old else caffemodel)(small_vgg())
    path = tmp_path / "cut.caffemodel"
    path.write_bytes(whole[: int(part * len(whole))])
    try:
        found = read(str(path))
    except SurgeryError as error:
        assert error.exit_code == 2 and str(path) in str(error)
    else:
        kept = dict(list(small_vgg().items())[: len(found)])
        assert len(kept) < len(small_vgg())
        assert_same(found, kept)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_file_with_a_wrong_byte_is_read_or_refused_never_worse(tmp_path, read, data):
    whole = bytearray(caffemodel({"a": [np.ones((2, 3), "f4"), np.ones(2, "f4")]}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "wrong.caffemodel"
    path.write_bytes(whole)
    try:
        found = read(str(path))
    except SurgeryError:
        return
    assert all(array.dtype == np.float32 for arrays in found.values() for array in arrays)


def test_an_array_that_does_not_fill_its_shape_is_refused(tmp_path, read):
    model = caffe_pb2.NetParameter()
    model.layer.add(name="a").blobs.add(data=[1, 2, 3], shape={"dim": [2, 2]})
    (tmp_path / "a.caffemodel").write_bytes(model.SerializeToString())
    with pytest.raises(SurgeryError, match=r"layer 'a', blob 0.*\(2, 2\) with 3 numbers"):
        read(str(tmp_path / "a.caffemodel"))


def test_a_model_of_the_format_before_v1_is_read(tmp_path, read):
    model = caffe_pb2.NetParameter()
    old = model.layers.add(layer={"name": "a", "type": "conv"}).layer
    old.blobs.add(num=2, channels=1, height=1, width=1, data=[1, 2])
    (tmp_path / "a.caffemodel").write_bytes(model.SerializeToString())
    assert_same(read(str(tmp_path / "a.caffemodel")), {"a": [np.float32([[[[1]]], [[[2]]]])]})


def test_axes_of_size_1_are_left_out_where_the_shape_is_stored_as_four_numbers(tmp_path, read):
    model = caffe_pb2.NetParameter()
    layer = model.layers.add(name="fc", type="INNER_PRODUCT")
    layer.blobs.add(num=1, channels=1, height=2, width=3, data=range(6))
    layer.blobs.add(num=1, channels=1, height=1, width=2, data=[7, 8])
    model.layers.add(name="up", type="DECONVOLUTION").blobs.add(
        shape={"dim": [1, 1, 2, 2]}, data=range(4)
    )
    (tmp_path / "a.caffemodel").write_bytes(model.SerializeToString())
    found = read(str(tmp_path / "a.caffemodel"))
    assert {name: [a.shape for a in arrays] for name, arrays in found.items()} == {
        "fc": [(2, 3), (2,)],
        "up": [(1, 1, 2, 2)],
    }


@pytest.mark.parametrize("kind, numbers", [(0, "<f8"), (1, "<f4"), (2, "<f2")])
def test_numbers_that_nvidia_caffe_stores_as_bytes_are_read(tmp_path, read, kind, numbers):
    raw = np.array([1.5, -2, 0.25], numbers).tobytes()
    path = tmp_path / "a.caffemodel"
    path.write_bytes(raw_caffemodel(kind, raw))
    assert_same(read(str(path)), {"a": [np.array([1.5, -2, 0.25], "f4")]})


@pytest.mark.parametrize(
    "kind, raw, words",
    [
        (5, bytes(6), "raw numbers of the unknown type 5"),
        (2, bytes(5), "5 bytes of raw numbers are no whole count of float16"),
        (2, bytes(8), r"\(3,\) with 4 numbers"),
    ],
)
def test_damaged_bytes_of_nvidia_caffe_are_refused_in_one_line(tmp_path, read, kind, raw, words):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(raw_caffemodel(kind, raw))
    with pytest.raises(SurgeryError, match=f"a.caffemodel.*layer 'a', blob 0: .*{words}"):
        read(str(path))


def test_caffes_hdf5_weights_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    weights = {"conv1_1": small_vgg()["conv1_1"], "fc6": small_vgg()["fc6"]}
    with h5py.File(tmp_path / "v.caffemodel.h5", "w") as file:
        for name, arrays in weights.items():
            for index, array in enumerate(arrays):
                file[f"data/{name}/{index}"] = array
        file.create_group("data/relu1_1")
    assert_same(read_source(str(tmp_path / "v.caffemodel.h5"), MEAN), weights)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.caffemodel", b"", "empty"),
        ("a.caffemodel", b"PNG\r\n not weights", "a text that begins 'PNG', not a caffemodel"),
        ("a.caffemodel", b"\0PNG\r\n not weights", "damaged"),
        ("a.npz", b"", "the file is empty"),
        ("a.weights", b"\xff\0", "unknown kind"),
        ("a.h5", b"nothing", "a text that begins 'nothing', not a caffemodel"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SurgeryError, match=f"{name}.*{words}"):
        read_source(str(tmp_path / name), MEAN)


@pytest.mark.parametrize("source", ["none.caffemodel", "none.caffemodel:none.prototxt", "none.pth"])
def test_a_missing_file_is_named(source):
    with pytest.raises(SurgeryError, match="none.*no such file"):
        read_source(source, MEAN)
