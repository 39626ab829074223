"""A stage's process as the runner sees it: its lines, its events, its end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

from tools.gpu.stage import GRACE

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT, ROOT / "engine", ROOT / "data_layers")
WAIT = 0.2  # seconds between two looks at the clock
DRAIN = 1.0  # seconds for what a dead stage's pipes still hold


def module_path():
    """PYTHONPATH with this checkout's modules first."""
    return os.pathsep.join([*map(str, FOLDERS), *filter(None, [os.environ.get("PYTHONPATH")])])


def environment(folder, scratch):
    """The environment of a stage: this checkout's modules first, nothing written into it,
    temporary files in the stage's folder, and caches in `scratch` where there is no home."""
    env = dict(os.environ, PYTHONPATH=module_path())
    env.update(PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1", MPLBACKEND="Agg")
    env["TMPDIR"] = str(folder)
    env["HYPOTHESIS_STORAGE_DIRECTORY"] = os.path.join(scratch, "hypothesis")
    env["MPLCONFIGDIR"] = os.path.join(scratch, "matplotlib")
    env.setdefault("GLOG_minloglevel", "1")
    if not os.access(env.get("HOME", ""), os.W_OK):
        env["HOME"] = str(scratch)
    return env


class Child:
    """A started stage. `pump` is called until `ended`; then `close`."""

    def __init__(self, name, folder, scratch, seconds, gpu, shrink, data):
        self.deadline = time.monotonic() + seconds
        self.asked = None  # when SIGTERM was sent
        self.events, write = os.pipe()
        words = ["--folder", str(folder), "--scratch", str(scratch), "--seconds", f"{seconds:.3f}"]
        words += ["--events", str(write), "--shrink", str(shrink)]
        words += [] if gpu is None else ["--gpu", str(gpu)]
        words += [] if data is None else ["--data", str(data)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.gpu.stage", name, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[write],
            start_new_session=True,
            cwd=folder,
            env=environment(folder, scratch),
        )
        os.close(write)
        self.streams = {self.process.stdout.fileno(): b"", self.events: b""}
        self.selector = selectors.DefaultSelector()
        for stream in self.streams:
            os.set_blocking(stream, False)
            self.selector.register(stream, selectors.EVENT_READ)
        self.drain = None

    def pump(self):
        """(lines, events) that have come within WAIT seconds; keeps the deadline."""
        lines, events = [], []
        for key, _ in self.selector.select(WAIT):
            for line in self._read(key.fd):
                if key.fd == self.events:
                    with contextlib.suppress(ValueError):  # cut short by the stage's end
                        events.append(json.loads(line))
                else:
                    lines.append(line.decode(errors="replace"))
        now = time.monotonic()
        if self.process.poll() is not None:
            if self.drain is None:
                self.drain = now + DRAIN
                self._signal(signal.SIGKILL)  # children that it has left behind
        elif self.asked is not None and now > self.asked + GRACE:
            self._signal(signal.SIGKILL)
        elif now > self.deadline:
            self.end()
        return lines, events

    def end(self):
        """Send SIGTERM to the stage and its children, once."""
        if self.asked is None:
            self.asked = time.monotonic()
            self._signal(signal.SIGTERM)

    @property
    def ended(self):
        if self.drain is None:
            return False
        return not self.selector.get_map() or time.monotonic() > self.drain

    def _read(self, stream):
        """The whole lines of what can be read now; carriage returns end lines too."""
        try:
            data = os.read(stream, 1 << 16)
        except BlockingIOError:
            return []
        text = self.streams[stream] + data
        if not data:
            self.selector.unregister(stream)
            return [text] if text else []
        if stream != self.events:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self.streams[stream] = text.split(b"\n")
        return [line for line in lines if line]

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def close(self):
        """Kill what is left; the process's exit code, negative: the signal that ended it."""
        self._signal(signal.SIGKILL)
        code = self.process.wait()
        self.selector.close()
        os.close(self.events)
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        return code
