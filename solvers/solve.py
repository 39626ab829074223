"""Train a net.

    python solvers/solve.py --solver prototxt/nets/voc/dilated-fcn2s-vgg16/solver.prototxt \\
        --weights init.caffemodel --gpu 0
    python solvers/solve.py --solver … --resume auto          # after an interruption
    python solvers/solve.py --solver … --weights … --set base_lr=1e-9 --iterations 1000 --cpu
    python solvers/solve.py --solver … --weights … --gpu 0,1,2,3    # a process for each GPU
    torchrun --nproc-per-node 4 -- solvers/solve.py --solver … --weights …    # the same

init.caffemodel comes from surgery/make_init.py. The log has Caffe's own lines. Snapshots go where
the solver's snapshot_prefix says, and the settings in force beside them. Ctrl-C (or SIGTERM)
stops after the present iteration, or batch of a test, with a snapshot; SIGHUP writes one and goes
on. A second Ctrl-C stops at once. Output that goes away (a closed terminal, `| head`, a full disk)
ends nothing.

Several processes learn from as many images in an iteration as `iter_size` passes of one. The first,
rank 0, has the log, the scores and the snapshots.
"""

from __future__ import annotations

import contextlib
import os
import sys

import caffe
from solvers import divergence, losses, ranks as several, rates, receipt, resume, settings, watching
from solvers.signals import EARLY, SignalRequests
from surgery.fillers import dead_layers
from tools import score
from tools.common import computing, missing, ranks as common_ranks
from tools.common.arguments import Parser
from tools.common.cli import (
    Failure,
    Progress,
    UserError,
    add_device_arguments,
    error_line,
    exit_code,
    first_gpu,
    run,
    select_device,
    warn,
)
from tools.common.files import check_target
from tools.common.inputs import NAMES, check_input, kind_of
from tools.common.nets import Prototxts, lean, zero_layers
from tools.common.output import Expendable, expendable_output
from tools.common.written import LOG
from tools.planning import recomputing


def parse(argv):
    parser = Parser(
        description=__doc__.split("\n\n")[0],
        usage="solve.py --solver SOLVER (--weights W | --resume STATE|auto) [options]",
    )
    parser.add_argument("--solver", required=True, help="solver.prototxt")
    parser.add_argument("--weights", help="start from this caffemodel")
    parser.add_argument(
        "--resume",
        metavar="STATE|auto",
        help="resume from a solverstate; auto: from the newest with the solver's snapshot_prefix "
        "(if there is none yet and --weights is given: start from these)",
    )
    parser.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help="train to iteration N (sets max_iter: with lr_policy poly, the rate's curve then ends "
        "there, and a finished training that is prolonged goes on at a higher rate)",
    )
    parser.add_argument(
        "--stop-at",
        type=int,
        metavar="N",
        help="stop before iteration N with a snapshot, on the way to max_iter: the rates are those "
        "of the whole training",
    )
    watching.add_arguments(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the solver, e.g. base_lr=1e-9; may be repeated",
    )
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="append Caffe's log to FILE and show progress instead (scores go to stdout)",
    )
    computing.add_arguments(parser, training=True)
    recomputing.add_arguments(parser)
    common_ranks.add_arguments(parser)
    add_device_arguments(parser, several=True)
    args = parser.parse_args(argv)
    first_gpu(args)
    if args.weights is None and args.resume is None:
        parser.error("one of --weights and --resume is needed")
    if args.weights is not None and args.resume not in (None, "auto"):
        parser.error("give --weights or --resume STATE: a solverstate names its weights")
    for name in ("iterations", "stop_at"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} {value}: must be above 0")
    watching.check(args)
    return args


def log_to(path):
    """Let Caffe's log, which goes to file descriptor 2, go to the file `path` from now on.

    `sys.stderr` stays what it was, for progress and errors.
    """
    kind = kind_of(path) if os.path.isfile(path) else ""
    if kind in ("solver", "net", "weights", "state"):
        raise UserError(f"--log {path}: is {NAMES[kind]}, not a log; name another file")
    check_target(path, LOG)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        raise UserError(f"--log {path}: cannot be written ({error.strerror})") from None
    sys.stderr = Expendable(os.fdopen(os.dup(2), "w", buffering=1))
    os.dup2(file, 2)
    os.close(file)


def checked_solver(args, protos, first=True):
    """(The settings in force, the file's max_iter): read, changed and checked, before anything is
    built.

    protos: Prototxts, which has the solver's nets afterwards. first: whether this process reads and
    writes weights and snapshots, which the others of several need not even see.
    """
    check_input(args.solver, "solver", "--solver")
    recomputing.check(args)
    if args.weights is not None and first:
        check_input(args.weights, "weights", "--weights")
    if args.resume not in (None, "auto") and first:
        check_input(args.resume, "state", "--resume")
    changes = list(args.set)
    if args.iterations is not None:
        changes.append(f"max_iter={args.iterations}")
    param = settings.read_solver(args.solver)
    planned = param.max_iter
    settings.change(param, args.solver, changes)
    settings.require_files(param, args.solver, protos)
    if not param.snapshot_prefix:
        raise UserError(f"{args.solver}: has no snapshot_prefix, which says where snapshots go")
    if args.score_every and not param.test_net:
        raise UserError(f"{args.solver}: --score-every needs a test_net")
    if not first:
        return param, planned
    settings.check_effective(param)
    earlier = resume.snapshots(param.snapshot_prefix) if args.resume is None else None
    if earlier:
        raise UserError(
            f"{earlier[0][1]} is of an earlier run, which this one would overwrite; resume from it "
            "with --resume auto, move it away, or choose another place with --set "
            "snapshot_prefix=…"
        )
    return param, planned


def check_alive(net, proto, where):
    """Raise UserError for layers that cannot learn from the weights that they start with.

    A deconvolution of zeros lets nothing through, forward or backward; neither does a learned
    layer of zeros with a ReLU or another such layer behind it. `proto` is the net's NetParameter.
    """
    zero = zero_layers(net)
    kinds = {name: layer.type for name, layer in zip(net._layer_names, net.layers)}
    dead = [name for name in zero if kinds[name] == "Deconvolution"]
    dead += [name for name in dead_layers(proto, zero) if name not in dead]
    if dead:
        raise UserError(
            f"{where}: {', '.join(dead)} would start at zero and could not learn; do the weights "
            "belong to another net? surgery/make_init.py makes starting weights"
        )


def warn_of_missing(net, proto, args):
    """Warn of layers that --weights has nothing for; UserError where it has nothing for any."""
    needed = list(net.params)
    left, stored = missing.without(proto, args.weights, needed)
    if needed and not set(needed) & stored:
        raise UserError(
            missing.none_fits(args.weights, f"the net of {args.solver}", needed, stored)
        )
    if left:
        warn(f"{args.weights}: has no weights for {missing.few(left)}; they start from fillers")


def start(solver, args, param, proto):
    """Give the solver its weights and, on resuming, its state; returns the file that it starts
    from. proto: its net's NetParameter."""
    if args.resume == "auto":
        path = resume.restore_newest(solver, param.snapshot_prefix)
        if path is not None:
            print(f"resumed from {path} at iteration {solver.iter}", file=sys.stderr)
            return path
        if args.weights is None:
            raise UserError(
                f"--resume auto: no snapshot {param.snapshot_prefix}_iter_*.solverstate; "
                "start with --weights"
            )
    elif args.resume is not None:
        resume.restore(solver, args.resume)
        return args.resume
    solver.net.copy_from(args.weights)
    check_alive(solver.net, proto, args.weights)
    warn_of_missing(solver.net, proto, args)
    return args.weights


def last_iteration(args, param):
    """Where this command stops, if nothing else does."""
    return min(param.max_iter, args.stop_at or param.max_iter)


def train(solver, args, param, watched, requests, ranks=None, record=None):
    """Run to the last iteration, with what is to be done in between; returns whether it got to
    max_iter. watched: watching.Watching; record: a receipt.Record; None in ranks after the first.
    """
    exact = hasattr(solver, "set_action_function")
    if exact:
        solver.set_action_function(requests.action)
    if watched is not None:
        watched.reached(requests)  # what the last run did not come to
    last = last_iteration(args, param)
    while solver.iter < last and not several.stopped(ranks, requests):
        mark = sys.maxsize if record is None else record.next_mark(solver.iter)
        until = min(last, mark)
        if watched is not None:
            until = min(until, watched.next(solver.iter))
        if not exact:
            # BVLC Caffe's loop cannot be stopped from Python: requests wait for its end.
            until = min(until, solver.iter + max(1, param.display))
        getattr(solver, "step_on", solver.step)(until - solver.iter)
        divergence.check_weights(solver, param)
        if requests.snapshot and not exact:
            requests.snapshot = False
            last_snapshot(solver, watched)
        if record is not None and solver.iter in (mark, last):
            record.mark(solver)
        if watched is not None and not (requests.stop or several.stopped(ranks, requests)):
            watched.reached(requests)
    return solver.iter >= param.max_iter


def after_snapshot(solver, param, begun, error):
    """The error to raise for one that ended the training, which began at iteration `begun`.

    What was learned until then goes into a snapshot, unless the loss is no number: of the last
    whole iteration under the engine, which reads the images of the broken one again.
    """
    error = divergence.named(error, param, solver.iter)
    if not common_ranks.kept(error) or solver.iter == begun:
        return error
    said, kind = error_line(error), UserError if exit_code(error) == 2 else Failure
    if not written(solver, param):
        try:
            last_snapshot(solver)
        except Exception as failed:  # losses from before may arrive only now, and not be finite
            return kind(f"{said}; and no snapshot was written: {error_line(failed)}")
    return kind(
        f"{said}; then resume with --resume auto (iteration {solver.iter} is in a snapshot)"
    )


def written(solver, param):
    """Whether there is a snapshot of the present iteration, which is one of this run."""
    if hasattr(solver, "snapshot_at"):
        return solver.snapshot_at == solver.iter
    return bool(param.snapshot) and solver.iter % param.snapshot == 0


def last_snapshot(solver, watched=None):
    """Write the last snapshot of a run; under the engine elsewhere, where its place is full."""
    getattr(solver, "last_snapshot", solver.snapshot)()
    if watched is not None and not hasattr(solver, "watch_snapshots"):
        watched.written(solver.iter)


def _same_options(args):
    """What a resumed run needs besides, to go on as this one."""
    given = [word for word, value in (("--iterations", args.iterations), ("--set", args.set))
             if value]  # fmt: skip
    given += [word for word in watching.words(args) if word.startswith("--")]
    return f" and the same {' and '.join(given)}" if given else ""


def main(argv):
    with common_ranks.one_voice():
        args = parse(argv)
    code = several.launched(args, __file__, argv)
    if code is not None:
        return code
    with expendable_output(), common_ranks.joined(args.heartbeat) as ranks:
        if ranks is not None:
            common_ranks.local_gpu(args, ranks, args.gpus)
            if not ranks.first:
                args.log = None
        return work(args, ranks)


def work(args, ranks=None):
    """Train as `args` say, as one of `ranks` where they are several; returns the exit code."""
    protos, first = Prototxts(), ranks is None or ranks.first
    param, planned = checked_solver(args, protos, first)
    if args.log:
        log_to(args.log)
    computing.choose(args)
    device = select_device(args)
    param.solver_mode = param.CPU if device == "CPU" else param.GPU
    if device != "CPU":
        param.device_id = int(device.split()[-1])
    folder = os.path.dirname(param.snapshot_prefix)
    before = rates.settings_until_now(folder) if args.resume is not None and first else None
    lean()
    net = settings.train_net(param)
    test = protos[param.test_net[0]] if param.test_net else None
    remade = recomputing.choose(args, param, protos[net], test, args.solver)
    options = [*computing.words(args), *recomputing.words(args)]
    if args.resume is not None and first:
        settings.warn_of_other_options(param, options)
    requests = source = None
    written_at = (
        settings.in_force(param, options, remade.names, watching.words(args))
        if first
        else several.solver_file(param, ranks)
    )
    with written_at as path:
        solver = caffe.get_solver(path)
        if remade.names:
            caffe.engine.recompute(solver.net, *remade.names)
        score.check_classes(protos[net], net, solver.net, "score")
        if first:
            source = start(solver, args, param, protos[net])
            if solver.iter < param.max_iter and hasattr(solver, "reserve_snapshots"):
                solver.reserve_snapshots()
        last, watched = last_iteration(args, param), None
        # What goes beyond an end that is reached already is kept: nothing will be in its place.
        if first and (solver.iter < last or not watching.goes_further(param, solver.iter)):
            watched = watching.Watching(args, solver, param, protos)
        if ranks is not None:
            requests = SignalRequests(alone=False)
            ranks.tie(solver, lambda: requests.stop)
    if solver.iter >= last:
        if watched is not None:
            with watched:
                watched.reached(requests or SignalRequests())
        further = "--iterations" if last == param.max_iter else "--stop-at"
        print(
            f"iteration {solver.iter} of {param.max_iter} is reached already; {further} N trains "
            "on to iteration N",
            file=sys.stderr,
        )
        return 0
    for note in (rates.note(args.solver, planned, before, param, solver.iter), remade.note):
        if note:
            print(f"note: {note}", file=sys.stderr)
    requests = requests or SignalRequests()
    shown = bool(args.log) or sys.stderr.isatty()  # elsewhere the log is enough
    bar = Progress(param.max_iter, "training", "iterations", start=solver.iter, enabled=shown)
    record = contextlib.nullcontext()
    if first:
        part = receipt.part_of(args, param, solver.iter, options, ranks, protos, source)
        record = receipt.Record(param, part, solver.net, protos[net])
    open_files = watched or contextlib.nullcontext()
    with bar, open_files, record as record:  # closed before an error is printed
        divergence.watch(solver, param, bar)
        if record is not None:
            losses.watch(solver, record.see)
        begun = solver.iter
        try:
            done = train(solver, args, param, watched, requests, ranks, record)
        except Exception as error:
            if ranks is not None:
                ranks.note_error()
            if not first:
                raise
            raise after_snapshot(solver, param, begun, error) from error
        bar.update(solver.iter - bar.count, bar.note)
        stopped = several.stopped(ranks, requests)
        ended = stopped == EARLY
        if record is not None and stopped and not ended:
            record.hurry()
        wanted = first and (param.snapshot_after_train or not done)
        if wanted and not written(solver, param) and not (ended and solver.iter == begun):
            last_snapshot(solver, watched)
    if done:
        return 0
    if ended:
        if watched is not None:
            print(watched.said_early(solver.iter), file=sys.stderr)
        return 0
    if solver.iter == last and not stopped:
        print(f"stopped at iteration {last} of {param.max_iter}, with a snapshot", file=sys.stderr)
        return 0
    return several.report_stop(ranks, requests, solver, param, _same_options(args))


if __name__ == "__main__":
    run(main)
