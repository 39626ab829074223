"""Losses that are watched: given to a function, and what happens when one is no number."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import caffe
from caffe.engine import Error
from tests.helpers import emulated_gpu
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.net_texts import data, ip, layer, losses, params
from tests.helpers.solver_state import history, recent_losses

SETTINGS = (
    'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" weight_decay: 0.01 snapshot_prefix: "s" '
    "random_seed: 3 "
)
MOMENTUM = SETTINGS + "momentum: 0.9 "
KINDS = {
    "SGD": MOMENTUM, "Nesterov": MOMENTUM, "AdaGrad": SETTINGS, "RMSProp": SETTINGS,
    "AdaDelta": MOMENTUM + "delta: 1e-6 ", "Adam": MOMENTUM + "momentum2: 0.99 ",
}  # fmt: skip
NET = (
    data(4, 3)
    + data(4, 3, name="target")
    + ip("ip", "data")
    + layer("loss", "EuclideanLoss", ["ip", "target"])
)


@pytest.fixture(params=["cpu", "gpu", "late gpu"])
def device(request, monkeypatch):
    """The CPU, a GPU that is as fast as the host, and one that is always behind."""
    if request.param == "cpu":
        yield request.param
        return
    if request.param == "late gpu":
        monkeypatch.setattr(emulated_gpu._Mark, "query", lambda mark: not mark._copies)
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        yield request.param


def broken_after(solver, iteration):
    """Let the data of one iteration make the loss infinite, once."""
    begun = []

    def on_start():
        begun.append(solver.iter)
        bad = begun.count(iteration) == 1 and solver.iter == iteration
        solver.net.blobs["data"].data[...] = np.inf if bad else solver.iter + 1

    solver.add_callback(on_start)


def state(solver):
    return [*params(solver.net), *history(solver)]


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_infinite_loss_ends_the_training_and_changes_nothing(make_solver, device, kind, lean):
    caffe.engine.set_lean(lean)
    try:
        solver = make_solver(NET, f'{KINDS[kind]} type: "{kind}"')
        expected = make_solver(NET, f'{KINDS[kind]} type: "{kind}"')
    finally:
        caffe.engine.set_lean(False)
    broken_after(solver, 3)
    broken_after(expected, 3)
    expected.step(3)
    solver.watch_losses(lambda iteration, found: None)
    with pytest.raises(Error, match="iteration 3: loss is not finite"):
        solver.step(8)
    assert solver.iter == 3
    assert all(np.array_equal(a, b) for a, b in zip(state(solver), state(expected)))


def test_every_loss_is_given_with_its_iteration(make_solver, device):
    solver = make_solver(NET, MOMENTUM + "average_loss: 5")
    broken_after(solver, -1)
    seen = []
    solver.watch_losses(lambda iteration, found: seen.append((iteration, found["loss"].item())))
    waits.clear()
    solver.step(5)
    assert [iteration for iteration, _ in seen] == [0, 1, 2, 3, 4]
    assert [loss for _, loss in seen] == recent_losses(solver)


def test_no_snapshot_is_written_of_an_iteration_whose_loss_was_not_seen(
    make_solver, device, tmp_path
):
    solver = make_solver(NET, MOMENTUM + "snapshot: 2")
    broken_after(solver, 3)
    solver.watch_losses(lambda iteration, found: None)
    with pytest.raises(Error, match="iteration 3"):
        solver.step(8)
    assert [path.name for path in tmp_path.glob("*.solverstate")] == ["s_iter_2.solverstate"]


def test_what_the_function_raises_ends_the_training(make_solver, device):
    class Stop(Exception):
        pass

    def stop(iteration, found):
        if not np.isfinite(found["loss"]).all():
            raise Stop(iteration)

    solver = make_solver(NET, MOMENTUM)
    broken_after(solver, 2)
    solver.watch_losses(stop)
    with pytest.raises(Stop, match="2"):
        solver.step(8)
    before = state(solver)
    solver.step(1)  # a script that goes on with other data learns again
    assert solver.iter == 3 and not np.array_equal(before[0], state(solver)[0])


def test_one_bad_pass_of_an_iteration_of_several_is_enough(make_solver, device):
    solver = make_solver(NET, MOMENTUM + "iter_size: 2")
    passes = []

    def spoil(layer):
        if layer == 0:
            passes.append(layer)
            solver.net.blobs["data"].data[...] = np.inf if len(passes) == 5 else 1

    solver.net.before_forward(spoil)
    solver.watch_losses(lambda iteration, found: None)
    with pytest.raises(Error, match="iteration 2"):
        solver.step(4)
    assert solver.iter == 2 and all(np.isfinite(array).all() for array in state(solver))


def test_without_a_watch_training_goes_on_as_caffes_does(make_solver, device):
    solver = make_solver(NET, MOMENTUM)
    broken_after(solver, 1)
    solver.step(3)
    assert solver.iter == 3 and not np.isfinite(params(solver.net)[0]).all()


def test_a_classifiers_bad_label_ends_a_gpu_training(make_solver):
    net = data(4, 3) + data(4, name="label") + ip("ip", "data") + losses()
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        solver = make_solver(net, MOMENTUM)
        solver.watch_losses(lambda iteration, found: None)
        solver.step(1)
        before = params(solver.net)
        solver.net.blobs["label"].data[...] = 7
        with pytest.raises(Error, match="iteration 1: loss is not finite"):
            solver.step(3)
        assert all(np.array_equal(a, b) for a, b in zip(before, params(solver.net)))


class Interrupted(Exception):
    pass


def interrupted_after(solver, count):
    """Make the data of the next iteration infinite, and end the training `count` iterations on."""
    begun = []

    def on_start():
        begun.append(solver.iter)
        solver.net.blobs["data"].data[...] = np.inf if len(begun) == 1 else 1
        if len(begun) > count:
            raise Interrupted

    solver.add_callback(on_start)


def test_a_bad_loss_on_its_way_does_not_survive_a_restore(make_solver, device):
    solver = make_solver(NET, MOMENTUM)
    solver.watch_losses(lambda iteration, found: None)
    solver.net.blobs["data"].data[...] = 1
    solver.step(2)
    state_file = solver.snapshot()
    interrupted_after(solver, 1)
    with pytest.raises((Interrupted, Error)):
        solver.step(5)
    solver._callbacks.clear()
    solver.restore(state_file)
    solver.net.blobs["data"].data[...] = 1
    solver.step(3)
    assert solver.iter == 5 and all(np.isfinite(array).all() for array in state(solver))


def test_a_bad_loss_is_told_once_where_two_watch(make_solver, device):
    solver = make_solver(NET, MOMENTUM)
    for _ in range(2):
        solver.watch_losses(lambda iteration, found: None)
    broken_after(solver, 2)
    with pytest.raises(Error, match="iteration 2"):
        solver.step(5)
    solver.step(3)
    assert solver.iter == 5


def test_a_watched_solver_is_freed_with_its_last_reference(make_solver):
    solver = make_solver(NET, MOMENTUM)
    solver.watch_losses(lambda iteration, found: None)
    gone = weakref.ref(solver)
    gc.disable()
    try:
        del solver
        assert gone() is None
    finally:
        gc.enable()
