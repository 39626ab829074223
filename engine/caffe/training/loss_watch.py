"""Seeing the loss of every iteration of a training, without a wait for a GPU."""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np

from ..compute.transfers import Fetching
from ..errors import Error


class LossWatch:
    """Gives `function(iteration, {output: values})` the outputs with a loss weight of each forward
    pass of `solver`'s net: on the CPU before the backward pass, on a GPU when they have come to the
    host, an iteration or more later.

    A loss that is not finite ends the training: if `function` raises nothing, Error is raised. The
    parameters and their history are then what they were before that iteration, and `solver.iter`
    is its number: on a GPU `solver._guard`, a bool on the device, has held back the updates since.
    """

    def __init__(self, solver, function):
        self._owner, self._function = weakref.ref(solver), function  # a solver holds its watches
        net = solver.net
        self._last = len(net.layers) - 1
        self._names = [name for name in net.outputs if net.blob_loss_weights[name]]
        self._underway: deque[tuple[int, Fetching]] = deque()
        net.after_forward(self._after_layer)

    def _after_layer(self, layer: int) -> None:
        solver = self._owner()
        if layer != self._last or solver is None:  # the net may outlive its solver
            return
        blobs = solver.net.blobs
        losses = [blobs[name].read() for name in self._names]
        if all(loss.device.type == "cpu" for loss in losses):
            solver._see_losses()
            self._give(solver.iter, [loss.numpy().copy() for loss in losses])
            return
        for loss in losses:
            self._hold_back(solver, loss.abs() < math.inf)
        self._underway.append((solver.iter, Fetching(losses)))
        # This pass's own are left for later even if they are there: the host should be ahead.
        while len(self._underway) > 1 and self._underway[0][1].arrived():
            self._next()

    @staticmethod
    def _hold_back(solver, finite) -> None:
        """Make no update any more where `finite`, bools on the device, is not."""
        finite, guard = finite.all() if finite.dim() else finite, solver._guard
        if guard is not None and guard.device == finite.device:
            finite = finite & guard
        solver._guard = finite

    def forget(self) -> None:
        """Give no loss that is still on its way."""
        self._underway.clear()

    def flush(self) -> None:
        """Wait for all losses, and give them."""
        while self._underway:
            self._next()

    def _next(self) -> None:
        iteration, fetching = self._underway.popleft()
        self._give(iteration, fetching.arrays())

    def _give(self, iteration: int, arrays: list[np.ndarray]) -> None:
        bad = [name for name, a in zip(self._names, arrays) if not np.isfinite(a).all()]
        solver = self._owner()
        if bad and solver is not None:
            solver.iter = iteration
            solver._forget_losses()
        self._function(iteration, dict(zip(self._names, arrays)))
        if bad:
            raise Error(f"iteration {iteration}: {bad[0]} is not finite")
