"""The toolkit's own commands, run one after another as processes, each announced."""

from __future__ import annotations

import signal
import subprocess
import sys


class StepFailed(RuntimeError):
    """A command ended with an error, which it has printed itself."""

    def __init__(self, what, code):
        super().__init__(f"the step `{what}` failed: see the line above")
        self.exit_code = code


class Stopped(RuntimeError):
    """A command was stopped by a signal, and has said what it keeps."""

    def __init__(self, what, code, remedy):
        super().__init__(f"stopped in `{what}`; {remedy}")
        self.exit_code = code


class Steps:
    """Runs `count` commands; `remedy` says how to go on after one was stopped."""

    def __init__(self, count, remedy="start again"):
        self.count, self.done, self.remedy = count, 0, remedy

    def announce(self, what):
        self.done += 1
        print(f"\n[{self.done}/{self.count}] {what}", flush=True)

    def command(self, what, *words):
        """Run `python words…`; raises StepFailed or Stopped."""
        self.announce(what)
        print("$ python " + " ".join(words), flush=True)
        code = call([sys.executable, *words])
        if code < 0 or code >= 128:
            raise Stopped(what, code if code > 0 else 128 - code, self.remedy)
        if code:
            raise StepFailed(what, code)


def call(command):
    """The exit code of a command that gets the signals that would end this process.

    Ctrl-C reaches it by itself; SIGTERM and SIGHUP are passed on, and it is waited for.
    """
    child = None
    asked = []

    def on_signal(number, frame):
        asked.append(number)
        if child is not None and child.poll() is None and number != signal.SIGINT:
            child.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        child = subprocess.Popen(command)
        for number in asked:
            child.send_signal(number)
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
