"""One stage of the GPU report in a process of its own: `python -m tools.gpu.stage NAME …`.

A stage is a module with

    TITLE   the heading in the report
    WORDS   one paragraph: what the stage does and how to read it
    run(job)            does the work; what it raises stands in the report in its place
    markdown(results)   Markdown text of the results that there are so far, in order: dicts with
                        `kind` and what `job.result` was given
    main_figure(results)  optional: the figure for the summary, a few words

`run` gets a Job. The module is imported by the runner too, which renders the report, so it
imports neither PyTorch nor caffe at its top.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from tools.common.cli import error_line

GRACE = 5.0
"""Seconds from SIGTERM at a stage's deadline to SIGKILL of all its processes."""


REMOVALS = 3
"""Times that the scratch folder of a runner that is gone is removed."""

SHOWS_MORE = "; TRACEBACK=1 shows more)"
"""In tools.common.cli's line; here the log shows more."""


class OutOfTime(BaseException):
    """SIGTERM: the stage's time is over, or the whole report is to end. GRACE seconds are left."""


class Job:
    """What a stage is told, and how it tells what it found.

    gpu      number of the CUDA device; None: on the CPU
    shrink   the nets' channels are divided by it; above 1 a dry run, in which sizes may shrink too
    folder   the stage's own scratch folder, also its working folder
    data     folder of the pack (tools/gpu/pack.py), or None
    """

    def __init__(self, gpu, shrink, folder, data, seconds, events):
        self.gpu, self.shrink = gpu, shrink
        self.folder = Path(folder)
        self.data = None if data is None else Path(data)
        self._end = time.monotonic() + seconds
        self._events = events
        self._lock = threading.Lock()
        self._pictures = 0

    def left(self):
        """Seconds until SIGTERM; negative after it."""
        return self._end - time.monotonic()

    def result(self, kind, **values):
        """Tell one result: it is in the report at once. Values are what JSON can hold, NumPy's
        numbers and paths too."""
        self._send({"result": {"kind": kind, **values}})

    def picture(self, name, png, caption):
        """Put a picture into the report as gpu-NAME.png: a PNG's path, or its bytes. One of the
        same name takes the place of the one before."""
        if not isinstance(png, (bytes, bytearray)):
            png = Path(png).read_bytes()
        self._pictures += 1
        path = self.folder / f".picture-{self._pictures}.png"
        path.write_bytes(png)
        self._send({"picture": {"name": name, "path": str(path), "caption": caption}})

    def say(self, line):
        """Show a line of progress; it stays in the log."""
        print(line, flush=True)

    def cut_off(self):
        """Tell that the stage ends before its work does, because its time is over."""
        self._send({"cut off": True})

    def fail(self, error):
        """Tell what ended the stage: one line in the report; where it arose, in the log."""
        trace = ""
        if not hasattr(error, "exit_code"):
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._send({"error": error_line(error).replace(SHOWS_MORE, ")"), "trace": trace})

    def _send(self, event):
        line = json.dumps(event, default=_plain) + "\n"
        with self._lock:
            os.write(self._events, line.encode())


def _plain(value):
    """NumPy's numbers and arrays, and paths, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a result holds a {type(value).__name__}, which JSON cannot")


def module_of(name):
    """The module of the stage `name` of tools/gpu, or of a dotted name."""
    return importlib.import_module(name if "." in name else f"tools.gpu.{name.replace('-', '_')}")


def end_with_the_runner(scratch):
    """End this process group when the runner is gone: then its end of our stdin is closed."""

    def watch():
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        end_all(scratch)

    threading.Thread(target=watch, daemon=True).start()


def end_all(scratch):
    """Kill this process and its children, as nobody will do it; remove what they have written.

    A process of its own does, in another group: what is removed while they live they may write
    again."""
    group = os.getpgrp()
    if os.fork() == 0:
        os.setsid()
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
        for _ in range(REMOVALS):
            shutil.rmtree(scratch, ignore_errors=True)
            time.sleep(0.1)  # until the last of them has left its system call
        os._exit(0)
    time.sleep(GRACE)  # the end comes from there
    os.killpg(0, signal.SIGKILL)


def on_sigterm(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what tidies up is let be
    raise OutOfTime


def arguments(argv):
    parser = argparse.ArgumentParser(prog="tools.gpu.stage", description=__doc__.split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--events", type=int, required=True, help="file descriptor for JSON lines")
    parser.add_argument("--scratch", help="removed when the runner is gone")
    parser.add_argument("--gpu", type=int)
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--data")
    return parser.parse_args(argv)


def main(argv):
    args = arguments(argv)
    job = Job(args.gpu, args.shrink, args.folder, args.data, args.seconds, args.events)
    os.set_inheritable(args.events, False)
    signal.signal(signal.SIGTERM, on_sigterm)
    if args.scratch:
        end_with_the_runner(args.scratch)
    runner = os.getppid()
    try:
        module_of(args.name).run(job)
    except OutOfTime:
        return 143
    except Exception as error:
        job.fail(error)
        return 1
    finally:
        if args.scratch and os.getppid() != runner:  # its pipes may break before the thread looks
            end_all(args.scratch)
    return 0


if __name__ == "__main__":
    from tools.gpu import stage  # the module whose OutOfTime the stages know

    code = stage.main(sys.argv[1:])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # At once: while Python takes itself apart, no thread looks whether the runner is gone. Children
    # and files that are left are the runner's to remove.
    os._exit(code)
