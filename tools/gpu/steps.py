"""The toolkit's own commands as processes of a stage: followed line by line, ended with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time

from tools.common.cli import Failure
from tools.gpu.child import ROOT, module_path


def _in_checkout(word):
    """A command of the checkout by its path, other words as they are."""
    path = ROOT / word
    return str(path) if word.endswith(".py") and path.is_file() else word


_STAMP = re.compile(r"^[IW]\d{4} (\d\d):(\d\d):(\d\d\.\d+) .*\] Iteration (\d+)[ ,(]")


def log_times(log):
    """{iteration: seconds of the day} at which a training's log has each loss; the day may end
    between."""
    stamps, before, days = {}, 0.0, 0
    for line in log.splitlines():
        match = _STAMP.match(line)
        if match and ", loss = " in line:
            seconds = 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
            days += seconds < before - 43200
            before = seconds
            stamps[int(match[4])] = seconds + 86400 * days
    return stamps


class Step:
    """A started command of the checkout, `python WORDS…` (or `python -m MODULE…`, with the
    checkout's command behind); its lines go to `job.say` at once."""

    def __init__(self, job, *words):
        self.words = [str(word) for word in words]
        self.asked = False
        self.lines = []  # (seconds, line)
        self._told = 0
        self._job = job
        env = dict(os.environ, PYTHONPATH=module_path(), GLOG_minloglevel="0")
        job.say("$ python " + " ".join(self.words))
        self._process = subprocess.Popen(
            [sys.executable, *map(_in_checkout, self.words)],
            cwd=job.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))
            self._job.say(line.rstrip("\n"))

    def ended(self, wait=0.0):
        """Whether the process has ended; waits so many seconds for it at most."""
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(5)
        return True

    @property
    def code(self):
        """The exit code once it has ended; 128 and the signal's number where one ended it."""
        code = self._process.returncode
        return 128 - code if code is not None and code < 0 else code

    def new_lines(self):
        """The lines that have come since the last call."""
        new = [line for _, line in self.lines[self._told :]]
        self._told += len(new)
        return new

    def finish(self):
        """Wait for its end. Raises Failure where that is no success."""
        while not self.ended(wait=1.0):
            pass
        if self.code:
            raise Failure(self.failure())

    def failure(self):
        """One line: the command, and the last that it said."""
        said = [line for _, line in self.lines if line.strip()]
        errors = [line for line in said if line.startswith("error:")]
        return f"{self.words[0]} ended with exit code {self.code}: {(errors or said or ['-'])[-1]}"

    def seconds_between(self, one, other):
        """Seconds from the first line that holds `one` to the next that holds `other`."""
        begin = next(at for at, line in self.lines if one in line)
        return next(at for at, line in self.lines if at >= begin and other in line) - begin

    def ask(self, number):
        """Send the signal once."""
        if not self.asked:
            self.asked = True
            self._process.send_signal(number)

    def kill(self):
        """End it at once, if it runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
