"""What a change of the solver's settings does to the learning rate, said before the training."""

from __future__ import annotations

import copy
import os

import caffe
import prototxt.text
from caffe.proto import caffe_pb2
from solvers import settings

FIELDS = ("base_lr", "lr_policy", "max_iter", "gamma", "power", "stepsize", "stepvalue")
"""The fields of SolverParameter that the rate is made of."""


def at(param, iteration):
    """The learning rate of a SolverParameter, or None: under BVLC Caffe, or where its policy is
    wrong, which the solver says."""
    if not hasattr(caffe, "engine"):
        return None
    try:
        return caffe.engine.rate_at(param, iteration)
    except caffe.engine.InputError:
        return None


def note(where, planned, before, param, iteration):
    """A line on a learning rate that the command line changes, or None.

    where: the solver's file; planned: its max_iter; before: the SolverParameter until now, or None;
    param: the one in force; iteration: the next, 0 at the start.
    """
    if iteration and before is not None:
        return of_resuming(before, param, iteration)
    return of_other_length(where, planned, param)


def of_other_length(where, max_iter, param):
    """A line on a curve that another number of iterations stretches or cuts short, or None.

    max_iter: as the file `where` has it; param: the SolverParameter in force.
    """
    if param.lr_policy != "poly" or max_iter == param.max_iter:
        return None
    planned = copy.deepcopy(param)
    planned.max_iter = max_iter
    middle = min(max_iter, param.max_iter) // 2
    there, here = at(planned, middle), at(param, middle)
    if there is None or here is None:
        return None
    return (
        f"max_iter is {param.max_iter} in place of {max_iter}, which changes the rate everywhere: "
        f"by lr_policy 'poly' it falls to 0 at max_iter; at iteration {middle} it is {here:.4g}, "
        f"and would be {there:.4g} by {where}"
    )


def settings_until_now(folder):
    """The settings with which the training in `folder` went on last, or None."""
    path = os.path.join(folder, settings.IN_FORCE)
    try:
        return prototxt.text.read(path, caffe_pb2.SolverParameter())
    except ValueError:
        return None


def of_resuming(before, param, iteration):
    """A line on a rate that jumps where a training goes on with other settings, or None.

    before: the SolverParameter until now, or None; param: from now on; iteration: the next.
    """
    then, now = (None if one is None else at(one, iteration) for one in (before, param))
    if None in (then, now) or abs(then - now) <= 1e-6 * max(abs(then), abs(now)):
        return None
    changed = [name for name in FIELDS if getattr(before, name) != getattr(param, name)]
    words = [f"{name} {_value(before, name)} → {_value(param, name)}" for name in changed]
    return (
        f"the learning rate at iteration {iteration} is {now:.4g} from now on; with the settings "
        f"until now it would be {then:.4g} ({', '.join(words)})"
    )


def _value(param, name):
    value = getattr(param, name)
    if hasattr(value, "append"):
        return "[" + ", ".join(map(str, value)) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
