"""Training on emulated CUDA devices: the CPU's numbers, whichever device is chosen when."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.net_texts import data, ip, layer, losses, params
from tests.helpers.solver_state import recent_losses

NOISE = layer(
    "noise", "DummyData", (), ["data", "label"],
    'dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } '
    'data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } }',
)  # fmt: skip
NET = NOISE + ip("ip", "data") + layer("drop", "Dropout", "ip", "ip") + losses()
SETTINGS = (
    'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 '
    'random_seed: 3 snapshot_prefix: "s" '
)


@pytest.fixture
def gpus():
    with emulated_gpus(2):
        yield


def use(number):
    caffe.set_device(number)
    caffe.set_mode_gpu()


def agree(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "more",
    ["", "clip_gradients: 0.1", "iter_size: 2", 'regularization_type: "L1"',
     "test_iter: 2 test_interval: 2"],
)  # fmt: skip
def test_training_on_the_gpu_gives_the_cpus_numbers(make_solver, gpus, more):
    net = data(4, 3) + data(4, name="label") + ip("ip", "data") + losses()
    found = []
    for device in ("cpu", "gpu"):
        caffe.set_mode_cpu() if device == "cpu" else use(1)
        solver = make_solver(net, SETTINGS + more)
        solver.net.blobs["data"].data[...] = np.arange(12).reshape(4, 3) / 10
        solver.step(4)
        found.append([*params(solver.net), np.mean(recent_losses(solver))])
    agree(*found)


def test_iterations_on_the_gpu_wait_for_nothing_until_their_loss_is_read(make_solver, gpus):
    use(0)
    solver = make_solver(NET, SETTINGS)
    solver.step(1)
    waits.clear()
    solver.step(3)
    assert waits == []
    assert solver._losses.mean() > 0 and waits == ["aten::_to_copy"]


def test_the_device_may_be_chosen_after_the_solver_is_made_and_changed_between_steps(
    make_solver, gpus
):
    net = NET.replace("Dropout", "TanH")
    whole = make_solver(net, SETTINGS)
    whole.step(4)
    solver = make_solver(net, SETTINGS)
    solver.step(1)
    use(0)
    solver.step(1)
    use(1)
    solver.step(1)
    caffe.set_mode_cpu()
    solver.step(1)
    agree(params(whole.net), params(solver.net))


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_that_is_restored_on_another_gpu_is_the_same(make_solver, gpus, number):
    use(0)
    solver = make_solver(NET, SETTINGS)
    solver.step(2)
    path = solver.snapshot()
    solver.step(3)
    use(number)
    other = make_solver(NET, SETTINGS, seed=5)
    other.step(1)
    other.restore(path)
    other.step(3)
    agree(params(solver.net), params(other.net))
    assert recent_losses(solver) == pytest.approx(recent_losses(other))


def test_a_snapshot_of_a_gpu_run_is_the_cpu_runs(make_solver, gpus, tmp_path):
    found = []
    for device in ("cpu", "gpu"):
        caffe.set_mode_cpu() if device == "cpu" else use(0)
        rule = SETTINGS + 'type: "Nesterov"'  # step by step on both, so with the same rounding
        solver = make_solver(NET.replace("Dropout", "TanH"), rule)
        solver.step(2)
        path = solver.snapshot()
        found.append(
            [(tmp_path / path).read_bytes(), (tmp_path / "s_iter_2.caffemodel").read_bytes()]
        )
    assert found[0] == found[1]
