"""Lean nets: the same numbers, and what may be read after a pass."""

from __future__ import annotations

import re

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.helpers.net_texts import CLASSIFIER, data, fill, ip, layer, losses, params
from tests.helpers.solver_state import history

FILL = 'weight_filler { type: "xavier" }'
POOL = "pooling_param { kernel_size: 2 stride: 2 }"
# Layers whose blobs share memory, that read their tops in backward, and that keep states.
VARIED = (
    data(4, 3, 6, 6) + data(4, name="label")
    + layer("conv", "Convolution", "data",
            more=f"convolution_param {{ num_output: 4 kernel_size: 3 pad: 5 {FILL} }}")
    + layer("norm", "BatchNorm", "conv") + layer("scale", "Scale", "norm", "norm")
    + layer("relu", "ReLU", "norm", "norm") + layer("pool", "Pooling", "norm", more=POOL)
    + layer("lrn", "LRN", "pool") + layer("tanh", "TanH", "pool") + layer("elu", "ELU", "tanh")
    + layer("prod", "Eltwise", ["lrn", "elu"], more="eltwise_param { operation: PROD }")
    + layer("most", "Eltwise", ["prod", "tanh"], more="eltwise_param { operation: MAX }")
    + layer("up", "Deconvolution", "most",
            more=f"convolution_param {{ num_output: 2 kernel_size: 2 stride: 2 {FILL} }}")
    + layer("both", "Concat", ["up", "norm"]) + layer("flat", "Flatten", "both")
    + layer("drop", "Dropout", "flat", "flat")
    + layer("left", "Slice", "flat", ["left", "right"]) + layer("quiet", "Silence", "right", ())
    + ip("ip", "left") + losses()
)  # fmt: skip
RECURRENT = (
    data(3, 2, 4) + data(3, 2, name="cont") + data(3, 2, name="label")
    + layer("lstm", "LSTM", ["data", "cont"],
            more=f"recurrent_param {{ num_output: 3 {FILL} }}")
    + layer("loss", "SoftmaxWithLoss", ["lstm", "label"], more="softmax_param { axis: 2 }")
)  # fmt: skip
NETS = {"classifier": CLASSIFIER, "varied": VARIED, "recurrent": RECURRENT}
SOLVER = 'net: "net.prototxt" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" snapshot_prefix: "s" '


@pytest.fixture
def lean():
    caffe.engine.set_lean(True)


def feed(net, seed):
    stream = np.random.RandomState(seed)
    for name in net.inputs:
        blob = net.blobs[name]
        numbers = name == "data"
        blob.data[...] = stream.standard_normal(blob.shape) if numbers else 1


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("more", ["", "iter_size: 2 ", "clip_gradients: 0.1 "])
def test_training_gives_the_same_numbers(make_solver, kind, more):
    trained = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        settings = SOLVER + more + "random_seed: 4 test_iter: 2 test_interval: 2 "
        solver = make_solver(NETS[kind], settings)
        feed(solver.test_nets[0], 9)
        for seed in range(4):
            feed(solver.net, seed)
            solver.step(1)
        trained.append([*params(solver.net), solver.net.blobs["loss"].data.copy(),
                        solver.test_nets[0].blobs["loss"].data.copy()])  # fmt: skip
    for plain, other in zip(*trained):
        np.testing.assert_allclose(other, plain, rtol=1e-5, atol=1e-6)


def test_a_blob_that_was_given_back_says_so_and_how_to_keep_it(make, lean):
    net = make(VARIED)
    feed(net, 0)
    net.forward()
    for name in ("conv", "norm", "pool"):
        with pytest.raises(InputError, match="given this blob's memory back.*caffe.engine.keep"):
            net.blobs[name].data  # noqa: B018
    assert net.blobs["data"].data.any() and net.blobs["loss"].data > 0


def test_kept_blobs_read_as_in_a_net_that_is_not_lean(make):
    found = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        net = make(VARIED)
        fill(net)
        feed(net, 0)
        caffe.engine.keep(net, "norm", "tanh") if lean else None
        net.forward()
        found.append([net.blobs[name].data.copy() for name in ("norm", "tanh")])
    for plain, kept in zip(*found):
        np.testing.assert_array_equal(kept, plain)
    with pytest.raises(InputError, match="no blob 'nrom' to keep"):
        caffe.engine.keep(net, "nrom")


def test_a_view_that_is_held_is_not_given_back(make, lean):
    net = make(VARIED)
    feed(net, 0)
    held = net.blobs["pool"].data
    net.forward()
    assert held.any() and net.blobs["pool"].data is not None


def test_the_inputs_gradients_can_be_read(make):
    found = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        net = make("force_backward: true " + VARIED.replace('type: "Dropout"', 'type: "ReLU"'),
                   caffe.TRAIN)  # fmt: skip
        fill(net)
        feed(net, 0)
        net.forward()
        found.append(net.backward()["data"].copy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-7)
    assert found[0].any()


def test_a_net_whose_debug_info_is_logged_is_not_lean(make, lean, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    net = make("debug_info: true force_backward: true " + VARIED, caffe.TRAIN)
    feed(net, 0)
    net.forward()
    net.backward()
    assert net.blobs["conv"].data.any() and net.blobs["conv"].diff.any()
    assert "[Backward] Layer conv" in capfd.readouterr().err


def test_only_what_is_still_needed_is_in_memory(make, lean):
    net = make(VARIED, caffe.TRAIN)
    feed(net, 0)

    def held(memory):
        return {
            name
            for name, blob in net.blobs.items()
            if not getattr(blob, memory).blank and name not in net.inputs
        }

    net.forward()
    assert "conv" in held("_data") and "up" not in held("_data") and "both" not in held("_data")
    net.backward()
    assert held("_data") == {"loss"} and held("_diff") <= {"loss", "ip"}
    test = make(VARIED)
    feed(test, 0)
    most = []
    memories = {id(blob._data): blob._data for blob in test.blobs.values()}.values()
    test.after_forward(lambda i: most.append(sum(not memory.blank for memory in memories)))
    test.forward()
    assert max(most) < len(memories) / 2


# -- ReLUs that max pooling masks ----------------------------------------------------------------

CONV = f"convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 {FILL} }}"


def stage(kind, behind="pool", relu="", pooling=POOL):
    """A ReLU in place, then a pooling, each as `kind` says, then a loss."""
    text = data(2, 2, 9, 8) + layer("conv", "Convolution", "data", more=CONV)
    text += layer("relu", "ReLU", "conv", "conv", more=relu)
    text += layer("pool", "Pooling", "conv", more=pooling)
    if kind == "changed above":
        text += layer("twice", "Power", "pool", "pool", "power_param { scale: 2 shift: 1 }")
    if kind == "read twice":
        text += layer("aside", "TanH", "conv") + layer("l2", "Reduction", "aside",
                                                      more="loss_weight: 0.3")  # fmt: skip
    return (
        text
        + layer("end", "Convolution", behind, more=CONV)
        + layer(
            "loss", "Reduction", "end", more="reduction_param { operation: SUMSQ } loss_weight: 1"
        )
    )


STAGES = {
    "joined": (stage("joined"), True),
    "overlapping windows": (
        stage("", pooling="pooling_param { kernel_size: 3 stride: 2 pad: 1 }"), True),
    "changed above": (stage("changed above"), False),
    "read twice": (stage("read twice"), False),
    "average": (stage("", pooling="pooling_param { pool: AVE kernel_size: 2 stride: 2 }"), False),
    "leaky": (stage("", relu="relu_param { negative_slope: 0.1 }"), False),
}  # fmt: skip


@pytest.mark.parametrize("kind", STAGES)
def test_a_relu_below_max_pooling_is_masked_by_it_where_that_gives_the_same(make, kind):
    text, joined = STAGES[kind]
    found = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        net = make("force_backward: true " + text, caffe.TRAIN)
        fill(net)
        for seed in range(2):
            feed(net, seed)
            net.clear_param_diffs()
            net.forward()
            gradients = [net.backward()["data"].copy()]
        gradients += [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
        found.append(gradients)
    assert any(step.masks for step in net._plan.steps) == joined
    for plain, mine in zip(*found):
        np.testing.assert_allclose(mine, plain, rtol=1e-5, atol=1e-6)


def test_what_lies_between_a_relu_and_its_pooling_is_gone_before_the_backward_pass(make, lean):
    net = make(stage("joined"), caffe.TRAIN)
    feed(net, 0)
    net.forward()
    assert net.blobs["conv"]._data.blank and not net.blobs["pool"]._data.blank


def test_places_of_maxima_stay_only_where_a_backward_pass_needs_them(make, lean):
    sizes = []
    for phase in (caffe.TEST, caffe.TRAIN):
        net = make(stage("joined"), phase)
        feed(net, 0)
        net.forward()
        index = net.layer_dict["pool"].index.tensor
        sizes.append((index.numel(), index.element_size()))
    assert sizes == [(0, 8), (2 * 3 * 5 * 4, 4)]


# -- updates in the backward pass ----------------------------------------------------------------

SHARED = (
    data(4, 3) + data(4, name="label") + ip("a", "data", more='param { name: "w" } param { }')
    + layer("tanh", "TanH", "a") + ip("b", "tanh", more='param { name: "w" } param { }')
    + layer("side", "Sigmoid", "b") + ip("ip", "side") + losses()
)  # fmt: skip


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
@pytest.mark.parametrize("text", [VARIED, SHARED], ids=["varied", "shared weights"])
def test_parameters_updated_in_the_backward_pass_are_the_same_to_the_bit(make_solver, kind, text):
    rule = SOLVER + f'type: "{kind}" weight_decay: 0.01 random_seed: 3 '
    if kind in ("AdaGrad", "RMSProp"):
        rule = rule.replace("momentum: 0.9", "")
    trained = []
    for early in (False, True):
        caffe.engine.set_lean(True)
        solver = make_solver(text, rule)
        if not early:  # somebody needs all gradients at once
            solver.add_callback(lambda: None, lambda: None)
        assert solver._updates_early() == early
        for seed in range(3):
            feed(solver.net, seed)
            solver.step(1)
        trained.append([*params(solver.net), *history(solver)])
    for plain, other in zip(*trained):
        np.testing.assert_array_equal(other, plain)


def test_a_gradient_is_gone_once_its_parameter_is_updated(make_solver, lean):
    solver = make_solver(CLASSIFIER, SOLVER)
    feed(solver.net, 0)
    solver.step(1)
    with pytest.raises(InputError, match="given this blob's memory back"):
        solver.net.params["ip"][0].diff  # noqa: B018


def test_a_callback_after_each_layers_backward_sees_the_gradients_so_far(make_solver, lean):
    solver = make_solver(VARIED, SOLVER)
    seen = []
    solver.net.after_backward(
        lambda i: seen.append(solver.net.params["ip"][0].diff.any()) if i == 0 else None
    )
    feed(solver.net, 0)
    solver.step(1)
    assert seen == [True]


def test_a_view_of_a_gradient_that_is_held_shows_the_update_as_in_caffe(make_solver):
    shown = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        solver = make_solver(CLASSIFIER, SOLVER)
        held = solver.net.params["ip"][0].diff
        for seed in range(2):
            feed(solver.net, seed)
            solver.step(1)
        shown.append(held.copy())
    np.testing.assert_allclose(shown[1], shown[0], rtol=1e-6)
    assert shown[0].any()


def test_the_log_is_the_same_where_parameters_are_updated_early(make_solver, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    logs = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        rule = 'net: "net.prototxt" base_lr: 0.05 lr_policy: "multistep" gamma: 0.5 stepvalue: 2 '
        solver = make_solver(CLASSIFIER, rule + 'display: 1 snapshot_prefix: "s"')
        feed(solver.net, 0)
        capfd.readouterr()
        solver.step(4)
        lines = capfd.readouterr().err.splitlines()
        logs.append([re.sub(r"\(.* iters\)", "", line.split("] ", 1)[1]) for line in lines])
    assert logs[0] == logs[1] and any("MultiStep" in line for line in logs[0])
