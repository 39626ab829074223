"""20 iterations of a small net under every solver setting: parameters within 1e-4.

The change of each parameter (what training added) is compared too, more loosely: it is a small
difference of larger numbers."""

from __future__ import annotations

import both
import pytest
import report
from nets import CLASSIFIER

FIXED = 'lr_policy: "fixed"'
POLICIES = {
    "fixed": [FIXED],
    "step": ['lr_policy: "step"', "gamma: 0.5", "stepsize: 6"],
    "exp": ['lr_policy: "exp"', "gamma: 0.9"],
    "inv": ['lr_policy: "inv"', "gamma: 0.1", "power: 0.75"],
    "multistep": [
        'lr_policy: "multistep"',
        "gamma: 0.3",
        "stepvalue: 5",
        "stepvalue: 9",
        "stepvalue: 15",
    ],
    "poly": ['lr_policy: "poly"', "power: 0.9", "max_iter: 25"],
    "sigmoid": ['lr_policy: "sigmoid"', "gamma: 0.3", "stepsize: 10"],
}
SETTINGS = {
    "plain": [FIXED],
    "momentum": [FIXED, "momentum: 0.9"],
    "momentum 0.99 and weight decay, as published": [
        FIXED,
        "momentum: 0.99",
        "weight_decay: 0.0005",
    ],
    "strong weight decay": [FIXED, "momentum: 0.5", "weight_decay: 0.1"],
    "L1 weight decay": [FIXED, "weight_decay: 0.01", 'regularization_type: "L1"'],
    "iter_size 2": [FIXED, "momentum: 0.9", "weight_decay: 0.01", "iter_size: 2"],
    "clip_gradients": [FIXED, "momentum: 0.9", "clip_gradients: 0.5", "weight_decay: 0.01"],
    "clip_gradients and iter_size 3": [FIXED, "clip_gradients: 0.5", "iter_size: 3"],
    "average_loss": [FIXED, "average_loss: 5", "display: 4"],
}
OTHER_SOLVERS = {
    "Nesterov": ["momentum: 0.9", "weight_decay: 0.01"],
    "AdaGrad": ["delta: 1e-6"],
    "RMSProp": ["rms_decay: 0.9", "delta: 1e-6"],
    "AdaDelta": ["momentum: 0.95", "delta: 1e-6"],
    "Adam": ["momentum: 0.9", "momentum2: 0.999", "delta: 1e-6", "weight_decay: 0.01"],
}
# How far a parameter moves in 20 iterations is well above this in every setting here.
CHANGE_FLOOR = 1e-3


def tolerance(name):
    return 1e-3 if name.startswith("change") else 1e-4


def agree(what, lines, seed=0, steps=20):
    args = {"prototxt": CLASSIFIER, "solver": lines, "steps": steps, "seed": seed}
    errors = both.compare(*both.run_both("training", args), tolerance, CHANGE_FLOOR)
    report.record("20 iterations", what, errors)


@pytest.mark.parametrize("policy", POLICIES)
def test_learning_rate_policies_agree(policy):
    agree(f"lr_policy {policy}", ["base_lr: 0.05", "momentum: 0.9", *POLICIES[policy]])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("seed", [0, 1])
def test_settings_of_sgd_agree(setting, seed):
    agree(setting, ["base_lr: 0.05", *SETTINGS[setting]], seed)


@pytest.mark.parametrize("kind", OTHER_SOLVERS)
def test_the_other_solvers_agree(kind):
    if kind not in both.run("engine", "solver_types")["types"]:
        pytest.skip(f"the engine has no {kind}Solver")
    rate = 1.0 if kind == "AdaDelta" else 0.01
    agree(kind, [f'type: "{kind}"', f"base_lr: {rate}", FIXED, *OTHER_SOLVERS[kind]])
