from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe._caffe import Blob, BlobVec, BoolVec, DtypeVec, IntVec, LayerVec, RawBlobVec, StringVec
from tests.helpers.net_texts import data, ip

TWO = data(2, 3) + ip("a", "data", 3) + ip("b", "a", 3)
ARRAY = np.zeros((3, 3), np.float32)


@pytest.mark.parametrize("item", [ARRAY, [1, 2], 1.5, "a", None], ids=type)
@pytest.mark.parametrize(
    "change",
    [
        lambda blobs, item: blobs.__setitem__(0, item),
        lambda blobs, item: blobs.__setitem__(slice(0, 1), [item]),
        lambda blobs, item: blobs.append(item),
        lambda blobs, item: blobs.extend([item]),
        lambda blobs, item: blobs.insert(0, item),
        lambda blobs, item: blobs.__iadd__([item]),
    ],
)
def test_parameters_take_blobs_and_no_arrays(make, change, item):
    net = make(TWO)
    before = list(net.params["a"])
    with pytest.raises(TypeError, match="data\\[...\\] = array"):
        change(net.params["a"], item)
    assert net.params["a"] == before


def test_another_layers_blob_may_be_put_in_its_place(make):
    net = make(TWO)
    net.blobs["data"].data[...] = 1
    net.params["a"][0] = net.params["b"][0]
    net.forward()
    weights, bias = net.params["b"][0].data, net.params["a"][1].data
    np.testing.assert_allclose(net.blobs["a"].data[0], weights.sum(1) + bias, rtol=1e-6)


def test_a_blob_is_found_by_itself_and_not_by_its_numbers(make):
    net = make(TWO)
    weights = net.params["a"][0]
    assert weights in net.params["a"] and weights not in net.params["b"]
    assert weights.data not in net.params["a"]


@pytest.mark.parametrize(
    "vector, right, wrong",
    [
        (IntVec, [1, np.int64(2)], [1.5, "1"]),
        (DtypeVec, [1, 1.5, np.float32(2)], ["1", None]),
        (BoolVec, [True, np.bool_(False), 1], ["yes"]),
        (StringVec, ["a", ""], [1, b"a"]),
        (RawBlobVec, [Blob(2)], [ARRAY]),
        (BlobVec, [Blob(2)], [ARRAY]),
        (LayerVec, [caffe.Layer()], [caffe.Layer]),
    ],
)
def test_each_list_takes_items_of_its_own_kind(vector, right, wrong):
    made = vector()
    for item in right:
        made.append(item)
    assert list(made) == right
    for item in wrong:
        with pytest.raises(TypeError, match=f"{vector.__name__} takes no {type(item).__name__}"):
            made.append(item)


@pytest.mark.parametrize(
    "name",
    ["blobs", "params", "layers", "layer_dict", "inputs", "outputs", "bottom_names", "top_names",
     "blob_loss_weights", "_blobs", "_blob_names", "_layer_names", "_inputs", "_outputs"],
)  # fmt: skip
def test_what_a_net_has_cannot_be_replaced(make, name):
    net = make(TWO)
    before = getattr(net, name)
    with pytest.raises(AttributeError, match=name):
        setattr(net, name, None)
    assert getattr(net, name) is before
    net.anything_else = 3


@pytest.mark.parametrize("name", ["net", "test_nets", "param"])
def test_what_a_solver_has_cannot_be_replaced(make_solver, name):
    solver = make_solver(TWO, 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    with pytest.raises(AttributeError, match=name):
        setattr(solver, name, None)


@pytest.mark.parametrize("name", ["blobs", "type"])
def test_what_a_layer_has_cannot_be_replaced(make, name):
    with pytest.raises(AttributeError, match=name):
        setattr(make(TWO).layers[1], name, None)
