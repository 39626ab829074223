"""Rates against the formulas in the comments of SolverParameter.lr_policy; figures: BVLC Caffe."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from hypothesis import given, strategies as st

from caffe.engine import InputError
from caffe.proto import caffe_pb2
from caffe.training import lr_policy
from tests.engine.layers.field_rows import logged


def settings(text):
    return text_format.Parse("base_lr: 0.1 " + text, caffe_pb2.SolverParameter())


# Rates that BVLC Caffe logs at iterations 0 to 5.
BVLC = {
    'lr_policy: "fixed"': [0.1] * 6,
    'lr_policy: "step" gamma: 0.5 stepsize: 2': [0.1, 0.1, 0.05, 0.05, 0.025, 0.025],
    'lr_policy: "exp" gamma: 0.9': [0.1, 0.09, 0.081, 0.0729, 0.06561, 0.059049],
    'lr_policy: "inv" gamma: 0.1 power: 0.75': [
        0.1, 0.0931012, 0.0872196, 0.0821377, 0.0776969, 0.0737788,
    ],
    'lr_policy: "multistep" gamma: 0.3 stepvalue: 1 stepvalue: 4': [
        0.1, 0.03, 0.03, 0.03, 0.009, 0.009,
    ],
    'lr_policy: "poly" power: 0.9 max_iter: 25': [
        0.1, 0.0963927, 0.0927703, 0.0891322, 0.0854774, 0.0818052,
    ],
    'lr_policy: "sigmoid" gamma: 0.3 stepsize: 3': [
        0.028905, 0.0354344, 0.0425557, 0.05, 0.0574443, 0.0645656,
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", BVLC)
def test_rates_are_bvlcs(text):
    param, step, rates = settings(text), 0, []
    lr_policy.check(param)
    for iteration in range(6):
        step = lr_policy.multistep_index(param, iteration, step)
        rates.append(lr_policy.learning_rate(param, iteration, step))
    assert rates == pytest.approx(BVLC[text], rel=1e-5)


@given(st.integers(0, 10**9), st.floats(0.01, 2), st.integers(1, 10**6))
def test_no_policy_overflows_or_goes_below_zero(iteration, gamma, stepsize):
    param = settings(f"gamma: {gamma} stepsize: {stepsize} power: 0.9 max_iter: 1000")
    for policy in ("inv", "poly", "sigmoid"):
        param.lr_policy = policy
        assert 0 <= lr_policy.learning_rate(param, iteration) <= param.base_lr


def test_a_growing_rate_that_overflows_is_infinite_not_a_crash():
    assert lr_policy.learning_rate(settings('lr_policy: "exp" gamma: 2'), 10**6) == float("inf")


@pytest.mark.parametrize(
    "text, words",
    [
        ('lr_policy: "fixd"', ["fixd", "'fixed'"]),
        ("", ["lr_policy ''", "multistep"]),
        ('lr_policy: "plateau"', ["'plateau'", "one of fixed"]),
        ('lr_policy: "step" gamma: -1 stepsize: 3', ["'step'", "gamma", "-1"]),
        ('lr_policy: "step" gamma: 1', ["'step'", "stepsize"]),
        ('lr_policy: "step" gamma: 1 stepsize: 0', ["'step'", "stepsize"]),
        ('lr_policy: "exp" gamma: -1', ["'exp'", "gamma", "-1"]),
        ('lr_policy: "STEP"', ["'STEP'", "did you mean 'step'"]),
        ('lr_policy: "poly" power: 1', ["'poly'", "max_iter"]),
        ('lr_policy: "poly" power: 1 max_iter: 0', ["'poly'", "max_iter"]),
        ('lr_policy: "sigmoid" gamma: 1', ["'sigmoid'", "stepsize"]),
    ],
)
def test_a_policy_that_lacks_something_says_what(text, words):
    with pytest.raises(InputError) as raised:
        lr_policy.check(settings(text))
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('lr_policy: "step" stepsize: 3', ["gamma"]),
        ('lr_policy: "exp"', ["gamma"]),
        ('lr_policy: "inv"', ["gamma", "power"]),
        ('lr_policy: "multistep"', ["gamma"]),
        ('lr_policy: "poly" max_iter: 9', ["power"]),
        ('lr_policy: "sigmoid" stepsize: 2', ["gamma"]),
        ('lr_policy: "fixed"', []),
        ('lr_policy: "exp" gamma: 0', []),
    ],
)
def test_a_missing_field_is_0_and_told_of(text, missing):
    param = settings(text)
    with logged() as lines:
        lr_policy.check(param)
    assert [line.split("reads ")[1].split(",")[0] for line in lines()] == missing
    written = settings(text + "".join(f" {field}: 0" for field in missing))
    for iteration in (0, 3):
        assert lr_policy.learning_rate(param, iteration) == lr_policy.learning_rate(
            written, iteration
        )
