from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import caffe
from caffe.engine import InputError
from caffe.proto import caffe_pb2, wire
from tests.helpers.net_texts import data, fill, ip, layer, params

TWO = 'name: "two" ' + data(2, 3) + ip("a", "data", 4) + ip("b", "a", 5)


def same(net, other):
    return all(np.array_equal(x, y) for x, y in zip(params(net), params(other)))


@pytest.fixture(params=["w.caffemodel", "w.caffemodel.h5"])
def saved(make, request):
    """A net and the file of its parameters, in either format."""
    net = make(TWO)
    fill(net, 5)
    (net.save_hdf5 if request.param.endswith(".h5") else net.save)(request.param)
    return net, request.param


def test_what_is_saved_is_loaded_to_the_bit(make, saved):
    net, path = saved
    other = make(TWO)
    assert not same(net, other)
    other.copy_from(path)
    assert same(net, other)


@pytest.mark.parametrize("name", ["w.h5", "weights.hdf5", "w", "w.caffemodel", "w.weights"])
def test_hdf5_is_written_and_read_under_any_name(make, name):
    net, other, third = make(TWO), make(TWO), make(TWO)
    net.save_hdf5(name)
    other.load_hdf5(name)
    third.copy_from(name)
    assert same(net, other) and same(net, third) and same(net, make(TWO, weights=name))


def test_a_caffemodel_is_read_under_any_name(make):
    net, other = make(TWO), make(TWO)
    net.save("w.caffemodel.h5")
    other.copy_from("w.caffemodel.h5")
    assert same(net, other)
    with pytest.raises(InputError, match="w.caffemodel.h5: it is a caffemodel, not an HDF5"):
        other.load_hdf5("w.caffemodel.h5")


def test_layers_are_copied_by_name_and_others_left_alone(make, saved):
    net, path = saved
    text = data(2, 4, name="x") + ip("b", "x", 5) + ip("new", "x", 2)
    other = make(text, name="other.prototxt")
    before = other.params["new"][0].data.copy()
    other.copy_from(path)
    np.testing.assert_array_equal(other.params["b"][0].data, net.params["b"][0].data)
    np.testing.assert_array_equal(other.params["new"][0].data, before)


@pytest.mark.parametrize(
    "text, words",
    [
        (data(2, 3) + ip("a", "data", 4) + ip("b", "a", 6), ["'b'", "(5, 4)", "(6, 4)"]),
        (
            data(2, 3) + ip("a", "data", 4)
            + ip("b", "a", 5).replace("num_output: 5", "num_output: 5 bias_term: false"),
            ["'b'", "2 parameter blobs there, 1 in the net"],
        ),
        (
            data(2, 3) + ip("a", "data", 4)
            + 'layer { name: "b" type: "ReLU" bottom: "a" top: "b" }',
            ["'b'", "2 parameter blobs there, 0 in the net"],
        ),
    ],
)  # fmt: skip
def test_a_layer_of_another_shape_is_named_and_no_parameter_changed(make, saved, text, words):
    _, path = saved
    other = make(text, name="other.prototxt")
    before = params(other)
    with pytest.raises(InputError) as raised:
        other.copy_from(path)
    assert all(word in str(raised.value) for word in [path, *words])
    assert "\n" not in str(raised.value)
    assert all(np.array_equal(x, y) for x, y in zip(before, params(other)))


def test_a_file_without_a_layers_parameters_is_refused_as_by_bvlc(make, saved):
    net, _ = saved
    without = make(data(2, 4) + 'layer { name: "b" type: "ReLU" bottom: "data" top: "b" }')
    for save, path in ((without.save, "n.caffemodel"), (without.save_hdf5, "n.h5")):
        save(path)
        with pytest.raises(InputError, match="'b' has 0 parameter blobs there, 2 in the net"):
            net.copy_from(path)


@pytest.mark.parametrize("part", [0, 0.5, 0.99])
def test_a_file_cut_short_is_named_and_no_parameter_changed(make, saved, part):
    _, path = saved
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * part)])
    other = make(TWO)
    before = params(other)
    with pytest.raises(InputError, match=path):
        other.copy_from(path)
    assert all(np.array_equal(x, y) for x, y in zip(before, params(other)))


@pytest.mark.slow
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.data())
def test_a_caffemodel_with_a_wrong_byte_is_read_or_refused_never_a_crash(make, data):
    net = make(TWO)
    net.save("w.caffemodel")
    content = bytearray(Path("w.caffemodel").read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    Path("w.caffemodel").write_bytes(content)
    try:
        net.copy_from("w.caffemodel")
    except InputError as error:
        assert "w.caffemodel" in str(error) and "\n" not in str(error)


def test_a_missing_file_is_named(make):
    with pytest.raises(InputError, match="nope.caffemodel"):
        make(TWO).copy_from("nope.caffemodel")


SHARED = data(2, 3) + ip("a", "data", 3, 'param { name: "w" } param { name: "b" }')


@pytest.mark.parametrize("second", ['param { name: "w" }', 'param { } param { name: "b" }'])
@pytest.mark.parametrize("path", ["w.caffemodel", "w.h5"])
def test_shared_parameters_survive_a_round_trip(make, second, path):
    text = SHARED + ip("c", "a", 3, second)
    net, other = make(text), make(text)
    fill(net, 3)
    (net.save_hdf5 if path.endswith(".h5") else net.save)(path)
    other.copy_from(path)
    assert same(net, other)


def test_an_hdf5_file_that_lacks_a_parameter_nobody_shares_is_refused(make):
    import h5py

    net = make(TWO)
    net.save_hdf5("w.h5")
    with h5py.File("w.h5", "a") as file:
        del file["data/b/1"]
    with pytest.raises(InputError, match="'b' has 1 parameter blobs there, 2 in the net"):
        net.copy_from("w.h5")


def test_a_saved_file_is_the_net_with_its_blobs(make):
    net = make(TWO)
    net.params["a"][0].diff[...] = 2
    net.save("w.caffemodel", diffs=True)
    stored = caffe_pb2.NetParameter()
    stored.ParseFromString(Path("w.caffemodel").read_bytes())
    assert stored.name == "two"
    assert [layer.name for layer in stored.layer] == ["data", "a", "b"]
    assert list(stored.layer[1].blobs[0].shape.dim) == [4, 3]
    assert set(stored.layer[1].blobs[0].diff) == {2}


def test_save_that_fails_leaves_the_earlier_file(make, monkeypatch):
    net = make(TWO)
    net.save("w.caffemodel")
    before = Path("w.caffemodel").read_bytes()
    net.params["a"][0].data[...] = 0

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(caffe.engine.Error, match="w.caffemodel: No space left on device"):
        net.save("w.caffemodel")
    assert Path("w.caffemodel").read_bytes() == before


def stacked(names):
    """A net of InnerProducts of these names, one on another, each of other shapes."""
    text, bottom = data(2, 3), "data"
    for i, name in enumerate(names):
        text += ip(name, bottom, 4 + i, top=f"t{i}")
        bottom = f"t{i}"
    return text.replace('name: ""', "")


def blobs(net):
    return [blob for layer in net.layers for blob in layer.blobs]


def number(net):
    for i, blob in enumerate(blobs(net)):
        blob.data[...] = np.arange(blob.count).reshape(blob.shape) + 1000 * i


def goes_round(make, text, path="w"):
    net, other = make(text), make(text)
    number(net)
    net.save_hdf5(path, diffs=True)
    other.copy_from(path)
    return all(np.array_equal(x.data, y.data) for x, y in zip(blobs(net), blobs(other)))


@pytest.mark.parametrize(
    "names",
    [
        ["conv1", "conv1/bn", "conv1/scale"],
        ["conv1/bn", "conv1", "conv1/bn/a/b"],
        ["a/b"],
        ["a", "a/0"],
        ["a/1", "a"],
        ["a", "a/7", "a/0/0", "a/0/0/0"],
        ["a", "a"],
        ["a", "b", "a", "b", "a"],
        [""],
        ["", "", ""],
        ["", "a", "/", "//", "a/"],
        [".", "..", "a/./b", "a/../b"],
        ["/a", "a//b", "a"],
        ["data", "diff", "apart", "name", "0", "1"],
        ["größe", "层", "a b", "a\\tb"],
    ],
)
def test_layers_of_any_names_go_through_hdf5(make, names):
    assert goes_round(make, stacked(names))


@given(st.lists(st.text("ab01/.", max_size=5), min_size=1, max_size=6))
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_layers_of_all_names_go_through_hdf5(make, names):
    assert goes_round(make, stacked(names))


def test_a_layer_without_parameters_does_not_take_anothers(make):
    relu = 'layer { name: "a" type: "ReLU" bottom: "data" top: "r" }'
    assert goes_round(make, data(2, 3) + relu + ip("a", "r", 4, top="x") + ip("a", "x", 5, top="y"))


def test_hdf5_of_more_layers_of_a_name_leaves_the_others_alone(make):
    net, one = make(stacked(["a", "a"])), make(stacked(["a"]))
    number(net)
    net.save_hdf5("w")
    one.copy_from("w")
    np.testing.assert_array_equal(one.layers[1].blobs[0].data, net.layers[1].blobs[0].data)


def test_nested_layers_lie_where_bvlc_caffe_puts_them(make):
    make(stacked(["conv1", "conv1/bn"])).save_hdf5("w")
    with h5py.File("w") as file:
        assert sorted(file["data/conv1"]) == ["0", "1", "bn"]
        assert file["data/conv1/bn/0"].shape == (5, 4) and "apart" not in file


@pytest.mark.parametrize("names", [["a", "a/b", ""], ["a", "a"], ["a", "a/0"]])
def test_training_with_hdf5_snapshots_goes_on_whatever_the_layers_names(make_solver, names):
    text = stacked(names) + data(2, name="label")
    text += layer("loss", "SoftmaxWithLoss", [f"t{len(names) - 1}", "label"])
    settings = (
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 2 '
        'snapshot_prefix: "s" snapshot_format: HDF5'
    )
    first, second = make_solver(text, settings), make_solver(text, settings, seed=1)
    first.solve()
    second.restore("s_iter_2.solverstate.h5")
    assert all(np.array_equal(x.data, y.data) for x, y in zip(blobs(first.net), blobs(second.net)))


def test_a_snapshot_is_restored_under_any_name(make_solver, tmp_path):
    text = TWO + data(2, name="label") + layer("loss", "SoftmaxWithLoss", ["b", "label"])
    settings = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s"'
    for form in ("HDF5", "BINARYPROTO"):
        solver = make_solver(text, f"{settings} snapshot_format: {form}")
        solver.step(2)
        os.rename(solver.snapshot(), "some.state")
        other = make_solver(text, settings, seed=1)
        other.restore("some.state")
        assert other.iter == 2 and same(solver.net, other.net)


def test_blobs_of_layers_that_the_net_lacks_are_not_looked_at(tmp_path):
    model = caffe_pb2.NetParameter()
    model.layer.add(name="elsewhere", type="BatchNorm").blobs.add(data=[1, 2, 3])
    (tmp_path / "w.caffemodel").write_bytes(model.SerializeToString())
    layers = wire.read_weights(tmp_path / "w.caffemodel", {"conv"})
    assert layers == [("elsewhere", "BatchNorm", [None])]
    with pytest.raises(InputError, match="layer 'elsewhere', blob 0: .* shape"):
        wire.read_weights(tmp_path / "w.caffemodel")
