"""The rest of SolverParameter: nets, weights, debug_info, tests, snapshots of gradients."""

from __future__ import annotations

import re

import numpy as np
import pytest

import caffe
from caffe import log as log_module
from caffe.engine import InputError
from tests.helpers.net_texts import CLASSIFIER, data, fill, ip, layer, losses, params

BASE = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s" '


@pytest.fixture
def lines(capfd):
    """lines() -> the log lines so far, with their level, without time and place."""
    log_module.set_min_level(0)
    yield lambda: [
        f"{level} {text}"
        for level, text in re.findall(
            r"(?m)^([IWE])\S+ \S+ +\d+ \S+\] (.*)$", capfd.readouterr().err
        )
    ]
    log_module.set_min_level(None)


# What BVLC Caffe 1.0 logs, from the training pass of iteration 0 to that of iteration 1.
BVLC_DEBUG = """\
I     [Forward] Layer data, top blob data data: 0.953521
I     [Forward] Layer label, top blob label data: 0.75
I     [Forward] Layer a, top blob a data: 0.224464
I     [Forward] Layer a, param blob w data: 0.1
I     [Forward] Layer a, param blob 1 data: 0
I     [Forward] Layer r, top blob a data: 0.224464
I     [Forward] Layer ip, top blob ip data: 0.0673391
I     [Forward] Layer ip, param blob 0 data: 0.1
I     [Forward] Layer ip, param blob 1 data: 0
I     [Forward] Layer loss, top blob loss data: 1.09861
I     [Backward] Layer loss, bottom blob ip diff: 0.111111
I     [Backward] Layer ip, bottom blob a diff: *
I     [Backward] Layer ip, param blob 1 diff: 0.111111
I     [Backward] Layer r, bottom blob a diff: *
I     [Backward] Layer a, param blob 0 diff: *
I     [Backward] Layer a, param blob 1 diff: *
E     [Backward] All net params (data, diff): L1 norm = (1.8, 0.333333); L2 norm = (0.424264, 0.204124)
I Iteration 0 (*), loss = 1.09861
I     Train net output #0: loss = 1.09861 (* 1 = 1.09861 loss)
I Iteration 0, lr = 0.1
I Gradient clipping: scaling down gradients (L2 norm 0.204124 > 0.01) by scale factor 0.0489898
I Gradient clipping: scaling down gradients (L2 norm 0.203791 > 0.01) by scale factor 0.0490699
"""  # noqa: E501


def test_debug_info_and_clipping_are_logged_as_bvlc_does(make_solver, lines):
    """debug_info where the iteration is displayed, clipping in every one."""
    net = (
        data(4, 3) + data(4, name="label") + ip("a", "data", more='param { name: "w" }')
        + layer("r", "ReLU", "a", "a") + ip("ip", "a", more="param { lr_mult: 0 }") + losses()
    )  # fmt: skip
    solver = make_solver(net, BASE + "debug_info: true display: 2 clip_gradients: 0.01")
    for weights, biases in solver.net.params.values():
        weights.data[...], biases.data[...] = 0.1, 0
    solver.net.blobs["data"].data[...] = np.random.RandomState(0).randn(4, 3)
    solver.net.blobs["label"].data[...] = [0, 1, 2, 0]
    lines()
    solver.step(2)
    got = [re.sub(r"\(\S+ iter/s.* iters\)", "(*)", line) for line in lines()][2:]
    # Gradients that are zero but for rounding.
    got = [re.sub(r"diff: \S+e-(0[89]|10)$", "diff: *", line) for line in got]
    assert got == BVLC_DEBUG.splitlines()


def test_debug_info_of_a_test_net_is_logged_in_every_test(make_solver, lines):
    more = "debug_info: true test_iter: 2 test_interval: 1"
    solver = make_solver(CLASSIFIER, BASE + more)
    solver.step(1)
    found = [line for line in lines() if "[Forward] Layer loss" in line]
    assert len(found) == 2


def test_without_debug_info_no_callback_is_added(make_solver):
    solver = make_solver(CLASSIFIER, BASE + "test_iter: 2 test_interval: 1 display: 1")
    solver.step(1)
    for net in [solver.net, *solver.test_nets]:
        assert not any(net._passes.callbacks.values())


def test_an_update_by_hand_counts_as_an_iteration(make_solver):
    solver = make_solver(CLASSIFIER, BASE)
    solver.apply_update()
    solver.apply_update()
    assert solver.iter == 2


def test_one_step_value_is_taken_an_iteration_as_in_bvlc(make_solver):
    text = BASE.replace('"fixed"', '"multistep"') + "gamma: 0.5 " + "stepvalue: 2 " * 2
    solver = make_solver(CLASSIFIER, text)
    seen = []
    for _ in range(5):
        seen.append(solver.lr)
        assert solver.lr == seen[-1]  # asking changes nothing
        solver.step(1)
    assert seen == pytest.approx([0.1, 0.1, 0.05, 0.025, 0.025])


def test_a_test_of_no_iterations_says_nothing(make_solver, lines):
    more = "test_iter: 0 test_interval: 1 test_compute_loss: true"
    make_solver(CLASSIFIER, BASE + more).step(1)
    assert lines()[-2:] == ["I Iteration 0, Testing net (#0)", "I Test loss: nan"]


@pytest.mark.parametrize("display", [2, -2])
def test_display_of_either_sign_shows_every_second_iteration(make_solver, lines, display):
    make_solver(CLASSIFIER, BASE + f"display: {display}").step(4)
    shown = re.findall(r"Iteration (\d+), lr", "\n".join(lines()))
    assert shown == ["0", "2"]


def test_weights_go_into_the_test_nets_too(make_solver, lines):
    solver = make_solver(CLASSIFIER, BASE)
    solver.net.save("first.caffemodel")
    fill(solver.net, 3)
    solver.net.save("second.caffemodel")
    lines()
    make_solver(
        CLASSIFIER,
        BASE + 'weights: "first.caffemodel , second.caffemodel" test_iter: 1 test_interval: 1',
    )
    said = [line for line in lines() if "Finetuning" in line]
    assert said == ["I Finetuning from first.caffemodel", "I Finetuning from second.caffemodel"] * 2
    other = caffe.get_solver("solver.prototxt")
    for net in [other.net, *other.test_nets]:
        assert all(np.array_equal(x, y) for x, y in zip(params(solver.net), params(net)))


def test_weights_that_are_not_there_are_named(make_solver):
    with pytest.raises(InputError, match="nowhere.caffemodel"):
        make_solver(CLASSIFIER, BASE + 'weights: "nowhere.caffemodel"')


def test_training_states_and_nets_in_the_solver_are_taken(make_solver):
    deep = layer("deep", "ReLU", "data", more='include { stage: "deep" }')
    high = layer("high", "ReLU", "data", more="include { min_level: 2 }")
    net = (CLASSIFIER + deep + high).replace("\n", " ")
    text = (
        BASE.replace('net: "net.prototxt"', "")
        + f"train_net_param {{ {net} }} test_net_param {{ {net} state {{ level: 3 }} }}"
        ' train_state { stage: "deep" } test_net: "net.prototxt" test_interval: 9'
        " test_iter: 1 test_iter: 1"
    )
    solver = make_solver(CLASSIFIER + high, text)
    first, second = solver.test_nets
    found = [("deep" in n.blobs, "high" in n.blobs) for n in (solver.net, first, second)]
    assert found == [(True, False), (False, True), (False, False)]


def test_snapshots_after_train_only_where_wanted(make_solver, tmp_path):
    make_solver(CLASSIFIER, BASE + "max_iter: 2 snapshot_after_train: false").solve()
    assert not list(tmp_path.glob("s_*"))
    make_solver(CLASSIFIER, BASE + "max_iter: 2").solve()
    assert (tmp_path / "s_iter_2.solverstate").exists()


@pytest.mark.parametrize("value", ["true", "false"])
def test_snapshot_diff_stores_gradients_in_hdf5(make_solver, value):
    h5py = pytest.importorskip("h5py")
    solver = make_solver(CLASSIFIER, BASE + f"snapshot_format: HDF5 snapshot_diff: {value}")
    solver.step(1)
    solver.net.params["ip"][1].diff[...] = 7
    solver.snapshot()
    with h5py.File("s_iter_1.caffemodel.h5", "r") as file:
        assert ("diff" in file) == (value == "true")
        if value == "true":
            assert list(file["diff"]["ip"]["1"]) == [7, 7, 7]


def test_a_folder_of_snapshots_that_is_not_there_is_refused_before_the_training(
    make_solver, tmp_path
):
    text = BASE.replace('"s"', '"runs/s"')
    with pytest.raises(
        InputError,
        match="snapshot_prefix 'runs/s': no file can be written there; make the folder runs",
    ):
        make_solver(CLASSIFIER, text + "snapshot: 1")
    solver = make_solver(CLASSIFIER, text + "max_iter: 1")  # there is one after the training
    with pytest.raises(
        InputError,
        match="snapshot_prefix 'runs/s': no file can be written there; make the folder runs",
    ):
        solver.solve()
    assert solver.iter == 0
    make_solver(CLASSIFIER, text + "max_iter: 1 snapshot_after_train: false").solve()
    (tmp_path / "runs").mkdir()
    make_solver(CLASSIFIER, text + "snapshot: 1").step(1)
    assert (tmp_path / "runs/s_iter_1.solverstate").exists()
