"""Which parameters are updated, and how: in one kernel on a GPU, not at all at rest or while a
guard holds the updates back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe.training import fused_updates
from tests.engine.training.test_solver_updates import BASE, FIELDS, give_gradients
from tests.helpers.emulated_gpu import emulated_gpus
from tests.helpers.meta_gpu import Counts, make_solver as make_meta_solver, meta_gpu
from tests.helpers.net_texts import CLASSIFIER, data, ip, layer, losses, params
from tests.helpers.solver_state import history

TWO = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"
REST = "param { lr_mult: 0 } param { lr_mult: 0 }"
NET = data(4, 3) + data(4, name="label") + ip("a", "data", more=REST) + ip("ip", "a", more=TWO)
NET += losses()


@pytest.mark.parametrize("iter_size", [1, 3])
@pytest.mark.parametrize("rate", [0.7, 1e-3, 1e-10, 3.3e-14])
def test_sgd_in_one_kernel_is_caffes_rule_but_for_rounding(rate, iter_size):
    stream = np.random.RandomState(0)
    w, g, v = (stream.standard_normal(1000).astype("f4") for _ in range(3))
    g /= np.float32(rate)  # as large as rates as small as these are for
    wanted = 0.9 * v.astype("f8") + rate * (g.astype("f8") / iter_size + 0.01 * w.astype("f8"))
    tensors = [torch.from_numpy(x.copy()) for x in (w, g, v)]
    run = fused_updates.sgd(rate, 0.01, 0.9, iter_size)
    updates = run(*([t] for t in tensors[:2]), [[tensors[2]]], None)
    assert updates[0] is tensors[2]
    # PyTorch's CPU kernel rounds after each product and sum.
    size = np.abs(0.9 * v) + np.abs(rate * g / iter_size)
    assert (np.abs(tensors[2].numpy() - wanted) <= 2.4e-7 * size).all()
    np.testing.assert_allclose(tensors[0].numpy(), w - tensors[2].numpy(), rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e-40])
def test_rates_of_which_the_kernel_makes_no_rule_are_left_to_the_steps(rate):
    assert fused_updates.sgd(rate, 0.01, 0.9, 1) is None


def on_the_gpu(make_solver, text, more="", steps=3):
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        solver = make_solver(text, more)
        for seed in range(steps):
            give_gradients(solver, seed)
            solver.apply_update()
        return params(solver.net), history(solver)


@pytest.mark.parametrize("more", ["", "iter_size: 2", 'regularization_type: "L1" iter_size: 2'])
@pytest.mark.parametrize("kind", FIELDS)
def test_a_gpus_updates_are_the_cpus(make_solver, kind, more):
    text = f'{BASE} type: "{kind}" {FIELDS[kind]} weight_decay: 0.1 {more}'
    found = on_the_gpu(make_solver, CLASSIFIER, text)
    solver = make_solver(CLASSIFIER, text)
    for seed in range(3):
        give_gradients(solver, seed)
        solver.apply_update()
    for mine, wanted in zip(found, (params(solver.net), history(solver))):
        for a, b in zip(mine, wanted):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu", "gpu"])
@pytest.mark.parametrize("kind", FIELDS)
def test_a_guard_that_is_false_leaves_parameters_and_history_as_they_are(make_solver, kind, on_gpu):
    text = f'{BASE} type: "{kind}" {FIELDS[kind]} weight_decay: 0.1'
    with emulated_gpus(1):
        if on_gpu:
            caffe.set_mode_gpu()
        solver = make_solver(CLASSIFIER, text)
        give_gradients(solver, 0)
        solver.apply_update()
        where = "cuda:0" if on_gpu else "cpu"
        before = [*params(solver.net), *history(solver)]
        for blob in solver.net.params["ip"]:
            blob.diff[...] = np.nan
        solver._guard = torch.tensor(False, device=where)
        solver.apply_update()
        for a, b in zip([*params(solver.net), *history(solver)], before):
            np.testing.assert_array_equal(a, b)
        give_gradients(solver, 1)
        solver._guard = torch.tensor(True, device=where)
        solver.apply_update()
        assert all((a != b).any() for a, b in zip(params(solver.net), before))


@pytest.mark.parametrize("kind", ["SGD", "Nesterov"])
def test_parameters_at_rest_are_left_out_of_the_update(make_solver, kind, monkeypatch):
    solver = make_solver(NET, f'{BASE} type: "{kind}" momentum: 0.9 weight_decay: 0.1')
    updated = []
    monkeypatch.setattr(
        solver, "_update_one", lambda i, *args: updated.append(solver.net._learnable.names[i])
    )
    solver.step(1)
    assert updated == ["ip[0]", "ip[1]"]
    solver.net.params["a"][0].diff[...] = 1  # somebody gives it a gradient
    solver.apply_update()
    assert updated[2:] == ["a[0]", "ip[0]", "ip[1]"]


@pytest.mark.parametrize("kind", ["AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_rules_whose_history_takes_in_weight_decay_update_all(make_solver, kind):
    solver = make_solver(NET, f'{BASE} type: "{kind}" weight_decay: 0.1 {FIELDS[kind]}')
    solver.step(1)
    assert history(solver)[0].any()


def test_a_history_that_was_restored_moves_its_parameter_on_as_in_caffe(make_solver):
    rule = f"{BASE} momentum: 0.9"
    moving = make_solver(NET.replace("lr_mult: 0", "lr_mult: 1"), rule)
    moving.net.params["a"][0].diff[...] = 1
    moving.apply_update()
    path = moving.snapshot()
    solver = make_solver(NET, rule)
    solver.step(1)
    solver.restore(path)
    before, momentum = params(solver.net)[0], history(solver)[0]
    solver.apply_update()
    np.testing.assert_allclose(params(solver.net)[0], before - 0.9 * momentum, rtol=1e-6)
    assert momentum.any()


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_lean_nets_small_parameters_are_updated_in_one_launch(tmp_path, kind):
    caffe.engine.set_lean(True)
    with meta_gpu(), Counts() as counts:
        net = CLASSIFIER.replace("lr_mult: 2 decay_mult: 0", "")
        rule = f'type: "{kind}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9'
        solver = make_meta_solver(tmp_path, net, rule=rule)
        solver.step(1)
    assert counts.launches[f"_fused_{kind.lower()}_"] == 1


def test_a_norm_that_is_no_number_clips_nothing_on_a_gpu_as_on_the_cpu(make_solver):
    two = data(4, 3) + data(4, 2, name="target") + data(4, 2, name="broken")
    two += ip("a", "data", 2) + layer("loss", "EuclideanLoss", ["a", "target"])
    two += ip("b", "data", 2) + layer("other", "EuclideanLoss", ["b", "broken"])

    def step():
        solver = make_solver(two, BASE + "clip_gradients: 1")
        solver.net.blobs["data"].data[...] = 1
        solver.net.blobs["broken"].data[...] = np.nan
        solver.step(1)
        return [solver.net.params[name][0].data.copy() for name in "ab"]

    on_cpu = step()
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        on_gpu = step()
    assert np.isfinite(on_cpu[0]).all() and np.isnan(on_cpu[1]).all()
    np.testing.assert_allclose(on_gpu[0], on_cpu[0], rtol=1e-6)
