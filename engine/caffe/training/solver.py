"""Solver: the training loop that all six solvers share."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from ..compute import rng
from ..compute.gpu_errors import named_gpu_errors
from ..core.blob import Blob
from ..core.vectors import read_only
from ..errors import Error, InputError
from ..log import WARNING, log, shown
from ..net import Net, NetVec
from ..proto import not_utf8, text
from ..ranks import solver_rank
from ..run.debug_info import log_parameters, set_debug_info
from . import lr_policy, places, snapshots, solver_nets
from .loss_watch import LossWatch
from .output_means import OutputMeans
from .param_updates import ParamUpdates, per_pass
from .runs import Run
from .smoothed_loss import SmoothedLoss

if TYPE_CHECKING:
    from .tie import Tie

STOP, SNAPSHOT = "stop", "snapshot"
NOTHING = np.empty(0)  # the results of a test of no iterations


@read_only("net", "test_nets", "param")
class Solver(ParamUpdates):
    """What all solvers share: nets, the loop, display, tests, snapshots.

    A subclass says how many history blobs a parameter has (`histories`) and how they and the
    gradient make an update (`update_value`).
    """

    type = ""
    iter = 0
    """How many iterations are done."""

    def __init__(self, param_file):
        path = os.fspath(param_file)
        self._build(text.read_solver(path), path)

    @classmethod
    def from_param(cls, param, where: str = "solver") -> Solver:
        """A solver from a SolverParameter; `where` names it in errors."""
        solver = cls.__new__(cls)
        solver._build(param, where)
        return solver

    def _build(self, param, path: str) -> None:
        self.param = param
        try:
            self._check()
            if self.param.random_seed >= 0:  # no two solvers draw the same dropout masks
                rng.set_random_seed(self.param.random_seed + solver_rank())
            self.net = solver_nets.training_net(self.param, path)
            self.test_nets = NetVec(solver_nets.test_nets(self.param, path))
        except InputError as error:
            message = str(error)
            raise InputError(message if path in message else f"{path}: {message}") from None
        solver_nets.load_weights(self.param, [self.net, *self.test_nets])
        for net in self.test_nets:
            set_debug_info(net, self.param.debug_info)
        self._current_step = 0
        self._step_reached_at = -1  # the iteration that raised _current_step
        self._losses = SmoothedLoss(self.param.average_loss)
        self._losses_go_on = False  # the next `step` shows them with its own
        self._stopped_early = False
        self._announced = False
        self._callbacks: list = []
        self._action = None
        self._watches: list[LossWatch] = []
        self._display_watches: list = []
        self._snapshot_watches: list = []
        self._guard = None
        self._norms = deque()
        self._held: dict | None = None  # what a snapshot holds until the next iteration begins
        self._half_updated = False  # some parameters are of the next iteration
        self._begun: dict | None = None  # where the last iteration began
        self._changing = threading.RLock()  # held while parameters or snapshots' files change
        self._tie: Tie | None = None  # to the solvers of other processes
        self._timer = (0, time.perf_counter())
        learnable = self.net._learnable
        self.snapshot_at: int | None = None
        """The iteration of the last snapshot that was written."""
        self._reserved = False  # the place for snapshots has been looked at
        self._run = Run()  # which training this is, for its snapshots
        self._history = [
            Blob(*blob.shape) for _ in range(self.histories) for blob in learnable.blobs
        ]

    def _check(self) -> None:
        param = self.param
        lr_policy.check(param)
        if param.weight_decay and param.regularization_type not in ("L1", "L2"):
            raise InputError(f"regularization_type '{param.regularization_type}' is not L1 or L2")
        if param.average_loss < 1:
            raise InputError(f"average_loss must be at least 1, not {param.average_loss}")
        if param.iter_size < 1:
            what = "nothing is learned" if param.iter_size else "all parameters become NaN"
            log(f"iter_size {param.iter_size}: no pass is run, and {what}", WARNING)
        if param.snapshot and not solver_rank():
            places.check_prefix(not_utf8.path(param.snapshot_prefix))

    def share_weights(self, net: Net) -> None:
        """Make `net` use the training net's parameters."""
        net.share_with(self.net)

    # -- the loop -------------------------------------------------------------------------

    def add_callback(self, on_start, on_gradients_ready=None) -> None:
        """Call `on_start()` before each iteration and `on_gradients_ready()` before its update."""
        self._callbacks.append((on_start, on_gradients_ready))

    def set_action_function(self, function) -> None:
        """`function()` is asked after each iteration, and before each batch of a test, for "stop",
        "snapshot" or None. The first of several solvers alone writes snapshots."""
        self._action = function

    def watch_losses(self, function) -> None:
        """Call `function(iteration, {output: array})` with the loss outputs of every iteration,
        without a wait for a GPU: there some iterations later, at the latest before a snapshot and
        at the end of `step`. A loss that is not finite ends the training, by what `function` raises
        or else by Error; no parameter and no history has then changed by it or since, but the
        statistics of BatchNorm, which a forward pass changes."""
        self._watches.append(LossWatch(self, function))

    def watch_display(self, function) -> None:
        """Call `function(iteration, loss, rate)` with the loss, smoothed, and the learning rate of
        every iteration that the log shows."""
        self._display_watches.append(function)

    def watch_snapshots(self, function) -> None:
        """Call `function(solverstate's path)` after each snapshot that is written."""
        self._snapshot_watches.append(function)

    def _see_losses(self) -> None:
        """Wait for the losses that are watched, and for gradients' norms that are to be logged."""
        for watch in self._watches:
            watch.flush()
        self._log_clippings(wait=True)
        self._guard = None

    def _forget_losses(self) -> None:
        """Leave what is still on its way from a GPU: it is of iterations that do not count."""
        for watch in self._watches:
            watch.forget()
        self._norms.clear()
        self._guard = None

    def _follow_action(self, due: bool = False) -> None:
        """Do what the action function asks for; a snapshot also where one is `due`."""
        action = self._action() if self._action else None
        if (action == SNAPSHOT or due) and not solver_rank():
            self._snapshot_if_possible()
        self._stopped_early = action == STOP

    def learning_rate(self) -> float:
        """The learning rate of the present iteration."""
        if self.param.lr_policy == "step":  # a solverstate holds it, as Caffe's does
            self._current_step = self.iter // self.param.stepsize
        elif self.param.lr_policy == "multistep":
            self._reach_step()
        return lr_policy.learning_rate(self.param, self.iter, self._current_step)

    def _reach_step(self) -> None:
        """As Caffe does, at most one step value further in an iteration."""
        reached = lr_policy.multistep_index(self.param, self.iter, self._current_step)
        if reached > self._current_step and self.iter != self._step_reached_at:
            self._current_step += 1
            self._step_reached_at = self.iter
            log(f"MultiStep Status: Iteration {self.iter}, step = {self._current_step}")

    lr = property(learning_rate)

    def _displays(self) -> bool:
        shown = self.param.display != 0 and self.iter % self.param.display == 0
        return shown and not solver_rank()

    @named_gpu_errors
    def step(self, iterations: int) -> None:
        """Run `iterations` updates (fewer when the action function says "stop"). Of several solvers
        the first one tests, shows and writes snapshots, the others do not."""
        stop = self.iter + int(iterations)
        self._stopped_early = False
        self._announce()
        if not self._losses_go_on:
            self._losses.replace(())
        self._losses_go_on = False
        self._timer = (self.iter, time.perf_counter())
        if self.param.snapshot and self.iter < stop:
            self.reserve_snapshots()
        while self.iter < stop:
            self.net.clear_param_diffs()
            interval = self.param.test_interval
            if (
                interval
                and self.iter % interval == 0
                and (self.iter > 0 or self.param.test_initialization)
                and not self._stopped_early  # which other solvers have not heard of yet
            ):
                self._test_all()
            if self._stops():
                break
            self._held = None
            begun = self._begun = snapshots.training_position(self)
            try:
                for on_start, _ in self._callbacks:
                    on_start()
                set_debug_info(self.net, self.param.debug_info and self._displays())
                self._iterate()
            except BaseException:
                if begun["iter"] == self.iter:
                    self._held = begun  # a snapshot is of the last whole iteration
                raise
            every = self.param.snapshot
            self._follow_action(bool(every) and self.iter % every == 0)
            if self._stopped_early and self._tie is None:
                break
        self._see_losses()

    def step_on(self, iterations: int) -> None:
        """`step`, as the further part of one: the loss that is shown is smoothed over those before
        too."""
        self._losses_go_on = True
        self.step(iterations)

    def _stops(self) -> bool:
        """Whether the training stops before this iteration; several solvers do at the same one."""
        if self._tie is not None:
            self._stopped_early = self._tie.stops()
        return self._stopped_early

    def _iterate(self) -> None:
        last = len(self.net.layers) - 1
        if self._updates_early():
            self._show(self.net._passes.forward(0, last))
            rate = self._announced_rate()
            self._backward(lambda numbers: self._begin_update(numbers, rate))
            self._end_update()
            return
        loss = 0.0
        for left in reversed(range(self.param.iter_size)):
            loss += self.net._passes.forward(0, last)
            if left:
                self.net._passes.backward(last, 0)
            else:
                self._backward()
            log_parameters(self.net)
        self._show(loss * per_pass(self.param))
        for _, on_gradients_ready in self._callbacks:
            if on_gradients_ready is not None:
                on_gradients_ready()
        self.apply_update()

    def _backward(self, update=None) -> None:
        """The backward pass that completes the gradients, those of all solvers; `update` as of
        `Passes.backward`."""
        if self._tie is not None:
            self._tie.backward(update)
            return
        self.net._passes.backward(len(self.net.layers) - 1, 0, update)

    def _updates_early(self) -> bool:
        """Whether nothing needs all gradients at once, or after their update."""
        if self._keeps_diffs() or self.param.iter_size != 1 or self.param.clip_gradients >= 0:
            return False
        return not self.net._passes.callbacks["after_backward"] and not any(
            ready for _, ready in self._callbacks
        )

    def _keeps_diffs(self) -> bool:
        """Whether the parameters' diffs stay, and hold what was subtracted, as in Caffe."""
        return not self.net._plan.lean or self.param.snapshot_diff

    def _show(self, loss) -> None:
        self._losses.add(loss)
        if self._displays():
            self._display()

    def _display(self) -> None:
        since, then = self._timer
        now = time.perf_counter()
        done, seconds = self.iter - since, now - then
        rate = done / seconds if seconds > 0 and done else 0.0
        self._timer = (self.iter, now)
        blobs = [self.net._blobs[index] for index in self.net._outputs]
        values = self._losses.read(*(blob.read() for blob in blobs))
        log(
            f"Iteration {self.iter} ({rate:.6g} iter/s, {seconds:.6g}s/{self.param.display} "
            f"iters), loss = {shown(self._losses.mean())}"
        )
        self._display_outputs(self.net, "Train", dict(zip(self.net.outputs, values)))

    def _display_outputs(self, net: Net, what: str, values: dict[str, np.ndarray]) -> None:
        number = 0
        for name in net.outputs:
            weight = net.blob_loss_weights[name]
            for value in values.get(name, NOTHING).flat:
                of_loss = f" (* {weight:g} = {shown(weight * value)} loss)" if weight else ""
                log(f"    {what} net output #{number}: {name} = {shown(value)}{of_loss}")
                number += 1

    def _announce(self) -> None:
        """Caffe's first lines of a training log, which log parsers take the start time from."""
        if not self._announced:
            log(f"Solving {self.net.name}")
            log(f"Learning Rate Policy: {self.param.lr_policy}")
        self._announced = True

    @named_gpu_errors
    def solve(self, resume_file=None) -> None:
        """Train to `max_iter`, from a solverstate if one is given; snapshot at the end."""
        self._announce()
        if resume_file is not None:
            log(f"Restoring previous solver status from {resume_file}")
            self.restore(resume_file)
        if self.param.snapshot_after_train:
            self.reserve_snapshots()
        begun = self.iter
        self.step(self.param.max_iter - self.iter)
        every = self.param.snapshot
        at_an_interval = every and self.iter % every == 0 and self.iter == begun  # it is there
        due = self.param.snapshot_after_train and not at_an_interval
        if due and self.snapshot_at != self.iter and not solver_rank():
            self.last_snapshot()
        if self._stopped_early:
            log("Optimization stopped early.")
            return
        self._hold()
        if self._displays():
            self._losses.add(self.net._passes.forward(0, len(self.net.layers) - 1))
            log(f"Iteration {self.iter}, loss = {shown(self._losses.mean())}")
        self._see_losses()
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self._test_all()
        log("Optimization Done.")

    def _hold(self) -> dict:
        """Snapshots until the next iteration are of now: a resumed run repeats the test, and the
        pass for the last display is none of the training's."""
        if self._held is None:
            now = snapshots.training_position(self)
            self._held = {**now, "test_layers": snapshots.test_states(self)}
        return self._held

    @contextlib.contextmanager
    def aside(self):
        """Context for what is no part of the training, such as a score of a test net: afterwards
        the test nets' places in their data and the random generators are what they were, and a
        snapshot is of before."""
        held = self._hold()
        try:
            yield
        finally:
            snapshots.restore_tests(self, held)
            rng.set_state(held["generators"])

    def _test_all(self) -> None:
        """Test all test nets, up to where the action function says "stop"."""
        if solver_rank() or not self.test_nets:
            return
        held = self._hold()
        for index, net in enumerate(self.test_nets):
            self._test(index, net)
            if self._stopped_early:
                log("Test interrupted.")
                snapshots.restore_tests(self, held)
                rng.set_state(held["generators"])
                break

    def _test(self, index: int, net: Net) -> None:
        log(f"Iteration {self.iter}, Testing net (#{index})")
        net.share_with(self.net)
        outputs = OutputMeans(net)
        loss, rounds = 0.0, self.param.test_iter[index]
        for _ in range(rounds):
            self._follow_action()
            if self._stopped_early:
                return
            loss += net._passes.forward(0, len(net.layers) - 1)
            outputs.add()
        if self.param.test_compute_loss:
            log(f"Test loss: {shown(float(loss) / rounds if rounds else math.nan)}")
        self._display_outputs(net, "Test", outputs.means())

    # -- the update -----------------------------------------------------------------------

    def apply_update(self) -> None:
        """Turn the parameters' diffs into updates and subtract them; count the iteration."""
        rate = self._announced_rate()
        self._clip(self.net._learnable.blobs)
        self._begin_update(range(len(self.net._learnable.blobs)), rate)
        self._end_update()

    def _begin_update(self, numbers, rate: float) -> None:
        with self._changing:
            self._half_updated = True
            self._update(numbers, rate)

    def _end_update(self) -> None:
        with self._changing:
            self._half_updated = False
            self.iter += 1

    def freeze(self) -> None:
        """Let the thread that trains change nothing from now on, for good: this one may write the
        snapshot of the last whole iteration. The process is to end afterwards."""
        self._changing.acquire()
        if self._held is None and self._begun is not None and self._begun["iter"] == self.iter:
            self._held = self._begun

    def _announced_rate(self) -> float:
        rate = self.learning_rate()
        if self._displays():
            log(f"Iteration {self.iter}, lr = {rate:.6g}")
            for watch in self._display_watches:
                watch(self.iter, self._losses.mean(), rate)
        return rate

    # -- snapshots ------------------------------------------------------------------------

    def snapshot(self) -> str:
        """Write caffemodel, solverstate and the engine's side file; return the solverstate's
        path. Each file is complete or not there. After an error in an iteration it is of the
        last whole one.

        Error where weights are not finite, where an error arose between the updates of two
        parameters, and where this is not the first of several solvers: they would write the same
        files."""
        if solver_rank():
            raise Error(f"solver {solver_rank()} writes no snapshots: the first of several does")
        self._see_losses()
        with self._changing:
            state = snapshots.save(self)
            for watch in self._snapshot_watches:
                watch(state)
            return state

    def last_snapshot(self) -> str:
        """`snapshot`, when no other will follow: where it cannot be written at the prefix, it goes
        elsewhere, and Error says where."""
        self._see_losses()
        try:
            return self.snapshot()
        except Error as error:
            snapshots.save_elsewhere(self, error)
            raise

    def _snapshot_if_possible(self) -> None:
        """`snapshot` within a training, which goes on where it cannot be written, and ends where
        weights are not finite."""
        self._see_losses()  # its error ends the training
        try:
            self.snapshot()
        except snapshots.NotFinite:
            raise
        except Error as error:
            log(f"{error}; the training goes on, and tries again at the next snapshot", WARNING)

    def reserve_snapshots(self) -> None:
        """Make this the only process that writes at the snapshot_prefix, and try that the last
        snapshot could be written there, once. `step` does it where there are to be snapshots.
        InputError where another training writes there, or there is no room."""
        if not self._reserved and not solver_rank():
            snapshots.reserve(self)
        self._reserved = True

    def restore(self, filename) -> None:
        """Go on from a solverstate and the caffemodel that it names."""
        self._resting = None
        self._reserved = False
        snapshots.restore(self, os.fspath(filename))
        self._forget_losses()
