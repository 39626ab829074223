"""A training's curves for TensorBoard."""

from __future__ import annotations

import contextlib
import os
import time

from tools.common.cli import UserError, warn
from tools.common.files import make_folder

FOLDER = "tensorboard"


def require():
    """UserError where the package is not there."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError:
        raise UserError(
            "--tensorboard: the package tensorboard is not there; install it with "
            "pip install '.[tensorboard]', or leave the option out"
        ) from None


class Events:
    """Writes the entries of metrics.jsonl to `folder`/tensorboard, from iteration `begin` on: what
    is there of later iterations is not shown any more. UserError where the folder cannot be made.

    Where they cannot be written, a warning says so once, and the training goes on. (TensorBoard's
    own EventFileWriter has a thread, whose errors end the training.)"""

    def __init__(self, folder, begin):
        from tensorboard.compat.proto import event_pb2

        self._path = os.path.join(folder, FOLDER)
        make_folder(self._path)
        self._file, number = None, time.time_ns()
        try:
            name = f"events.out.tfevents.{number // 10**9:010}.{number}.{os.getpid()}"
            self._file = open(os.path.join(self._path, name), "xb")  # noqa: SIM115
        except OSError as error:
            self._give_up(error)
        self._write(file_version="brain.Event:2")
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(step=begin, session_log=start)

    def add(self, entry):
        """entry: a line of metrics.jsonl."""
        from tensorboard.compat.proto import summary_pb2

        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars(entry)
            if value is not None
        ]
        self._write(step=entry["iter"], summary=summary_pb2.Summary(value=values))

    def _write(self, **content):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._file is None:
            return
        event = event_pb2.Event(wall_time=time.time(), **content)
        try:
            RecordWriter(self._file).write(event.SerializeToString())
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error):
        self.close()
        warn(f"{self._path}: nothing more is written there ({error.strerror})")

    def close(self):
        if self._file is not None:
            with contextlib.suppress(OSError):  # of what could not be written before either
                self._file.close()
            self._file = None


def scalars(entry):
    """(tag, value) of a line of metrics.jsonl."""
    if "scores" in entry:
        yield from ((f"score/{key}", value) for key, value in entry["scores"].items())
        yield from ((f"iu/{name}", value) for name, value in entry["classes"].items())
    else:
        keys = (("loss", "loss"), ("lr", "lr"), ("memory", "memory_mb"))
        yield from ((f"train/{tag}", entry[key]) for key, tag in keys)
