"""Names that scripts use of pycaffe's modules. That none is missing, tests/conformance compares."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers.net_texts import data, ip, layer

NET = data(2, 3) + ip("ip", "data")


def test_the_inner_modules_hold_the_same_classes(make):
    from caffe._caffe import BlobVec, Layer, LayerVec, Net, RawBlobVec, layer_type_list
    from caffe.pycaffe import Net as Same, SGDSolver

    assert Net is Same is caffe.Net and SGDSolver is caffe.SGDSolver and Layer is caffe.Layer
    assert issubclass(SGDSolver, caffe._caffe.Solver) and "ReLU" in layer_type_list()
    net = make(NET)
    assert isinstance(net.params["ip"], BlobVec) and isinstance(net.layers, LayerVec)
    assert isinstance(net.params["ip"][0], caffe._caffe.Blob)
    assert not isinstance(net.params["ip"], RawBlobVec)


def test_pycaffes_methods_have_their_names_there_too(make):
    from caffe.pycaffe import _Net_forward, _Net_params

    net = make(NET)
    assert list(_Net_forward(net)) == ["ip"]
    assert list(_Net_params.__get__(net)) == ["ip"]


def test_both_modules_log(capfd):
    try:
        caffe._caffe.init_log()
        caffe._caffe.log("hello")
    finally:
        caffe.log.set_min_level(None)
    assert "] hello" in capfd.readouterr().err


def test_messages_are_filled_as_netspec_does():
    from caffe.net_spec import _param_names, assign_proto, param_name_dict

    assert param_name_dict() == _param_names
    assert _param_names["Convolution"] == "convolution_param"
    assert _param_names["ReLU"] == "relu_param"
    message = caffe.proto.caffe_pb2.LayerParameter()
    assign_proto(message, "convolution_param", dict(num_output=3, kernel_size=[3, 5]))
    assign_proto(message, "bottom", "data")
    assert list(message.convolution_param.kernel_size) == [3, 5] and message.bottom == ["data"]
    with pytest.raises(AttributeError, match="no field 'kernel'"):
        assign_proto(message.convolution_param, "kernel", 3)


def test_descriptors_have_the_names_that_protoc_gives_them():
    from caffe.proto import caffe_pb2

    assert caffe_pb2._NETPARAMETER is caffe_pb2.NetParameter.DESCRIPTOR
    assert caffe_pb2._POOLINGPARAMETER_POOLMETHOD.values_by_name["AVE"].number == 1
    assert caffe_pb2._PHASE.name == "Phase"


@pytest.fixture
def absent(monkeypatch):
    """scikit-image is not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None)


def test_pictures_are_read_by_the_part_of_scikit_image_that_is_there(absent, tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    Image.fromarray(pixels).save(tmp_path / "x.png")
    skimage = caffe.io.skimage
    found = skimage.io.imread(tmp_path / "x.png")
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_allclose(skimage.img_as_float(found), pixels / 255)
    grey = skimage.io.imread(tmp_path / "x.png", as_gray=True)
    np.testing.assert_allclose(grey, caffe.io.load_image(tmp_path / "x.png", False)[..., 0], 1e-6)


def test_what_is_not_there_of_scikit_image_says_what_to_install(absent):
    with pytest.raises(AttributeError, match="skimage.filters: .*pip install scikit-image"):
        _ = caffe.io.skimage.filters
    with pytest.raises(AttributeError, match="skimage.transform.rotate: .*only resize"):
        _ = caffe.io.skimage.transform.rotate
    with pytest.raises(TypeError, match="given: mode='reflect', clip"):
        caffe.io.resize(np.zeros((2, 2)), (3, 3), mode="reflect", clip=False)
    assert not hasattr(caffe.io, "no_such_name")


def test_pictures_are_resized_and_zoomed(absent):
    picture = np.random.RandomState(0).rand(4, 6, 3)
    small = caffe.io.resize(picture, (2, 3))
    assert small.shape == (2, 3, 3)
    assert caffe.io.resize(picture[..., 0], (8, 9), order=3).shape == (8, 9)
    np.testing.assert_array_equal(caffe.io.resize(picture[..., 0], (2, 3)), small[..., 0])
    assert caffe.io.zoom(picture, (2, 2, 1), order=1).shape == (8, 12, 3)


def test_an_installed_scikit_image_is_used(monkeypatch):
    import types

    module = types.ModuleType("skimage")
    for part in ("io", "transform"):
        made = types.ModuleType(f"skimage.{part}")
        setattr(module, part, made)
        monkeypatch.setitem(sys.modules, made.__name__, made)
    module.transform.resize = "its own"
    module.__spec__ = object()
    monkeypatch.setitem(sys.modules, "skimage", module)
    assert caffe.io.skimage is module and caffe.io.resize == "its own"


def test_dir_names_what_is_imported_when_it_is_asked_for():
    assert {"skimage", "resize", "zoom", "load_image"} <= set(dir(caffe.io))


FREE = """
import numpy as np
import caffe
from caffe._caffe import BlobVec, RawBlobVec

class Free(caffe.Layer):
    num_top = 3
    num_bottom = "one"
    is_loss = True
    auto_tops = [1, 2]
    equal_bottoms_tops = "no"
    allow_force_backward = 5

    def setup(self, bottom, top):
        assert type(bottom) is RawBlobVec and type(top) is RawBlobVec
        self.name, self.loss_weights, self.layer_param = "mine", [7, 8], {"a": 1}
        self.bottom, self.top = bottom, top
        self.blobs.add_blob(2)
        assert type(self.blobs) is BlobVec

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        assert self.name == "mine" and self.loss_weights == [7, 8] and self.layer_param == {"a": 1}
        assert self.num_top == 3 and self.is_loss is True
        self.top[0].data[...] = 2 * self.bottom[0].data
        if bottom[0].data[0, 0] > 5:
            top[0] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff
"""


@pytest.fixture
def free(make, tmp_path, monkeypatch):
    """A net with a Python layer that uses the engine's own names for itself."""
    (tmp_path / "free_names.py").write_text(FREE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "free_names", raising=False)
    more = 'python_param { module: "free_names" layer: "Free" }'
    sum_up = layer("sum", "Reduction", "p", more="loss_weight: 1")
    return make(NET + layer("p", "Python", "ip", more=more) + sum_up + "force_backward: true")


def test_a_python_layer_may_use_any_name_for_itself(free):
    free.forward()
    free.backward()
    np.testing.assert_allclose(free.blobs["p"].data, 2 * free.blobs["ip"].data)
    np.testing.assert_array_equal(free.blobs["ip"].diff, 2)
    assert free.blob_loss_weights == {"data": 0, "ip": 0, "p": 0, "sum": 1}
    free.save("w.caffemodel")
    other = caffe.proto.caffe_pb2.NetParameter.FromString(Path("w.caffemodel").read_bytes())
    assert [one.name for one in other.layer] == ["data", "ip", "p", "sum"]


def test_a_top_that_is_given_an_array_is_a_type_error(free):
    free.params["ip"][1].data[...] = 10
    with pytest.raises(TypeError, match="RawBlobVec takes no ndarray; .* top\\[0\\].data"):
        free.forward()
