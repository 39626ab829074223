"""The seven learning rate policies of Caffe's solver."""

from __future__ import annotations

import math

from ..errors import InputError
from ..log import WARNING, log
from ..proto.hints import did_you_mean

# The fields that each policy reads.
_READS = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma",),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}


def check(param) -> None:
    """Raise InputError when the policy of a SolverParameter is unknown, or a field of it gives no
    rate. A field that is missing is 0, as in Caffe, and is warned of."""
    policy = param.lr_policy
    if policy not in _READS:
        hint = did_you_mean(policy, _READS) or f"; one of {', '.join(_READS)}"
        raise InputError(f"lr_policy '{policy}' is unknown{hint}")
    reads = _READS[policy]
    for field in ("stepsize", "max_iter"):
        value = getattr(param, field)
        if field in reads and value <= 0:
            given = value if param.HasField(field) else "missing"
            raise InputError(f"lr_policy '{policy}' needs a {field} above 0; it is {given}")
    if "gamma" in reads and param.gamma < 0:
        raise InputError(f"lr_policy '{policy}' needs a gamma of at least 0, not {param.gamma:g}")
    for field in reads:
        if not param.HasField(field):
            log(f"lr_policy '{policy}' reads {field}, which is missing: it is 0", WARNING)


def multistep_index(param, iteration: int, current: int) -> int:
    """How many of the policy's step values `iteration` has reached, not less than `current`."""
    while current < len(param.stepvalue) and iteration >= param.stepvalue[current]:
        current += 1
    return current


def _power(base: float, exponent: float) -> float:
    """pow as C has it: a result beyond all numbers is infinite, an undefined one NaN."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def learning_rate(param, iteration: int, current_step: int = 0) -> float:
    """The rate at an iteration, as the comments of SolverParameter.lr_policy define it.

    `current_step`: for `multistep`, the number of step values reached.
    """
    base, gamma, power = param.base_lr, param.gamma, param.power
    policy = param.lr_policy
    if policy == "fixed":
        return base
    if policy == "step":
        return base * _power(gamma, iteration // param.stepsize)
    if policy == "exp":
        return base * _power(gamma, iteration)
    if policy == "inv":
        return base * _power(1 + gamma * iteration, -power)
    if policy == "multistep":
        return base * _power(gamma, current_step)
    if policy == "poly":
        return base * _power(max(0.0, 1 - iteration / param.max_iter), power)
    exponent = -gamma * (iteration - param.stepsize)
    return base / (1 + math.exp(exponent)) if exponent < 700 else 0.0


def rate_at(param, iteration: int) -> float:
    """The rate that a SolverParameter has at an iteration. InputError where its policy is wrong."""
    check(param)
    return learning_rate(param, iteration, multistep_index(param, iteration, 0))
