"""What a user sees of a training while it runs, and what stays of it: curves, scores, pictures,
snapshots, and its early end."""

from __future__ import annotations

import collections
import contextlib
import os
import sys

import numpy as np

import caffe
from solvers import curves, events, losses, rates, snapshots, strips
from solvers.signals import EARLY
from solvers.snapshots import Keep, Snapshots
from tools import score
from tools.common import run_metrics
from tools.common.cli import UserError
from tools.common.memory_sizes import resident
from tools.common.metrics import metrics
from tools.common.nets import find_task
from tools.common.pictures import colours_of
from tools.show import Split


def add_arguments(parser):
    """Add --score-every, --watch, --tensorboard, --keep and --stop-early."""
    parser.add_argument(
        "--score-every",
        type=int,
        default=0,
        metavar="N",
        help="score the test net every N iterations (with --keep best at each snapshot too)",
    )
    parser.add_argument(
        "--watch",
        metavar="ID,ID,…",
        help="draw what the net predicts of these images at each score, beside the snapshots "
        f"(default: {strips.IMAGES} images of the test net's split; '' for none)",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write the curves for TensorBoard too"
    )
    parser.add_argument(
        "--keep",
        metavar="best,last:N|all",
        default="all",
        help="delete older snapshots of this training, but for the one with the best mean IU and "
        "the last N (default: all are kept)",
    )
    parser.add_argument(
        "--stop-early",
        type=int,
        metavar="N",
        help="end the training, with a snapshot, when its mean IU has not risen for N scores",
    )


def check(args):
    """UserError for options that do not go together, and without the package of --tensorboard."""
    keep = Keep(args.keep)
    wanted = {"--watch": args.watch, "--stop-early": args.stop_early, "--keep best": keep.best}
    for name, value in wanted.items():
        if value not in (None, False) and not args.score_every:
            raise UserError(f"{name}: needs scores; give --score-every N too")
    if args.score_every < 0:
        raise UserError(f"--score-every {args.score_every}: must be above 0")
    if args.stop_early is not None and args.stop_early < 1:
        raise UserError(f"--stop-early {args.stop_early}: must be above 0")
    if args.tensorboard:
        events.require()


def words(args):
    """The same choices as arguments of a command."""
    given = ["--score-every", str(args.score_every)] if args.score_every else []
    given += [] if args.watch is None else ["--watch", args.watch]
    given += ["--tensorboard"] if args.tensorboard else []
    given += ["--keep", args.keep] if args.keep != "all" else []
    return given + ([] if args.stop_early is None else ["--stop-early", str(args.stop_early)])


def goes_further(param, iteration):
    """Whether the training at the snapshot_prefix has left something of later iterations."""
    path = os.path.join(os.path.dirname(param.snapshot_prefix), run_metrics.NAME)
    lines = run_metrics.read(path) if os.path.exists(path) else []
    return max(snapshots.read(param.snapshot_prefix)["snapshots"], default=0) > iteration or any(
        one["iter"] >= iteration + ("scores" in one) for one in lines
    )


class Watching:
    """What one training, which starts or goes on, leaves beside its snapshots.

    A context, at whose end the files are closed.

    param: the SolverParameter in force; protos: Prototxts with its nets. UserError, before anything
    is trained, where a file is in the way or an image that is to be watched is not there.
    """

    def __init__(self, args, solver, param, protos):
        self._args, self._solver, self._param = args, solver, param
        self._begin, self._from = solver.iter, solver.iter
        self._keep, self.early = Keep(args.keep), None
        folder = os.path.dirname(param.snapshot_prefix)
        self._strips = self._scored = None
        if args.score_every:
            net = param.test_net[0]
            self._ids = score.ids_of(protos[net], net)
            tested = solver.test_nets[0].blobs
            self._names = _class_names(net, tested["score"].shape[1]) if "score" in tested else []
            self._strips = self._open_strips(folder, protos[net], net)
        self._snapshots = Snapshots(param.snapshot_prefix, solver.iter, self._keep)
        self._curves = curves.Curves(folder, solver.iter)
        self._events = events.Events(folder, solver.iter) if args.tensorboard else None
        for entry in self._curves.kept_of(solver.iter) if self._events else []:
            self._events.add(entry)
        self._watch_solver()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._solver = None  # which knows this object: its snapshots' place is free with it
        self._curves.close()
        if self._events is not None:
            self._events.close()

    def _open_strips(self, folder, proto, net):
        ids = None if self._args.watch is None else [i for i in self._args.watch.split(",") if i]
        if ids == []:
            return None
        try:
            split = Split(proto, net)
        except UserError:
            if ids is not None:
                raise
            return None
        chosen = strips.chosen(split, ids)
        colours = colours_of(find_task(None, net))
        return strips.Strips(folder, split, chosen, self._names, colours, self._begin)

    def _watch_solver(self):
        solver = self._solver
        if hasattr(solver, "watch_display"):
            solver.watch_display(self._displayed)
            solver.watch_snapshots(lambda state: self.written(self._solver.iter))
            return
        shown = collections.deque(maxlen=max(1, self._param.average_loss))
        passes = max(1, self._param.iter_size)
        found: list = []

        def see(iteration, values):
            found.append(sum(float(value.sum()) for value in values.values()))
            if len(found) == passes:
                shown.append(sum(found) / passes)
                found.clear()
                if self._param.display and iteration % self._param.display == 0:
                    mean, rate = sum(shown) / len(shown), rates.at(self._param, iteration)
                    self._displayed(iteration, mean, rate)

        losses.watch(solver, see)

    def _displayed(self, iteration, loss, rate):
        engine = getattr(caffe, "engine", None)
        memory = engine.memory_in_use() if engine is not None else None
        memory = resident() if memory is None else memory
        self._show(self._curves.displayed(iteration, loss, rate, memory))

    def _show(self, entry):
        if self._events is not None:
            self._events.add(entry)

    def written(self, iteration):
        """List the snapshot that was just written, and delete what is not to be kept."""
        self._snapshots.add(iteration)
        self._tidy()

    def _tidy(self):
        self._snapshots.tidy(self._curves.scores)

    # -- between iterations

    def next(self, iteration):
        """The next iteration before which `reached` is to be called."""
        marks = [self._args.score_every]
        if self._keep.best or not hasattr(self._solver, "watch_snapshots"):
            marks.append(self._param.snapshot)
        return min(((iteration // n + 1) * n for n in marks if n), default=sys.maxsize)

    def _due(self, iteration):
        if not self._args.score_every or not iteration or iteration in self._curves.scores:
            return False
        every = [self._args.score_every, *([self._param.snapshot] if self._keep.best else [])]
        last = self._keep.best and iteration == self._param.max_iter
        return last or any(n and iteration % n == 0 for n in every)

    def reached(self, requests):
        """Score where it is due, and ask by `requests` for the end of a training that has not
        become better."""
        solver = self._solver
        if not hasattr(solver, "watch_snapshots"):
            self._follow(solver)
        if self._due(solver.iter):
            self._score(solver)
            self._tidy()
        count = self._args.stop_early
        if count is None or solver.iter >= self._param.max_iter:
            return
        self.early = curves.stalled(self._curves.scores, count)
        if self.early is not None:
            self._snapshots.end_early(solver.iter, count)
            requests.stop = requests.stop or EARLY

    def _follow(self, solver):
        """What another Caffe has written of snapshots since the last time."""
        every = self._param.snapshot
        first = self._from // every + 1 if every else 1
        for number in range(first, solver.iter // every + 1 if every else first):
            self.written(number * every)
        self._from = solver.iter

    def _score(self, solver):
        aside = solver.aside() if hasattr(solver, "aside") else contextlib.nullcontext()
        with aside:
            net = solver.test_nets[0]
            place = getattr(net.layers[0], "state", dict)()
            if "consumed" in place and hasattr(net.layers[0], "restore_state"):
                score.go_to(net, 0)
            see = self._strips.see if self._strips is not None else None
            hist, loss = score.score_solver(solver, self._ids, see=see)
        if self._scored is None:
            score.warn_of(hist, self._names)
        self._scored = solver.iter
        if self._strips is not None:
            self._strips.draw(solver.iter)
        self._show(self._curves.scored(solver.iter, metrics(hist), loss, self._names))

    def said_early(self, iteration):
        """Why the training ended early, at an iteration, in a line."""
        best, at = self.early
        value = "it has none" if np.isnan(best) else f"best: {100 * best:.2f} at iteration {at}"
        return (
            f"ended at iteration {iteration} of {self._param.max_iter}, with a snapshot: "
            f"mean IU has not risen for {self._args.stop_early} scores ({value})"
        )


def _class_names(net, count):
    """The names of a test net's classes, numbers where they are not known."""
    task = find_task(None, net)
    known = task is not None and len(task.classes) == count
    return task.classes if known else [str(number) for number in range(count)]
