"""`train`: a solver from its prototxt, run on the CPU, a GPU or several."""

from __future__ import annotations

import signal
from typing import Any

import torch

from ..compute import determinism, device
from ..errors import Error, InputError
from ..log import log
from ..proto import caffe_pb2, text
from ..settings import set_lean
from ..training.snapshots import NotWhole, NotWritten
from ..training.solver import SNAPSHOT, STOP
from ..training.solver_updates import solver_class
from . import parallel
from .devices import WHERE, gpus
from .error_lines import error_line, exit_code
from .files import check_files, names_of

FLAGS = (
    "solver", "snapshot", "weights", "gpu", "level", "stage", "sigint_effect", "sighup_effect",
    "deterministic",
)  # fmt: skip


class SignalEffects:
    """Context that turns signals into what the solver's action function gives. `stopped_by` is the
    signal that asked for the end, 0 if none did; a second one ends the process at once."""

    def __init__(self, sigint_effect: str, sighup_effect: str):
        actions = {"stop": STOP, "snapshot": SNAPSHOT, "none": None}
        self._effects = {
            signal.SIGINT: actions[sigint_effect],
            signal.SIGHUP: actions[sighup_effect],
            signal.SIGTERM: STOP,
        }
        self._arrived: set = set()
        self._before: dict = {}
        self.stopped_by = 0

    def __enter__(self) -> SignalEffects:
        for number in self._effects:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        effect = self._effects[number]
        self._arrived.add(effect)
        if effect == STOP:
            self.stopped_by = number
            for one, other in self._effects.items():
                if other == STOP:
                    signal.signal(one, signal.SIG_DFL)

    def action(self):
        """`stop`, `snapshot` or None: what has been asked for since the last time."""
        arrived, self._arrived = self._arrived, set()
        return next((action for action in (STOP, SNAPSHOT) if action in arrived), None)


def solve(solver) -> None:
    """`solver.solve()`, with a snapshot of what was learned where an error ends it."""
    begun = solver.iter
    try:
        solver.solve()
    except Exception as error:
        raise with_snapshot(solver, begun, error) from error


def with_snapshot(solver, begun: int, error: Exception) -> Exception:
    """The error to raise for one that ended the training, which began at iteration `begun`: what
    was learned until then goes into a snapshot, where it is whole."""
    if solver.iter == begun or isinstance(error, (NotWhole, NotWritten)):
        return error
    said, number = error_line(error), solver.iter
    try:
        if solver.snapshot_at != number:
            solver.last_snapshot()
        said += f"; iteration {number} is in a snapshot: resume from it with -snapshot"
    except Exception as failed:
        said += f"; and no snapshot of iteration {number} was written: {error_line(failed)}"
    return (InputError if exit_code(error) == InputError.exit_code else Error)(said)


def make_solver(flags, change=None):
    """The solver of -solver, with the net's level and stages, and -weights copied into it.

    `change(param)` may alter the SolverParameter before the solver is made of it.
    """
    path = flags.need("solver", "the solver to train with")
    kind: Any = solver_class(path)

    class Configured(kind):
        def _check(self) -> None:
            if flags.level:
                self.param.train_state.level = flags.level
            if flags.stages:
                self.param.train_state.stage.extend(flags.stages)
            if flags.snapshot or flags.weights:
                self.param.ClearField("weights")
            if change is not None:
                change(self.param)
            super()._check()

    Configured.__name__ = kind.__name__
    solver = Configured(path)
    for name in names_of(flags.weights):
        log(f"Finetuning from {name}", where=WHERE)
        solver.net.copy_from(name)
    return solver


def _devices(flags) -> list[int]:
    """The GPUs of -gpu, or else the one that the solver names; none: the CPU. As with BVLC's
    tool, a solver without `solver_mode` is run on the CPU."""
    if flags.gpu:
        return gpus(flags.gpu)
    param = text.read_solver(flags.solver)
    if not param.HasField("solver_mode") or param.solver_mode != caffe_pb2.SolverParameter.GPU:
        return []
    try:
        return gpus(str(param.device_id))
    except InputError as error:
        raise InputError(f"{flags.solver}: solver_mode: GPU: {error}") from None


def main(flags) -> int:
    flags.need("solver", "the solver to train with")
    if flags.snapshot and flags.weights:
        raise InputError(
            "give -snapshot to resume a training, or -weights to finetune, but not both"
        )
    check_files(flags, "solver", "snapshot", "weights")
    determinism.set_deterministic(flags.deterministic)
    numbers = _devices(flags)
    if numbers:
        log(f"Using GPUs {', '.join(map(str, numbers))}", where=WHERE)
        device.set_device(numbers[0])
        device.set_mode_gpu()
        for number in numbers:
            log(f"GPU {number}: {torch.cuda.get_device_name(number)}", where=WHERE)
    else:
        log("Use CPU.", where=WHERE)
        device.set_mode_cpu()
    set_lean(True)
    with parallel.Others(flags, numbers) as others:
        solver = make_solver(flags)
        if flags.snapshot:
            log(f"Resuming from {flags.snapshot}", where=WHERE)
            solver.restore(flags.snapshot)
        others.join(solver)
        with SignalEffects(flags.sigint_effect, flags.sighup_effect) as signals:
            solver.set_action_function(signals.action)
            log("Starting Optimization", where=WHERE)
            solve(solver)
    if signals.stopped_by:
        return 128 + signals.stopped_by
    log("Optimization Done.", where=WHERE)
    return 0
