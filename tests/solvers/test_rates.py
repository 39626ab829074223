"""What is said of a learning rate that the command line changes."""

from __future__ import annotations

import re

import pytest

import caffe
from caffe.proto import caffe_pb2
from solvers import rates, settings

INIT = ("--weights", "init.caffemodel")
POLY = ("--set", "lr_policy=poly", "--set", "power=1")


def solver(**fields):
    return caffe_pb2.SolverParameter(**{"base_lr": 1.0, "max_iter": 100, **fields})


@pytest.mark.parametrize(
    ("fields", "iteration", "rate"),
    [
        (dict(lr_policy="fixed"), 90, 1),
        (dict(lr_policy="step", gamma=0.5, stepsize=10), 25, 0.25),
        (dict(lr_policy="multistep", gamma=0.5, stepvalue=[3, 7, 30]), 20, 0.25),
        (dict(lr_policy="poly", power=2), 50, 0.25),
        (dict(lr_policy="exp", gamma=0.5), 3, 0.125),
    ],
)
def test_the_rate_is_the_policys(fields, iteration, rate):
    assert rates.at(solver(**fields), iteration) == pytest.approx(rate)


def test_there_is_no_rate_of_a_wrong_policy_nor_under_another_caffe(monkeypatch):
    assert rates.at(solver(lr_policy="fixd"), 1) is None
    monkeypatch.delattr(caffe, "engine")
    assert rates.at(solver(lr_policy="fixed"), 1) is None


def test_fewer_iterations_bend_poly_and_the_run_says_so(call):
    code, err = call(*INIT, *POLY, "--iterations", "6")
    assert code == 0 and len(err) == 1
    assert err[0].startswith("note: max_iter is 6 in place of 12")
    assert "at iteration 3 it is 5e-07, and would be 7.5e-07 by solver.prototxt" in err[0]


def test_other_policies_are_not_bent(call):
    assert call(*INIT, "--iterations", "6") == (0, [])


@pytest.mark.parametrize("iterations", ["12", "24"])
def test_a_finished_run_that_is_prolonged_says_how_far_its_rate_jumps(call, iterations):
    assert call(*INIT, *POLY, "--iterations", "6")[0] == 0
    code, err = call("--resume", "auto", *POLY, "--iterations", iterations)
    now = 1e-6 * (1 - 6 / int(iterations))
    assert code == 0 and err[1:] == [
        f"note: the learning rate at iteration 6 is {now:.4g} from now on; with the settings until "
        f"now it would be 0 (max_iter 6 → {iterations})"
    ]


def test_going_on_with_the_same_settings_says_nothing_of_the_rate(call, folder):
    assert call(*INIT, *POLY)[0] == 0
    for path in folder.glob("out/*_iter_1[02].*"):
        path.unlink()
    code, err = call("--resume", "auto", *POLY)
    assert code == 0 and len(err) == 1 and err[0].startswith("resumed from")


def test_another_base_lr_or_policy_on_resuming_is_told_with_both_rates(call):
    assert call(*INIT, "--iterations", "5")[0] == 0
    err = call("--resume", "auto", "--set", "base_lr=1e-7")[1]
    assert "is 1e-07 from now on" in err[1] and "(base_lr 1e-06 → 1e-07, max_iter 5 → 12)" in err[1]


def test_a_run_before_whose_settings_cannot_be_read_is_no_obstacle(call, folder):
    assert call(*INIT, *POLY, "--iterations", "6")[0] == 0
    (folder / "out/solver_in_force.prototxt").write_text(settings.SIGN + "what?")
    code, err = call("--resume", "auto", *POLY, "--iterations", "8")
    assert code == 0 and re.search("max_iter is 8 in place of 12", err[1])
