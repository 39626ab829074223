"""The processes that torchrun has started a command in: one of them speaks and writes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback

from tools.common.cli import REPORTED, Failure, UserError, error_line, exit_code
from tools.common.output import Expendable, settle


def several() -> bool:
    """Whether torchrun has started more than this process."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")


def add_arguments(parser) -> None:
    """Add `--heartbeat SECONDS`."""
    parser.add_argument(
        "--heartbeat",
        type=float,
        metavar="SECONDS",
        help="of several processes, one that gives no sign of life for so long counts as gone, and "
        "the others end (default: 60)",
    )


@contextlib.contextmanager
def one_voice():
    """Context in which of a machine's processes only the first says something."""
    quiet = several() and os.environ.get("LOCAL_RANK", "0") != "0"
    with _silent() if quiet else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def joined(heartbeat=None):
    """Context: the engine's Ranks, or None in a process that is alone.

    Only rank 0 has an output then. An error ends all ranks, in one line that names the rank that
    had it; its exit code is that of all. UserError where another Caffe runs.
    """
    if not several():
        yield None
        return
    import caffe

    engine = getattr(caffe, "engine", None)
    if engine is None:
        raise UserError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}: several processes work together with this "
            "toolkit's engine only; start the command without torchrun under BVLC Caffe"
        )
    with _stoppable():
        try:
            ranks = engine.join_ranks(engine.HEARTBEAT if heartbeat is None else heartbeat)
        except Exception as error:
            if os.environ.get("LOCAL_RANK", "0") == "0":
                raise
            raise SystemExit(exit_code(error)) from None  # the machine's first says the same
        with _ending_together(ranks):
            yield ranks
        ranks.leave()


@contextlib.contextmanager
def _ending_together(ranks):
    """Context for the work of one of `ranks`, whose error the others hear of."""
    try:
        with contextlib.nullcontext() if ranks.first else _silent():
            yield
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):
            if not error.code:
                return
            error = Failure(f"ended by sys.exit({error.code!r})")
        told, code = error_line(error), exit_code(error)
        speaks = ranks.fail(told, code, kept(error), error)
        if _shows_tracebacks() or not (hasattr(error, "exit_code") or isinstance(error, REPORTED)):
            traceback.print_exc()
        elif speaks:
            named = (
                told if ranks.first or told.startswith("rank ") else f"rank {ranks.rank}: {told}"
            )
            print("error: " + named, file=Expendable(sys.stderr))
        for stream in (sys.stdout, sys.stderr):
            settle(stream)
        # At once: the end of an interpreter waits for collective operations that never will end.
        os._exit(code)


def kept(error) -> bool:
    """Whether what was learned until an error is worth a snapshot."""
    return getattr(error, "keep", True)


@contextlib.contextmanager
def _stoppable():
    """Context in which SIGINT and SIGTERM raise Failure, until the work has its own way."""
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, _stopped) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(number, frame):
    signal.signal(number, signal.SIG_DFL)
    raise Failure(f"stopped by {signal.Signals(number).name}", 128 + number)


def _shows_tracebacks() -> bool:
    return os.environ.get("TRACEBACK", "") not in ("", "0")


@contextlib.contextmanager
def _silent():
    """Context without output; an interpreter's last words still have file descriptor 2."""
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(null))
        if not _shows_tracebacks():
            stack.enter_context(contextlib.redirect_stderr(null))
        yield


def share(count: int, ranks) -> range:
    """Which of `count` images are this rank's: a stretch of them, about as many for each."""
    if ranks is None:
        return range(count)
    return range(count * ranks.rank // ranks.count, count * (ranks.rank + 1) // ranks.count)


def first(ranks) -> bool:
    """Whether this process is the first, or alone."""
    return ranks is None or ranks.first


def split_work(parser, argv, work):
    """What `work(args, ranks)` gives, an exit code, of a command whose images several processes
    share."""
    with one_voice():
        args = parser.parse_args(argv)
    with joined() as ranks:
        if ranks is not None:
            local_gpu(args, ranks, [])
        return work(args, ranks)


def local_gpu(args, ranks, numbers) -> None:
    """Set `args.gpu` to this rank's own GPU: of `numbers`, or else of those that there are, one for
    each process of the machine."""
    import caffe

    if args.cpu:
        return
    found = caffe.engine.cuda_device_count()
    if not numbers and not found:
        return
    numbers = numbers or list(range(found))
    if len(numbers) < ranks.local_count:
        raise UserError(
            f"{ranks.local_count} processes for {len(numbers)} GPU{'s'[: len(numbers) != 1]}: each "
            "needs its own; start fewer (--nproc-per-node), share one by naming it as often (--gpu "
            "0,0), or use --cpu"
        )
    args.gpu = numbers[ranks.local_rank]
