from __future__ import annotations

import sys
import types
import warnings
import weakref

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.helpers.net_texts import CLASSIFIER, data, fill, ip, layer, losses, params

X = data(2, 3)
FORCED = "force_backward: true "


# -- construction


def test_every_constructor_form_gives_the_same_net(make):
    net = make(CLASSIFIER)
    fill(net)
    net.save("w.caffemodel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forms = [
            caffe.Net("net.prototxt", caffe.TEST, weights="w.caffemodel"),
            caffe.Net("net.prototxt", "w.caffemodel", caffe.TEST),
            caffe.Net("net.prototxt", caffe.TEST, 0, ["a"], "w.caffemodel"),
            caffe.Net(network_file="net.prototxt", phase=caffe.TEST, weights="w.caffemodel"),
        ]
    for other in forms:
        assert list(other.blobs) == ["data", "label", "ip", "loss"]
        for mine, theirs in zip(params(net), params(other)):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("args", [(), (2,), (caffe.TEST, 0, None, None, 5)])
def test_other_arguments_are_refused(write, args):
    with pytest.raises(TypeError, match="phase"):
        caffe.Net(write(CLASSIFIER), *args)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), r"Net needs a phase: Net\('net.prototxt', caffe.TEST\), or caffe.TRAIN"),
        (("w.caffemodel",), r"Net\('net.prototxt', caffe.TEST, weights='w.caffemodel'\)"),
        (("TEST",), "phase is caffe.TEST, not the text 'TEST'"),
        ((2,), "phase is caffe.TRAIN or caffe.TEST, not 2"),
        ((caffe.TEST, 0, None, None, 5), "takes no more"),
    ],
)
def test_a_call_without_a_right_phase_is_told_the_right_one(make, args, words):
    make(X)
    with pytest.raises(TypeError, match=words):
        caffe.Net("net.prototxt", *args)


def test_phase_level_and_stages_choose_the_layers(make):
    text = (
        X
        + layer("train", "ReLU", "data", more="include { phase: TRAIN }")
        + layer("deep", "ReLU", "data", more="include { min_level: 2 }")
        + layer("staged", "ReLU", "data", more='include { stage: "s" phase: TEST }')
    )

    def names(*args, **more):
        return [n for n in make(text, *args, **more)._layer_names if "split" not in n]

    assert names(caffe.TEST) == ["data"]
    assert names(caffe.TRAIN) == ["data", "train"]
    assert names(caffe.TEST, level=2) == ["data", "deep"]
    assert names(caffe.TEST, stages=["s", "t"]) == ["data", "staged"]


def test_splits_are_layers_with_caffes_names(make):
    net = make(X + layer("b", "ReLU", "data") + layer("a", "ReLU", "data"))
    assert net._layer_names == ["data", "data_data_0_split", "b", "a"]
    assert net.bottom_names["a"] == ["data_data_0_split_1"]
    assert list(net.blobs) == ["data", "data_data_0_split_0", "data_data_0_split_1", "b", "a"]


def test_inputs_come_in_the_files_order_and_outputs_by_name(make):
    net = make(
        data(2, 3, name="z")
        + data(2, 3, name="a")
        + layer("r", "ReLU", "z", "y")
        + layer("s", "ReLU", "a", "Zed")
    )
    assert net.inputs == ["z", "a"]
    assert net.outputs == ["Zed", "y"]


def test_an_in_place_layer_adds_no_blob(make):
    net = make(X + layer("r", "ReLU", "data", "data"))
    assert list(net.blobs) == ["data"]
    net.blobs["data"].data[...] = -1
    net.forward()
    assert not net.blobs["data"].data.any()


def test_a_loss_without_a_top_is_counted_all_the_same(make):
    text = CLASSIFIER.replace('top: "loss"', "")
    net = make(text, caffe.TRAIN)
    assert net.outputs == []
    assert "(automatic)" in net.blobs
    net.blobs["data"].data[...] = 1
    assert net._forward(0, len(net.layers) - 1) == pytest.approx(net.blobs["(automatic)"].data)
    net.backward()
    assert net.params["ip"][0].diff.any()


def test_params_hold_the_layers_that_have_any(make):
    net = make(CLASSIFIER)
    assert {name: [b.shape for b in blobs] for name, blobs in net.params.items()} == {
        "ip": [(3, 3), (3,)]
    }
    assert net.layer_dict["ip"].type == "InnerProduct"
    assert net.blob_loss_weights["loss"] == 1 and net.blob_loss_weights["ip"] == 0


@pytest.mark.parametrize(
    "text, words",
    [
        (X + layer("a", "Convolutoin", "data"), ["layer 'a'", "Convolutoin", "'Convolution'"]),
        (X + layer("a", "ReLU", "data", more="relu_parm { }"), [":2", "relu_parm", "relu_param"]),
        (X + layer("a", "ReLU", "nowhere"), ["layer 'a'", "nowhere"]),
        (layer("a", "ReLU", "data") + X, ["layer 'a'", "data"]),
        (
            X + layer("a", "ReLU", "data", "x") + layer("b", "ReLU", "data", "x"),
            ["layer 'b'", "'x'", "earlier layer"],
        ),
        (
            X + layer("a", "ReLU", ["data", "data"]),
            ["layer 'a'", "takes 1 bottom blobs", "given 2"],
        ),
        (X + layer("a", "Eltwise", "data"), ["layer 'a'", "bottom", "given 1"]),
        (X + layer("a", "ReLU", "data", ["x", "y"]), ["layer 'a'", "takes 1 top"]),
        (
            X + layer("a", "ReLU", "data", more="propagate_down: true propagate_down: true"),
            ["layer 'a'", "propagate_down", "2 times for 1"],
        ),
        (
            X + layer("a", "ReLU", "data", more="loss_weight: 1 loss_weight: 2"),
            ["layer 'a'", "loss_weight", "2 times for 1"],
        ),
        (X + layer("a", "InnerProduct", "data"), ["layer 'a'", "num_output"]),
    ],
)
def test_a_net_that_cannot_be_built_is_refused_in_one_line(make, text, words):
    with pytest.raises(InputError) as raised:
        make(text)
    message = str(raised.value)
    assert "\n" not in message
    for word in ["net.prototxt", *words]:
        assert word in message


def test_a_missing_file_is_a_runtime_error_as_in_pycaffe(write):
    with pytest.raises(RuntimeError, match="nope.prototxt"):
        caffe.Net("nope.prototxt", caffe.TEST)


# -- loss weights and what runs backward


def test_loss_weights_count_on_layers_that_are_no_losses(make):
    net = make(FORCED + X + layer("r", "Power", "data", more="loss_weight: 0.5"), caffe.TRAIN)
    net.blobs["data"].data[...] = [[1, 2, 3], [4, 5, 6]]
    assert net._forward(0, 1) == pytest.approx(10.5)
    net.backward()
    assert (net.blobs["data"].diff == 0.5).all()


def test_a_loss_weight_outlives_any_reshape(make):
    net = make(X + layer("r", "Power", "data", more="loss_weight: 2"), caffe.TRAIN)
    for sizes in ([(5, 3)], [(1, 3)], [(9, 9), (1, 3)]):
        for size in sizes:
            net.blobs["data"].reshape(*size)
            net.reshape()
        net.blobs["data"].data[...] = 1
        assert net._forward(0, 1) == 2 * np.prod(sizes[-1])


TWO = X + data(2, name="label") + ip("a", "data", 4)


def test_layers_below_frozen_parameters_are_not_run_backward(make):
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    net = make(X + data(2, name="label") + ip("a", "data", 4, frozen) + ip("ip", "a") + losses())
    needs = dict(zip(net._layer_names, net._wiring.layer_needs))
    assert needs == {"data": False, "label": False, "a": False, "ip": True, "loss": True}
    ran = []
    for one in net.layers:
        one.backward = lambda *args, name=one.name: ran.append(name)
    net.forward()
    net.backward()
    assert ran == ["loss", "ip"]


def test_propagate_down_false_stops_the_gradient(make):
    stopped = "propagate_down: false"
    net = make(TWO + ip("ip", "a", 3, stopped) + losses(), caffe.TRAIN)
    fill(net)
    net.blobs["data"].data[...] = 1
    net.forward()
    net.backward()
    assert net.params["ip"][0].diff.any()
    assert not net.params["a"][0].diff.any()


def test_what_no_loss_depends_on_is_not_run_backward(make):
    net = make(TWO + ip("side", "data") + ip("ip", "a") + losses(), caffe.TRAIN)
    assert not dict(zip(net._layer_names, net._wiring.layer_needs))["side"]


@pytest.mark.parametrize("force", ["", FORCED])
def test_force_backward_reaches_the_inputs_but_not_the_labels(make, force):
    net = make(force + CLASSIFIER, caffe.TRAIN)
    fill(net)
    net.blobs["data"].data[...] = 1
    net.forward()
    net.backward()
    assert net.blobs["data"].diff.any() == bool(force)
    assert not net.blobs["label"].diff.any()


def test_gradients_add_up_until_they_are_cleared(make):
    net = make(CLASSIFIER, caffe.TRAIN)
    fill(net)
    net.blobs["data"].data[...] = 1
    net.forward(), net.backward()
    once = net.params["ip"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["ip"][0].diff, 2 * once, rtol=1e-6)
    net.clear_param_diffs()
    assert not net.params["ip"][0].diff.any()


# -- running


CHAIN = (
    FORCED + X + layer("a", "Power", "data", more="power_param { scale: 2 }")
    + layer("b", "Power", "a", more="power_param { shift: 1 }")
    + layer("c", "Power", "b", more="power_param { scale: 3 }")
)  # fmt: skip


def test_forward_runs_from_start_to_end_both_included(make):
    net = make(CHAIN)
    out = net.forward(data=np.ones((2, 3)))
    assert list(out) == ["c"] and (out["c"] == 9).all()
    net.blobs["a"].data[...] = 10
    assert list(net.forward(start="b", end="b")) == ["b"]
    assert (net.blobs["b"].data == 11).all() and (net.blobs["c"].data == 9).all()
    assert set(net.forward(start="c", blobs=["a"])) == {"a", "c"}
    assert (net.blobs["c"].data == 33).all()


def test_backward_runs_from_start_down_to_end_both_included(make):
    net = make(CHAIN)
    net.forward()
    out = net.backward(c=np.ones((2, 3)))
    assert list(out) == ["data"] and (out["data"] == 6).all()
    net.blobs["b"].diff[...] = 5
    assert set(net.backward(start="b", end="b", diffs=["c"])) == {"a", "c"}
    assert (net.blobs["a"].diff == 5).all() and (net.blobs["data"].diff == 6).all()


def test_returned_arrays_are_live_views(make):
    net = make(CHAIN)
    out = net.forward(data=np.ones((2, 3)))["c"]
    net.forward(data=np.zeros((2, 3)))
    assert (out == 3).all()


@pytest.mark.parametrize(
    "given", [{"dta": (2, 3)}, {"data": (3, 3)}, {"data": (2, 3), "x": (2, 3)}]
)
def test_forward_refuses_other_inputs_and_batch_sizes(make, given):
    net = make(CHAIN)
    with pytest.raises(ValueError):
        net.forward(**{name: np.ones(shape) for name, shape in given.items()})
    with pytest.raises(ValueError):
        net.backward(**{name: np.ones(shape) for name, shape in given.items()})


def test_an_unknown_start_or_end_layer_is_named(make):
    net = make(CHAIN)
    for call in (net.forward, net.backward):
        with pytest.raises(InputError, match="no layer 'z'"):
            call(start="z")
        with pytest.raises(InputError, match="no layer 'z'"):
            call(end="z")


def test_forward_all_pads_the_last_batch_and_drops_the_padding(make):
    net = make(CHAIN)
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    out = net.forward_all(data=values, blobs=["a"])
    np.testing.assert_array_equal(out["c"], 6 * values + 3)
    np.testing.assert_array_equal(out["a"], 2 * values)
    outs, diffs = net.forward_backward_all(data=values, c=values)
    np.testing.assert_array_equal(outs["c"], 6 * values + 3)
    np.testing.assert_array_equal(diffs["data"], 6 * values)


def test_callbacks_are_told_the_layers_they_stand_around(make):
    net = make(CHAIN)
    seen = []
    net.before_forward(lambda i: seen.append(("before", i)))
    net.after_forward(lambda i: seen.append(("after", i)))
    net.before_backward(lambda i: seen.append(("before back", i)))
    net.after_backward(lambda i: seen.append(("after back", i)))
    net.forward(start="b", end="c")
    net.backward(start="c", end="b")
    assert seen == [
        ("before", 2), ("after", 2), ("before", 3), ("after", 3),
        ("before back", 3), ("after back", 3), ("before back", 2), ("after back", 2),
    ]  # fmt: skip


def test_all_layers_follow_when_the_input_changes_its_size(make):
    net = make(CLASSIFIER, caffe.TRAIN)
    fill(net)
    expected = {}
    stream = np.random.RandomState(0)
    batch = stream.standard_normal((9, 3))
    for size in (4, 9, 1, 4):
        net.blobs["data"].reshape(size, 3)
        net.blobs["label"].reshape(size)
        net.blobs["data"].data[...] = batch[:size]
        net.blobs["label"].data[...] = np.arange(size) % 3
        net.forward()
        net.clear_param_diffs()
        net.backward()
        assert net.blobs["ip"].data.shape == (size, 3)
        got = net.blobs["loss"].data.copy(), net.params["ip"][0].diff.copy()
        for one, two in zip(got, expected.setdefault(size, got)):
            np.testing.assert_array_equal(one, two)


def test_share_with_makes_layers_of_one_name_one_memory(make):
    net, other = make(CLASSIFIER), make(CLASSIFIER + ip("more", "data", 2), name="other.prototxt")
    other.share_with(net)
    net.params["ip"][0].data[...] = 0.25
    assert (other.params["ip"][0].data == 0.25).all()
    assert not (other.params["more"][0].data == 0.25).all()


def test_share_with_refuses_other_shapes_and_shares_nothing(make):
    text = X + ip("a", "data", 3) + ip("b", "a", 3)
    net, other = make(text), make(X + ip("a", "data", 3) + ip("b", "a", 5), name="other.prototxt")
    with pytest.raises(InputError, match=r"other.prototxt: layer 'b'.*\(3, 3\).*\(5, 3\)"):
        other.share_with(net)
    net.params["a"][0].data[...] = 0.25
    assert not (other.params["a"][0].data == 0.25).all()


def test_a_layer_that_fails_while_running_leaves_its_own_error(make, monkeypatch):
    class Fails(caffe.Layer):
        def setup(self, bottom, top):
            pass

        def reshape(self, bottom, top):
            top[0].reshape(1)

        def forward(self, bottom, top):
            raise KeyError("as it was raised")

    module = types.ModuleType("failing_layers")
    module.Fails = Fails
    monkeypatch.setitem(sys.modules, "failing_layers", module)
    param = 'python_param { module: "failing_layers" layer: "Fails" }'
    net = make(X + layer("f", "Python", "data", more=param))
    with pytest.raises(KeyError, match="as it was raised"):
        net.forward()


@pytest.mark.parametrize("lean", [False, True])
def test_a_net_that_nobody_holds_is_gone_at_once_with_its_memory(make, lean):
    caffe.engine.set_lean(lean)
    net = make(CLASSIFIER, caffe.TRAIN)
    net.forward(), net.backward()
    blob, gone = weakref.ref(net.blobs["data"]), weakref.ref(net)
    del net
    assert gone() is None and blob() is None


def test_a_subclass_whose_methods_are_its_own_is_run_by_them(make, tmp_path):
    class Doubling(caffe.Net):
        def forward(self, *args, **kwargs):
            return {name: 2 * array for name, array in super().forward(*args, **kwargs).items()}

        def copy_from(self, filename):
            self.copied = filename

    path = tmp_path / "subclass.prototxt"
    path.write_text(data(2, 3) + ip("ip", "data"))
    net = Doubling(str(path), caffe.TEST, weights="weights.caffemodel")
    assert net.copied == "weights.caffemodel"
    fill(net)
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    plain = caffe.Net(str(path), caffe.TEST)
    plain.share_with(net)
    wanted = plain.forward_all(data=values)["ip"]
    np.testing.assert_array_equal(net.forward_all(data=values)["ip"], 2 * wanted)
    assert isinstance(Doubling.from_param(caffe.proto.caffe_pb2.NetParameter()), Doubling)


def test_a_method_that_is_replaced_is_called(make, monkeypatch):
    net = make(data(2, 3) + ip("ip", "data"))
    seen = []
    monkeypatch.setattr(caffe.Net, "forward", lambda self, **more: seen.append(sorted(more)) or {})
    net.forward_all(data=np.zeros((3, 3)))
    assert seen == [["blobs", "data"]] * 2


def test_what_scripts_look_for_inside_pycaffes_net_is_there(make):
    net = make(CLASSIFIER, caffe.TRAIN)
    assert list(net._layer_names) == list(net.layer_dict) and net._blobs[0] is net.blobs["data"]
    assert net._blob_names == list(net.blobs) and net._bottom_ids(3) == net._bottom_ids[3]
    assert [net._blob_names[i] for i in net._inputs] == net.inputs
    assert [net._blob_names[i] for i in net._outputs] == net.outputs
    assert net._blob_loss_weights == [0, 0, 0, 1] and net._top_ids(2) == [2]
    assert net._forward(0, 3) > 0
    net._backward(3, 0)
    assert net.params["ip"][1].diff.any()
