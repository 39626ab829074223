"""A training's curves for TensorBoard."""

from __future__ import annotations

import os
import time

from tools.common.cli import UserError

FOLDER = "tensorboard"


def require():
    """UserError where the package is not there."""
    try:
        import tensorboard.summary.writer.event_file_writer  # noqa: F401
    except ImportError:
        raise UserError(
            "--tensorboard: the package tensorboard is not there; install it with "
            "pip install '.[tensorboard]', or leave the option out"
        ) from None


class Events:
    """Writes the entries of metrics.jsonl to `folder`/tensorboard, from iteration `begin` on: what
    is there of later iterations is not shown any more."""

    def __init__(self, folder, begin):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(os.path.join(folder, FOLDER))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.add_event(
            event_pb2.Event(wall_time=time.time(), step=begin, session_log=start)
        )

    def add(self, entry):
        """entry: a line of metrics.jsonl."""
        from tensorboard.compat.proto import event_pb2, summary_pb2

        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars(entry)
            if value is not None
        ]
        summary = summary_pb2.Summary(value=values)
        event = event_pb2.Event(wall_time=time.time(), step=entry["iter"], summary=summary)
        self._writer.add_event(event)
        self._writer.flush()

    def close(self):
        self._writer.close()


def scalars(entry):
    """(tag, value) of a line of metrics.jsonl."""
    if "scores" in entry:
        yield from ((f"score/{key}", value) for key, value in entry["scores"].items())
        yield from ((f"iu/{name}", value) for name, value in entry["classes"].items())
    else:
        keys = (("loss", "loss"), ("lr", "lr"), ("memory", "memory_mb"))
        yield from ((f"train/{tag}", entry[key]) for key, tag in keys)
