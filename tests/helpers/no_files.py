"""What a path may name that is no file to read from, and time that runs out."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

KINDS = ("fifo", "socket", "device", "folder")


def put(kind: str, path) -> str:
    """Make what is no regular file at `path`; its path."""
    path = os.fspath(path)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:  # the name stays when it is closed
            here = os.getcwd()
            os.chdir(os.path.dirname(path))  # a socket's path may only be short
            bound.bind(os.path.basename(path))
            os.chdir(here)
    elif kind == "device":
        os.symlink("/dev/zero", path)
    else:
        os.mkdir(path)
    return path


@contextlib.contextmanager
def in_time(seconds: int = 20):
    """Context that ends with TimeoutError where it takes longer, as a read of a FIFO would."""

    def ring(number, frame):
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
