"""Starting one command in several processes of this machine, by torchrun."""

from __future__ import annotations

import contextlib
import logging
import os
import signal

from ..errors import InputError


def launch(count: int, words: list[str]) -> int:
    """Run `python words…` in `count` processes of this interpreter, and wait for them; the exit
    code: that of the first that failed, 128 + the number of the signal that stopped them.

    SIGINT and SIGTERM are passed on to them, which have 30 s to end; SIGHUP is passed on, and ends
    nothing by itself (of a PyTorch whose torchrun cannot be told so it stops all)."""
    from torch import distributed

    if not distributed.is_available():
        raise InputError("this PyTorch was built without torch.distributed: one process only")
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # The processes tell in a line why they end; torchrun's own report would follow it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    threads = str(max(1, len(os.sched_getaffinity(0)) // count))
    os.environ.setdefault("OMP_NUM_THREADS", threads)  # torchrun's own choice is one each
    signal.signal(signal.SIGHUP, _pass_on)
    own = ["--standalone", "--nproc-per-node", str(count)]
    if "--signals-to-handle" in run.get_args_parser().format_help():
        own += ["--signals-to-handle", "SIGTERM,SIGINT"]
    try:
        # After the two dashes no word is taken for a beginning of torchrun's own options.
        run.main([*own, "--", *words])
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    except SignalException as error:
        return 128 + signal.Signals(error.sigval).value
    return 0


def _pass_on(number, frame):
    """Send a signal to all processes that this one has started."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # the thread, or the process, has ended
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                children = file.read().split()
            for child in children:
                os.kill(int(child), number)
