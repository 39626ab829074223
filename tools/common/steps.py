"""The toolkit's own commands, run one after another as processes, each announced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from tools.common.cli import Failure, UserError


def require_checkout(files):
    """Raise UserError where the commands that are to be run are not below the working folder."""
    for file in files:
        if not os.path.isfile(file):
            raise UserError(
                f"{file} is not here; start this command in the folder of the checkout, as its "
                f"steps are the scripts there (the working folder is {os.getcwd()})"
            )


class Steps:
    """Runs `count` commands; `remedy` says how to go on after one was stopped."""

    def __init__(self, count, remedy="start again"):
        self.count, self.done, self.remedy = count, 0, remedy

    def announce(self, what):
        self.done += 1
        print(f"\n[{self.done}/{self.count}] {what}", flush=True)

    def skip(self):
        """Count a command that need not be run."""
        self.done += 1

    def command(self, what, *words):
        """Run `python words…`. Raises Failure with its exit code where it failed, and has said
        why, or was stopped by a signal, and has said what it keeps."""
        self.announce(what)
        print("$ python " + " ".join(words), flush=True)
        code = call([sys.executable, *words])
        if code == -signal.SIGKILL:
            self._stopped(what + ", killed (out of memory?)", 137)
        if code < 0 or code >= 128:
            self._stopped(what, code if code > 0 else 128 - code)
        if code:
            raise Failure(f"the step `{what}` failed: see the line above", code)

    def _stopped(self, what, code):
        raise Failure(f"stopped in `{what}`; {self.remedy}", code)


def call(command):
    """The exit code of a command that gets the signals that would end this process.

    SIGTERM and SIGHUP are passed on, and SIGINT where it does not reach the command by itself, as
    Ctrl-C does; the command is waited for. What is ignored (nohup) stays so, and inheritable file
    descriptors (locks) are inherited.
    """
    child = None
    asked = []

    def on_signal(number, frame):
        asked.append(number)
        if child is not None and child.poll() is None and not _from_terminal(number):
            child.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.getsignal(n) for n in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        child = subprocess.Popen(command, close_fds=False)
        for number in asked:
            child.send_signal(number)
        while True:
            # A signal that comes just before the wait begins is heard when it ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(timeout=1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _from_terminal(number):
    """Whether the signal went to the terminal's whole foreground group, so to the child too."""
    if number != signal.SIGINT:
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # no terminal
        return False
