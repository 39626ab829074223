"""What every script shares: one-line errors, exit codes, device choice, progress.

A script ends with

    if __name__ == "__main__":
        run(main)

where `main(argv)` takes the arguments after the script's name and returns an exit code (None
is 0). Exit codes: 0 done, 1 the work failed, 2 the call or an input is wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback

from prototxt.terminal import visible
from tools.common.output import Expendable, plain_output, settle
from tools.common.progress import Progress, duration, progress

__all__ = [
    "Failure",
    "Progress",
    "UserError",
    "add_device_arguments",
    "duration",
    "error_line",
    "exit_code",
    "first_gpu",
    "processors",
    "progress",
    "run",
    "select_device",
    "use_device",
    "warn",
]

WRONG_INPUT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
REPORTED = (OSError, ValueError, RuntimeError, MemoryError, ImportError)


class UserError(Exception):
    """The call or an input is wrong; the message says what, where, and what to do."""

    exit_code = 2


class Failure(RuntimeError):
    """The work failed, or was stopped: the message says what, where, and what to do."""

    def __init__(self, message, exit_code=1):
        super().__init__(message)
        self.exit_code = exit_code


def _of_gpu(error):
    """The engine's own error for one that PyTorch raised of a GPU (out of memory), else `error`."""
    engine = getattr(sys.modules.get("caffe"), "engine", None)
    return (engine.gpu_error(error) if engine is not None else None) or error


def exit_code(error):
    """The exit code for an exception: its own `exit_code`, 2 for a path that is wrong, else 1."""
    own = getattr(error, "exit_code", None)
    return own if isinstance(own, int) else 2 if isinstance(error, WRONG_INPUT) else 1


def error_line(error):
    """An exception as one line, without the word `error:`."""
    error = _of_gpu(error)
    if isinstance(error, OSError) and error.strerror and not hasattr(error, "exit_code"):
        places = [str(p) for p in (error.filename, error.filename2) if p is not None]
        text = ": ".join([" -> ".join(places), error.strerror] if places else [error.strerror])
    else:
        text = " ".join(part.strip() for part in str(error).split("\n") if part.strip())
    if isinstance(error, MemoryError):
        text = "out of memory" + (": " + text if text else "")
    elif isinstance(error, ModuleNotFoundError):
        text += "; run `make setup`, or set PYTHONPATH=engine:data_layers:. in the checkout"
    elif not hasattr(error, "exit_code") and not isinstance(error, OSError):
        # Not an error that was foreseen: name its kind, and where it arose. In a user's Python
        # layer, that is the layer's file and line.
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}; " if frames else ""
        text += f" ({place}TRACEBACK=1 shows more)"
    return visible(text or type(error).__name__)


def warn(text):
    """Print `warning: ...` as one line on stderr."""
    print("warning: " + visible(" ".join(str(text).split("\n"))), file=sys.stderr, flush=True)


def run(main, argv=None):
    """Call main(argv) and exit with its code; errors a user can cause become one line on stderr.

    TRACEBACK=1 in the environment lets every exception through with its traceback.
    """
    argv = sys.argv[1:] if argv is None else argv
    if os.environ.get("TRACEBACK", "") not in ("", "0"):
        sys.exit(main(argv) or 0)
    try:
        with plain_output():
            code = main(argv) or 0
        if sys.stdout is not None:  # closed before this Python began
            sys.stdout.flush()
    except BrokenPipeError:
        code = 1  # the reader (head, less) went away: nothing more can be said to it
    except KeyboardInterrupt:
        print("interrupted", file=Expendable(sys.stderr))
        code = 130
    except Exception as error:
        if not (hasattr(error, "exit_code") or isinstance(error, REPORTED)):
            raise
        print("error: " + error_line(error), file=Expendable(sys.stderr))
        code = exit_code(error)
    for stream in (sys.stdout, sys.stderr):
        settle(stream)
    sys.exit(code)


def processors():
    """How many processors this process may use."""
    known = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(known(0)) if known else os.cpu_count() or 1


def add_device_arguments(parser, several=False):
    """Add `--gpu N` and `--cpu`, which exclude each other; with `several`, `--gpu` takes numbers
    with commas between them, which `first_gpu` parts."""
    group = parser.add_mutually_exclusive_group()
    if several:
        words = "run on GPU number N; on several, in a process for each (0,0: two on one, to try)"
        group.add_argument("--gpu", type=_numbers, metavar="N[,N…]", help=words)
    else:
        group.add_argument("--gpu", type=int, metavar="N", help="run on GPU number N")
    group.add_argument("--cpu", action="store_true", help="run on the CPU")
    parser.epilog = "Without --gpu or --cpu: the first GPU if there is one, otherwise the CPU."


def _numbers(text):
    return [int(part) for part in text.split(",")]


def device_words(args):
    """`--gpu` and `--cpu` as arguments of another command."""
    return ["--cpu"] if args.cpu else [] if args.gpu is None else ["--gpu", str(args.gpu)]


def first_gpu(args):
    """Put the GPUs of `--gpu` into `args.gpus`, and the first of them, or None, into `args.gpu`."""
    args.gpus = args.gpu or []
    args.gpu = args.gpus[0] if args.gpus else None


def use_device(gpu):
    """Have caffe compute on CUDA GPU number `gpu`, or, None, on the CPU."""
    import caffe

    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()


def select_device(args):
    """Set Caffe's mode and device from `args.gpu` and `args.cpu`; returns the choice in words.

    Raises UserError (or the engine's own error, exit code 2) where the GPU does not exist.
    """
    import caffe

    engine = getattr(caffe, "engine", None)
    check_device(args)
    number = args.gpu
    if number is None and not args.cpu and engine is not None:
        number = _first_gpu(engine)
    if number is None:
        use_device(None)
        return "CPU"
    use_device(number)
    return f"GPU {number}"


def check_device(args):
    """Raise UserError where `args.gpu` is the number of no GPU. Nothing is taken into use."""
    import caffe

    engine, number = getattr(caffe, "engine", None), args.gpu
    if number is None:
        return
    if number < 0:
        raise UserError(f"--gpu {number}: a GPU's number is 0 or more; --cpu runs on the CPU")
    if engine is None and not _set_device_survives(caffe, number):
        raise UserError(
            f"--gpu {number}: this Caffe ({os.path.dirname(caffe.__file__)}) has no such GPU, or "
            "was built without GPU support; use --cpu"
        )
    if engine is None or engine.gpu_trouble(number):
        return  # use_device names the trouble
    count = engine.cuda_device_count()
    if number >= count:
        seen = "no GPU" if not count else f"{count} GPUs" if count > 1 else "one GPU"
        last = f"; the last is --gpu {count - 1}" if count else ""
        raise UserError(f"--gpu {number}: PyTorch sees {seen} here{last}; --cpu runs on the CPU")


def _first_gpu(engine):
    """0, or None where there is no GPU, or (with a warning) one that PyTorch cannot use."""
    trouble = engine.gpu_trouble(0)
    if trouble:
        warn(f"{trouble}; running on the CPU")
    return 0 if not trouble and engine.cuda_device_count() > 0 else None


def _set_device_survives(caffe, number):
    """Whether caffe.set_device(number) returns: BVLC Caffe aborts the whole process if not.

    So it is tried in a forked child, whose output is thrown away.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            caffe.set_device(number)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0
