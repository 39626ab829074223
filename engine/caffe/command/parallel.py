"""Training on several devices: this process is the first solver, and starts one for each other.

The others only give gradients: they show, test and save nothing, and end with the first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import connection

from .. import log, ranks
from ..compute import determinism, device
from ..settings import set_lean
from ..training.agreement import only_gradients
from ..training.nccl import NCCL, Gone
from .error_lines import error_line, exit_code
from .output import expendable

_GRACE = 20.0  # seconds for a wait for gradients to end by itself, and for a snapshot
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)  # the first solver acts on them


def _tie(solver, uid: str) -> None:
    nccl = NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl.on_start, nccl.on_gradients_ready)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)


def _work(flags, number, count: int, rank: int, uid: str) -> None:
    """The whole life of solver `rank`, in its own process."""
    with expendable():
        _give_gradients(flags, number, count, rank, uid)


def _give_gradients(flags, number, count: int, rank: int, uid: str) -> None:
    from .train import make_solver

    for one in _IGNORED:
        signal.signal(one, signal.SIG_IGN)
    log.set_min_level(log.ERROR)
    ranks.set_solver_count(count)
    ranks.set_solver_rank(rank)
    ranks.set_multiprocess(True)
    set_lean(True)
    try:
        determinism.set_deterministic(flags.deterministic)
        if number is not None:
            device.set_device(number)
            device.set_mode_gpu()
        solver = make_solver(flags, only_gradients)
        if flags.snapshot:
            solver.restore(flags.snapshot)
        _tie(solver, uid)
        solver.step(solver.param.max_iter - solver.iter)
    except Gone:
        sys.exit(1)  # that one, or the first solver, says why
    except Exception as error:
        print(f"error: solver {rank}: {error_line(error)}", file=sys.stderr, flush=True)
        sys.exit(exit_code(error))


class Others:
    """Context: the solvers of the devices beyond the first (`numbers`: GPUs; None: the CPU)."""

    def __init__(self, flags, numbers: list):
        self._flags = flags
        self._numbers = numbers
        self._uid = NCCL.new_uid()
        self._processes: list = []
        self._over = threading.Event()
        self.lost = 0
        """The exit code of the first of them that failed."""

    def __enter__(self) -> Others:
        count = len(self._numbers)
        if count < 2:
            return self
        ranks.set_solver_count(count)
        ranks.set_solver_rank(0)
        ranks.set_multiprocess(True)
        spawn = multiprocessing.get_context("spawn")
        for rank in range(1, count):
            args = (self._flags, self._numbers[rank], count, rank, self._uid)
            self._processes.append(spawn.Process(target=_work, args=args, daemon=True))
            self._processes[-1].start()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def _watch(self) -> None:
        """See to it that this process ends when another solver fails: the gradients that it owes
        would never come. Where the wait for them ends by itself, the training's own end writes a
        snapshot."""
        waiting = {process.sentinel: process for process in self._processes}
        while waiting and not self._over.is_set():
            for sentinel in connection.wait(list(waiting), timeout=0.5):
                process = waiting.pop(sentinel)
                process.join()
                if process.exitcode and not self._over.is_set():
                    self.lost = process.exitcode
                    if self._over.wait(_GRACE):
                        return
                    print("error: another solver has failed", file=sys.stderr, flush=True)
                    for other in self._processes:
                        other.kill()
                    os._exit(process.exitcode if process.exitcode > 0 else 1)

    def join(self, solver) -> None:
        """Tie `solver` to the others."""
        if self._processes:
            _tie(solver, self._uid)

    def __exit__(self, *exception) -> None:
        self._over.set()
        for process in self._processes:
            process.kill()
            process.join()
        if self._processes:
            ranks.set_solver_count(1)
            ranks.set_multiprocess(False)
