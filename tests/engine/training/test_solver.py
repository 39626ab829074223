from __future__ import annotations

import re

import numpy as np
import pytest

import caffe
from caffe import log as log_module, ranks
from caffe.compute import rng
from caffe.engine import Error, InputError
from tests.helpers.net_texts import CLASSIFIER, data, fill, ip, layer, losses, params

FIXED = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s" '


def feed(solver, seed=0):
    """Random inputs in the training net, and in the test nets the same."""
    stream = np.random.RandomState(seed)
    batch, labels = stream.standard_normal((4, 3)), stream.randint(0, 3, 4)
    for net in [solver.net, *solver.test_nets]:
        net.blobs["data"].data[...] = batch
        net.blobs["label"].data[...] = labels


def gradients(net):
    net.clear_param_diffs()
    net.forward()
    net.backward()
    return [blob.diff.astype("f8") for blobs in net.params.values() for blob in blobs]


def by_hand(solver, steps, momentum=0.0, decay=0.0, l1=False, clip=None, rates=0.1):
    """The parameters after `steps` iterations of Caffe's SGD, computed in NumPy."""
    net = solver.net
    w = [x.astype("f8") for x in params(net)]
    v = [np.zeros_like(x) for x in w]
    lr_mult, decay_mult = (1, 2), (1, 0)
    for _ in range(steps):
        for blob, value in zip((b for bs in net.params.values() for b in bs), w):
            blob.data[...] = value
        g = gradients(net)
        norm = np.sqrt(sum((x**2).sum() for x in g))
        if clip is not None and norm > clip:
            g = [x * clip / norm for x in g]
        for i in range(len(w)):
            g[i] = g[i] + decay * decay_mult[i] * (np.sign(w[i]) if l1 else w[i])
            v[i] = momentum * v[i] + rates * lr_mult[i] * g[i]
            w[i] = w[i] - v[i]
    return w


@pytest.mark.parametrize(
    "more, settings",
    [
        ({}, ""),
        ({"momentum": 0.9}, "momentum: 0.9"),
        ({"momentum": 0.5, "decay": 0.1}, "momentum: 0.5 weight_decay: 0.1"),
        ({"decay": 0.1, "l1": True}, 'weight_decay: 0.1 regularization_type: "L1"'),
        ({"clip": 0.2, "momentum": 0.9, "decay": 0.05},
         "clip_gradients: 0.2 momentum: 0.9 weight_decay: 0.05"),
        ({"clip": 100}, "clip_gradients: 100"),
        # The same batch twice has the mean gradient of the batch.
        ({"momentum": 0.9, "decay": 0.1}, "iter_size: 2 momentum: 0.9 weight_decay: 0.1"),
    ],
)  # fmt: skip
def test_sgd_is_the_update_computed_by_hand(make_solver, more, settings):
    solver = make_solver(CLASSIFIER, FIXED + settings)
    feed(solver)
    start = params(solver.net)
    expected = by_hand(solver, 5, **more)
    for blob, value in zip((b for bs in solver.net.params.values() for b in bs), start):
        blob.data[...] = value
    solver.step(5)
    assert solver.iter == 5
    for got, wanted in zip(params(solver.net), expected):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_clipping_sees_the_sum_over_iter_size_as_in_bvlc(make_solver):
    solver = make_solver(CLASSIFIER, FIXED + "iter_size: 2 clip_gradients: 0.1")
    feed(solver)
    start, (w, b) = params(solver.net), gradients(solver.net)
    norm = 2 * np.sqrt((w**2).sum() + (b**2).sum())
    solver.step(1)
    np.testing.assert_allclose(
        params(solver.net)[0], start[0] - 0.1 * (2 * w) * (0.1 / norm) / 2, rtol=1e-5
    )


def test_frozen_parameters_stay(make_solver):
    text = CLASSIFIER.replace("lr_mult: 1", "lr_mult: 0")
    solver = make_solver(text, FIXED + "momentum: 0.9 weight_decay: 0.1")
    feed(solver)
    before = params(solver.net)
    solver.step(3)
    np.testing.assert_array_equal(before[0], params(solver.net)[0])
    assert not np.array_equal(before[1], params(solver.net)[1])


def test_the_rate_follows_the_policy_and_can_be_asked(make_solver):
    text = FIXED.replace('"fixed"', '"multistep"') + "gamma: 0.1 stepvalue: 2 stepvalue: 3"
    solver = make_solver(CLASSIFIER, text)
    seen = []
    for _ in range(5):
        seen.append(solver.lr)
        solver.step(1)
    assert seen == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001])


# -- the log


@pytest.fixture
def lines(capfd):
    """lines() -> the log lines so far, without time and place."""
    log_module.set_min_level(0)
    yield lambda: re.findall(r"(?m)^I\S+ \S+ +\d+ \S+\] (.*)$", capfd.readouterr().err)
    log_module.set_min_level(None)


# What BVLC Caffe 1.0 logs for this training, but for the times.
BVLC_LOG = """\
Solving tiny
Learning Rate Policy: step
Iteration 0, Testing net (#0)
Test loss: 1.09861
    Test net output #0: acc = 0
    Test net output #1: loss = 1.09861 (* 1 = 1.09861 loss)
Iteration 0 (*), loss = 1.09861
    Train net output #0: loss = 1.09861 (* 1 = 1.09861 loss)
Iteration 0, lr = 0.1
Iteration 2 (*), loss = 1.01932
    Train net output #0: loss = 0.925807 (* 1 = 0.925807 loss)
Iteration 2, lr = 0.1
Iteration 4, Testing net (#0)
Test loss: 0.913133
    Test net output #0: acc = 0.5
    Test net output #1: loss = 0.913133 (* 1 = 0.913133 loss)
Iteration 4 (*), loss = 0.81065
    Train net output #0: loss = 0.70261 (* 1 = 0.70261 loss)
Iteration 4, lr = 0.05
Snapshotting to binary proto file s_iter_5.caffemodel
Snapshotting solver state to binary proto file s_iter_5.solverstate
Iteration 6 (*), loss = 0.630221
    Train net output #0: loss = 0.564119 (* 1 = 0.564119 loss)
Iteration 6, lr = 0.025
Snapshotting to binary proto file s_iter_8.caffemodel
Snapshotting solver state to binary proto file s_iter_8.solverstate
Iteration 8, loss = 0.524747
Iteration 8, Testing net (#0)
Test loss: 0.824411
    Test net output #0: acc = 0.5
    Test net output #1: loss = 0.824411 (* 1 = 0.824411 loss)
Optimization Done.
"""


def train_as_logged(make_solver):
    accuracy = layer("acc", "Accuracy", ["ip", "label"], more="include { phase: TEST }")
    settings = FIXED.replace('"fixed"', '"step"') + (
        "gamma: 0.5 stepsize: 3 momentum: 0.9 max_iter: 8 display: 2 average_loss: 3 snapshot: 5 "
        "test_iter: 2 test_interval: 4 test_compute_loss: true"
    )
    solver = make_solver(CLASSIFIER + accuracy, settings)
    stream = np.random.RandomState(0)
    for net in [solver.net, *solver.test_nets]:
        net.blobs["data"].data[...] = stream.randn(4, 3)
        net.blobs["label"].data[...] = [0, 1, 2, 0]
    solver.net.params["ip"][0].data[...] = 0.1
    solver.net.params["ip"][1].data[...] = 0
    solver.solve()
    return solver


def test_the_log_of_a_training_is_bvlcs(make_solver, lines):
    train_as_logged(make_solver)
    got = [re.sub(r"\(.* iter/s.*s/2 iters\)", "(*)", line) for line in lines()]
    assert got == BVLC_LOG.splitlines()


def test_caffes_own_log_parser_finds_iterations_rates_and_outputs(make_solver, lines):
    train_as_logged(make_solver)
    number = r"([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)"
    text = "\n".join(lines())
    assert set(re.findall(r"Iteration (\d+)", text)) == set("02468")
    rates = [float(m[0]) for m in re.findall(rf"lr = {number}", text)]
    assert rates == [0.1, 0.1, 0.05, 0.025]
    trains = re.findall(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)", text)
    assert [t[:2] for t in trains] == [("0", "loss")] * 4
    tests = re.findall(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)", text)
    assert {t[1] for t in tests} == {"acc", "loss"}


def test_step_logs_the_line_that_parsers_take_the_start_time_from(make_solver, lines):
    solver = make_solver(CLASSIFIER, FIXED)
    solver.step(1)
    solver.step(1)
    assert lines() == ["Solving tiny", "Learning Rate Policy: fixed"]


# -- tests, callbacks, actions


def test_test_nets_use_the_training_nets_weights_at_every_interval(make_solver):
    solver = make_solver(CLASSIFIER, FIXED + "test_iter: 3 test_interval: 2")
    feed(solver)
    seen = []
    net = solver.test_nets[0]
    net.after_forward(lambda i: i == 0 and seen.append(solver.iter))
    solver.step(5)
    assert seen == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    solver.net.params["ip"][0].data[...] = 0.5
    assert (net.params["ip"][0].data == 0.5).all()


def test_no_test_at_the_start_where_test_initialization_is_false(make_solver):
    more = "test_iter: 1 test_interval: 2 test_initialization: false"
    solver = make_solver(CLASSIFIER, FIXED + more)
    seen = []
    solver.test_nets[0].after_forward(lambda i: i == 0 and seen.append(solver.iter))
    solver.step(4)
    assert seen == [2]


def test_test_nets_take_their_phase_level_and_stages_from_test_state(make_solver):
    text = CLASSIFIER + layer("extra", "ReLU", "data", more='include { stage: "deploy" }')
    more = (
        'test_iter: 1 test_iter: 1 test_interval: 9 test_state { } test_state { stage: "deploy" }'
    )
    solver = make_solver(text, FIXED + more)
    assert ["extra" in net.blobs for net in solver.test_nets] == [False, True]
    assert [net.phase for net in solver.test_nets] == [caffe.TEST] * 2
    assert solver.net.phase == caffe.TRAIN


def test_share_weights_makes_another_net_use_the_training_nets(make_solver, make):
    solver = make_solver(CLASSIFIER, FIXED)
    net = make(CLASSIFIER, name="other.prototxt")
    solver.share_weights(net)
    solver.net.params["ip"][0].data[...] = 0.5
    assert (net.params["ip"][0].data == 0.5).all()


def test_callbacks_run_before_each_iteration_and_before_its_update(make_solver):
    solver = make_solver(CLASSIFIER, FIXED)
    feed(solver)
    seen = []

    def ready():
        seen.append(("ready", solver.iter, bool(solver.net.params["ip"][0].diff.any())))
        solver.net.params["ip"][0].diff[...] = 0

    solver.add_callback(lambda: seen.append(("start", solver.iter)), ready)
    before = params(solver.net)[0]
    solver.step(2)
    assert seen == [("start", 0), ("ready", 0, True), ("start", 1), ("ready", 1, True)]
    np.testing.assert_array_equal(params(solver.net)[0], before)


def test_the_action_function_can_stop_and_snapshot(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, FIXED + "max_iter: 9")
    actions = iter([None, "snapshot", None, "stop", None])
    solver.set_action_function(lambda: next(actions))
    solver.solve()
    assert solver.iter == 4
    assert sorted(p.name for p in tmp_path.glob("*.solverstate")) == [
        "s_iter_2.solverstate", "s_iter_4.solverstate",
    ]  # fmt: skip


def asked_at(solver, iteration, batch, what):
    """Let `solver` be asked for `what` after so many batches of the test of an iteration."""
    passes = []
    solver.test_nets[0].after_forward(lambda i: i == 0 and passes.append(solver.iter))
    asks = [what]
    solver.set_action_function(
        lambda: asks.pop() if asks and passes.count(iteration) == batch else None
    )
    return passes


TESTED = "test_iter: 5 test_interval: 2 max_iter: 4 "


@pytest.mark.parametrize("iteration", [2, 4])
def test_a_stop_within_a_test_ends_it_after_that_batch(make_solver, lines, tmp_path, iteration):
    solver = make_solver(CLASSIFIER, FIXED + TESTED)
    passes = asked_at(solver, iteration, 2, "stop")
    solver.solve()
    assert solver.iter == iteration and passes.count(iteration) == 2
    assert "Test interrupted." in lines()
    assert (tmp_path / f"s_iter_{iteration}.solverstate").exists()


def test_a_snapshot_within_a_test_does_not_wait_for_its_end(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, FIXED + TESTED)
    passes = asked_at(solver, 2, 2, "snapshot")
    seen = []
    save = solver.snapshot
    solver.snapshot = lambda: (seen.append((solver.iter, passes.count(2))), save())
    solver.solve()
    assert seen == [(2, 2), (4, 5)]
    assert passes.count(2) == passes.count(4) == 5


def test_only_the_first_of_several_solvers_tests_shows_and_writes(
    make_solver, lines, tmp_path, monkeypatch
):
    monkeypatch.setattr(ranks, "_state", {"count": 2, "rank": 1, "multiprocess": True})
    solver = make_solver(CLASSIFIER, FIXED + TESTED + "snapshot: 1 display: 1")
    passes = asked_at(solver, 0, 0, "snapshot")
    solver.solve()
    assert solver.iter == 4 and not passes
    assert not list(tmp_path.glob("s_iter*"))
    assert not [line for line in lines() if line.startswith(("Iteration", "Test", "    T"))]
    with pytest.raises(Error, match="solver 1 writes no snapshots"):
        solver.snapshot()


def test_each_of_several_solvers_draws_other_numbers(make_solver, monkeypatch):
    drawn = []
    for rank in range(3):
        monkeypatch.setattr(ranks, "_state", {"count": 3, "rank": rank, "multiprocess": True})
        make_solver(CLASSIFIER, FIXED + "random_seed: 5")
        drawn.append(rng.draw_seed())
    assert len(set(drawn)) == 3


def test_an_output_whose_shape_changes_in_a_test_has_no_mean(make_solver, lines):
    text = CLASSIFIER + layer("score", "Power", "ip")
    solver = make_solver(text, FIXED + TESTED)
    net = solver.test_nets[0]

    def grow(i):
        if i == 0:
            rows = net.blobs["data"].shape[0] + 1
            net.blobs["data"].reshape(rows, 3)
            net.blobs["label"].reshape(rows)
            net.reshape()

    net.before_forward(grow)
    solver.step(1)
    shown = lines()
    assert any("Test net output #0: loss" in line for line in shown)
    assert not any("score = " in line and "Test" in line for line in shown)


def test_average_loss_is_the_mean_of_the_last_iterations(make_solver, lines):
    solver = make_solver(CLASSIFIER, FIXED + "display: 1 average_loss: 3")
    feed(solver)
    solver.step(6)
    text = "\n".join(lines())
    smoothed = [float(x) for x in re.findall(r"Iteration \d+ \(.*\), loss = (\S+)", text)]
    raw = [float(x) for x in re.findall(r"Train net output #0: loss = (\S+)", text)]
    means = [np.mean(raw[max(0, i - 2) : i + 1]) for i in range(6)]
    assert smoothed == pytest.approx(means, rel=1e-5)


# -- wrong solver files


@pytest.mark.parametrize(
    "settings, words",
    [
        ('base_lr: 1 lr_policy: "fixed"', ["net", "train_net", "none"]),
        (FIXED + 'train_net: "net.prototxt"', ["net, train_net"]),
        (FIXED.replace('"fixed"', '"fixd"'), ["lr_policy", "'fixd'", "'fixed'"]),
        (FIXED.replace('"fixed"', '"step"'), ["'step'", "stepsize"]),
        (FIXED + 'type: "SDG"', ["type 'SDG'", "SGD"]),
        (FIXED + "momentun: 0.9", [":1", "momentun", "momentum"]),
        (FIXED + "test_iter: 1", ["test_interval"]),
        (FIXED + 'test_net: "net.prototxt" test_interval: 1', ["0 test_iter", "1 test net"]),
        (FIXED + "test_iter: 1 test_interval: 1 test_state { } test_state { }", ["test_state"]),
        (FIXED + "average_loss: 0", ["average_loss"]),
        (FIXED + 'weight_decay: 1 regularization_type: "L3"', ["regularization_type 'L3'"]),
        (FIXED.replace("net.prototxt", "nowhere.prototxt"), ["nowhere.prototxt"]),
    ],
)
def test_a_solver_that_cannot_be_built_is_refused_in_one_line(make_solver, settings, words):
    with pytest.raises(InputError) as raised:
        make_solver(CLASSIFIER, settings)
    assert "\n" not in str(raised.value)
    assert all(word in str(raised.value) for word in ["solver.prototxt", *words])


def test_a_broken_net_names_its_own_file(make_solver):
    with pytest.raises(InputError, match="net.prototxt: layer 'ip'"):
        make_solver(ip("ip", "nowhere"), FIXED)


def test_weights_named_in_the_solver_are_copied(make_solver):
    solver = make_solver(CLASSIFIER, FIXED)
    solver.net.save("w.caffemodel")
    make_solver(CLASSIFIER, FIXED + 'weights: "w.caffemodel"', seed=9)
    other = caffe.SGDSolver("solver.prototxt")
    assert all(np.array_equal(x, y) for x, y in zip(params(solver.net), params(other.net)))


def test_shared_parameters_are_updated_once(make_solver):
    named = 'param { name: "w" lr_mult: 1 } param { name: "b" lr_mult: 1 }'
    text = (
        data(4, 3) + data(4, name="label") + ip("a", "data", 3, named)
        + ip("ip", "a", 3, named) + losses()
    )  # fmt: skip
    solver = make_solver(text, FIXED)
    fill(solver.net)
    feed(solver)
    before, grads = params(solver.net), gradients(solver.net)
    solver.step(1)
    np.testing.assert_allclose(params(solver.net)[0], before[0] - 0.1 * grads[0], rtol=1e-5)


def test_the_shown_loss_goes_on_over_steps_in_parts(make_solver):
    seen = []
    for parts in ([6], [2, 1, 3]):
        solver = make_solver(CLASSIFIER, FIXED + "average_loss: 4 display: 1 random_seed: 2")
        feed(solver)
        shown = []
        solver.watch_display(lambda *found, shown=shown: shown.append(found))
        for part in parts:
            solver.step_on(part)
        seen.append(shown)
    assert seen[0] == seen[1]
    assert [iteration for iteration, _, _ in seen[0]] == list(range(6))
    assert all(rate == pytest.approx(0.1) for _, _, rate in seen[0])


def test_each_snapshot_that_is_written_is_told(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, FIXED + "snapshot: 2")
    feed(solver)
    told = []
    solver.watch_snapshots(lambda state: told.append((state, (tmp_path / state).exists())))
    solver.step(4)
    solver.snapshot()
    assert told == [(f"s_iter_{at}.solverstate", True) for at in (2, 4, 4)]


def test_what_happens_aside_changes_no_random_number_of_the_training(make_solver):
    solver = make_solver(CLASSIFIER, FIXED + "random_seed: 4")
    feed(solver)
    solver.step(1)
    before = rng.get_state()
    with pytest.raises(ValueError), solver.aside():
        rng.draw_seed()
        assert rng.get_state() != before
        raise ValueError
    assert rng.get_state() == before


def test_weights_that_are_not_finite_at_a_snapshot_end_the_training(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, FIXED + "snapshot: 2")
    feed(solver)
    first = next(iter(solver.net.params.values()))[0]
    solver.add_callback(lambda: solver.iter == 3 and first.data.fill(np.inf))
    with pytest.raises(caffe.engine.NotFinite, match=r"iteration 4: the weights of .*\[0\] are"):
        solver.step(8)
    assert [path.name for path in tmp_path.glob("*.solverstate")] == ["s_iter_2.solverstate"]
