"""The six solvers: how each turns a gradient into what is subtracted from a parameter.

In each rule g is the gradient (normalised by iter_size, clipped, with weight decay), r the rate
times the parameter's lr_mult; the products' order is BVLC Caffe's. All of it is arithmetic on the
device, with at most two arrays of the parameter's size beside the history.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from ..errors import InputError
from ..proto import text
from . import fused_updates
from .solver import Solver


class SGDSolver(Solver):
    """V ← momentum·V + r·g, W ← W − V (Caffe's form: the rate is inside V)."""

    type = "SGD"
    rests_at_zero = True

    def fused_rule(self, rate: float, decay: float, iter_size: int):
        if type(self).update_value is not SGDSolver.update_value:
            return super().fused_rule(rate, decay, iter_size)
        return fused_updates.sgd(rate, decay, self.param.momentum, iter_size)

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        history = self._history[index].write()
        return history.mul_(self.param.momentum).add_(diff, alpha=rate)


class NesterovSolver(SGDSolver):
    """V ← momentum·V₀ + r·g, W ← W − ((1 + momentum)·V − momentum·V₀): accelerated gradient."""

    type = "Nesterov"

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        history, momentum = self._history[index].write(), self.param.momentum
        kept = history * momentum
        torch.add(kept, diff, alpha=rate, out=history)
        return torch.mul(history, 1 + momentum, out=diff).sub_(kept)


class AdaGradSolver(SGDSolver):
    """H ← H + g², W ← W − r·g / (√H + delta). No momentum."""

    type = "AdaGrad"
    rests_at_zero = False

    def _check(self) -> None:
        super()._check()
        _refuse_momentum(self)

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        history = self._history[index].write()
        history.addcmul_(diff, diff)
        return diff.div_(history.sqrt().add_(self.param.delta)).mul_(rate)


class RMSPropSolver(SGDSolver):
    """H ← rms_decay·H + (1 − rms_decay)·g², W ← W − r·g / (√H + delta). No momentum."""

    type = "RMSProp"
    rests_at_zero = False

    def _check(self) -> None:
        super()._check()
        _refuse_momentum(self)
        if not 0 <= self.param.rms_decay < 1:
            raise InputError(
                f"rms_decay must be at least 0 and below 1, not {self.param.rms_decay:g}"
            )

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        history, decay = self._history[index].write(), self.param.rms_decay
        history.mul_(decay).addcmul_(diff, diff, value=1 - decay)
        return diff.div_(history.sqrt().add_(self.param.delta)).mul_(rate)


class AdaDeltaSolver(SGDSolver):
    """G ← momentum·G + (1 − momentum)·g², u = g·√((U + delta) / (G + delta)),
    U ← momentum·U + (1 − momentum)·u², W ← W − r·u.

    The history is all parameters' G, then all parameters' U.
    """

    type = "AdaDelta"
    rests_at_zero = False
    histories = 2

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        momentum, delta = self.param.momentum, self.param.delta
        gradients = self._history[index].write()
        updates = self._history[len(self._history) // 2 + index].write()
        gradients.mul_(momentum).addcmul_(diff, diff, value=1 - momentum)
        diff.mul_(updates.add(delta).div_(gradients.add(delta)).sqrt_())
        updates.mul_(momentum).addcmul_(diff, diff, value=1 - momentum)
        return diff.mul_(rate)


class AdamSolver(SGDSolver):
    """M ← momentum·M + (1 − momentum)·g, V ← momentum2·V + (1 − momentum2)·g²,
    W ← W − r·c·M / (√V + delta) with c = √(1 − momentum2ᵗ) / (1 − momentumᵗ), t from 1 on.

    The history is all parameters' M, then all parameters' V.
    """

    type = "Adam"
    rests_at_zero = False
    fused_rule_shows = False
    histories = 2

    def fused_rule(self, rate: float, decay: float, iter_size: int):
        if type(self).update_value is not AdamSolver.update_value:
            return None
        param = self.param
        beta = (param.momentum, param.momentum2)
        return fused_updates.adam(rate, decay, beta, param.delta, self.iter + 1, iter_size)

    def _correction(self) -> float:
        """c of the present iteration; as in C, infinite or NaN where it is not defined."""
        t, param = self.iter + 1, self.param
        with np.errstate(all="ignore"):
            first, second = np.float64(param.momentum) ** t, np.float64(param.momentum2) ** t
            return float(np.sqrt(1 - second) / (1 - first))

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        beta1, beta2 = self.param.momentum, self.param.momentum2
        mean = self._history[index].write()
        square = self._history[len(self._history) // 2 + index].write()
        mean.mul_(beta1).add_(diff, alpha=1 - beta1)
        square.mul_(beta2).addcmul_(diff, diff, value=1 - beta2)
        torch.sqrt(square, out=diff).add_(self.param.delta)
        return torch.div(mean, diff, out=diff).mul_(rate * self._correction())


def _refuse_momentum(solver: Solver) -> None:
    if solver.param.momentum:
        raise InputError(
            f"momentum cannot be used with {solver.type}; remove it, or take another type"
        )


SOLVERS = {
    solver.type: solver
    for solver in (
        SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver,
    )
}  # fmt: skip


def solver_class(param_file) -> type[Solver]:
    """The class of the `type` that the file names. Raises InputError where there is none."""
    kind = text.read_solver(os.fspath(param_file)).type
    if kind not in SOLVERS:
        raise InputError(f"{param_file}: solver type '{kind}' is not one of {', '.join(SOLVERS)}")
    return SOLVERS[kind]


def get_solver(param_file) -> Solver:
    """The solver whose `type` the file names."""
    return solver_class(param_file)(param_file)
