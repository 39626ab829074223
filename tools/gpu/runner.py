"""Runs the stages one after another, each in its time, and writes the report as they go."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections import deque, namedtuple

from tools.common.cli import UserError
from tools.common.files import write
from tools.common.written import ANY, PICTURE as SIGNED, Written, begins, json_of
from tools.gpu import report
from tools.gpu.child import Child
from tools.gpu.stage import GRACE

Stage = namedtuple("Stage", "name share need most least", defaults=(0, None, 0))
Stage.__doc__ = """A stage: `share` of the time beside the others' shares, but the seconds that it
needs to show anything, and at `most` so many (None: no limit); left out where less than `least` are
left."""

STAGES = (
    Stage("check", 60, need=30, most=60),
    Stage("conformance", 15, need=30),
    Stage("tables", 30, need=40),
    Stage("timeline", 8, need=30),
    Stage("training", 35, need=45),
    Stage("ranks", 12, need=45),
    Stage("conformance-whole", 100, least=60),
)
"""In the order of their value. The last is given what the others have left."""

PROBE = "machine"
PROBE_SECONDS = 120
PICTURES = 5
PICTURE = re.compile(r"gpu-[a-z0-9-]+\.png")
_PICTURES = (SIGNED, ANY)
"""What a picture may replace: a signed one, or, of this report itself, any."""
WRITTEN = {
    "gpu-report.md": begins("a report of gpu_report.py", "# GPU report\n"),
    "gpu-report.json": json_of("a report of gpu_report.py", "command", "minutes", "stages"),
    "gpu-report.log": Written(
        "a log of gpu_report.py", lambda file: bool(re.match(rb" *-?\d+\.\d  ", file.read(64)))
    ),
}
WRITE_SECONDS = 0.2  # between two writings of the report
LAST_LINES = 12
NO_RESULT = "its time ended before its first result"

Settings = namedtuple("Settings", "out minutes gpu shrink data stages command")
Settings.__doc__ = """How the report is made: `gpu` None is the CPU; `stages` are Stages."""


class Runner:
    """One report. `run` gives the exit code."""

    def __init__(self, settings):
        self.settings = settings
        self.end = time.monotonic() + 60 * settings.minutes
        self.signal = None
        self.written = 0.0
        self.pending = False
        self.quiet = False
        self.log, self.early = None, []  # the lines until there is a log
        self.data = {
            "command": settings.command,
            "date": time.strftime("%Y-%m-%d %H:%M"),
            "minutes": settings.minutes,
            "dry_run": settings.gpu is None or settings.shrink > 1,
            "machine": {},
            "stages": [
                {"name": s.name, "state": "waiting", "seconds": 0.0, "error": None, "results": [],
                 "pictures": []}
                for s in settings.stages
            ],
        }  # fmt: skip

    def path(self, name):
        return os.path.join(self.settings.out, name)

    def run(self):
        before = {n: signal.signal(n, self._on_signal) for n in _SIGNALS if _is_heeded(n)}
        scratch = tempfile.mkdtemp(prefix="gpu-report-")
        try:
            self._probe(scratch)
            self._begin()
            for stage, entry in zip(self.settings.stages, self.data["stages"]):
                self._one(stage, entry, scratch)
        finally:
            if self.log is not None:
                self.log.close()
            shutil.rmtree(scratch, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.signal is not None:
            return 128 + self.signal
        return 0 if all(e["state"] in report.FINE for e in self.data["stages"]) else 1

    def _on_signal(self, number, frame):
        self.signal = number

    def _own_log(self):
        """The log, empty and locked. Raises UserError where another report is being written."""
        log = open(self.path("gpu-report.log"), "a", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.close()
            raise UserError(
                f"--out {self.settings.out}: another report is being written there; choose another"
            ) from None
        except OSError:  # a file system without locks
            pass
        log.truncate(0)
        return log

    def _begin(self):
        """Take the place of the report that is there: its log, its pictures."""
        if self.signal is not None:
            return
        self.log = self._own_log()
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            with open(self.path("gpu-report.json"), encoding="utf-8") as file:
                old = [p["file"] for e in json.load(file)["stages"] for p in e["pictures"]]
            for name in filter(PICTURE.fullmatch, old):
                os.unlink(self.path(name))
        for line in self.early:
            self._log(line)
        self._write()

    def _probe(self, scratch):
        """What machine this is. Raises UserError where the GPU cannot be used."""
        entry = {"state": "waiting", "results": [], "pictures": [], "error": None}
        self._say(f"looking at {_place(self.settings.gpu)}")
        seconds = min(PROBE_SECONDS, self._left())
        self._run_child(PROBE, entry, scratch, seconds)
        if self.signal is None and entry["state"] != "done":
            error = entry["error"]
            if error in (None, NO_RESULT):
                error = f"PyTorch said nothing of {_place(self.settings.gpu)} in {seconds:.0f} s"
            raise UserError(error)
        for result in entry["results"]:
            del result["kind"]
            self.data["machine"].update(result)

    @property
    def begun(self):
        """Whether there is a report of this run."""
        return self.log is not None

    def _left(self):
        return self.end - time.monotonic()

    def seconds_for(self, stage):
        """The seconds that a stage is given: its share of what is left, beside the shares of those
        that wait, or what it needs; what one does not use passes on to the next."""
        waiting = [
            s for s, e in zip(self.settings.stages, self.data["stages"])
            if e["state"] == "waiting" and (s.least == 0 or s is stage)
        ]  # fmt: skip
        left = self._left() - GRACE
        share = left * stage.share / sum(s.share for s in waiting)
        seconds = max(share, min(stage.need, left))
        return seconds if stage.most is None else min(seconds, stage.most)

    def _one(self, stage, entry, scratch):
        if self.signal is not None:
            entry["state"] = "not begun"
            return self._write()
        seconds = self.seconds_for(stage)
        if seconds < max(stage.least, 1):
            entry["state"] = "no time"
            return self._write()
        self._say(f"{stage.name}: {seconds:.0f} s of {max(self._left(), 0):.0f} s")
        self._run_child(stage.name, entry, scratch, seconds)
        self._say(f"{stage.name}: {entry['state']} after {entry['seconds']:.1f} s"
                  + (f": {entry['error']}" if entry["error"] else ""))  # fmt: skip
        return self._write()

    def _run_child(self, name, entry, scratch, seconds):
        """Run one stage to its end, into `entry`."""
        folder = os.path.join(scratch, name)
        os.mkdir(folder)
        began = time.monotonic()
        entry["state"] = "running"
        self._write()
        settings = self.settings
        child = Child(name, folder, scratch, seconds, settings.gpu, settings.shrink, settings.data)
        last = deque(maxlen=LAST_LINES)
        try:
            while not child.ended:
                lines, events = child.pump()
                for line in lines:
                    last.append(line)
                    self._say(line, name)
                entry["seconds"] = round(time.monotonic() - began, 1)
                for event in events:
                    self._enter(event, entry, child.asked is not None)
                if events or self.pending:
                    self._write(soon=True)
                if self.signal is not None:
                    child.end()
        finally:
            code = child.close()
        shutil.rmtree(folder, ignore_errors=True)
        self._judge(entry, code, child.asked is not None, last)

    def _judge(self, entry, code, asked, last):
        """The state in which a stage has ended."""
        cut = entry.pop("cut off", False)
        if entry["error"] is not None:
            entry["state"] = "failed"
        elif asked or cut:
            entry["state"] = "cut off" if self.signal is None or cut else "stopped"
            if self.signal is None and not entry["results"]:
                entry["state"], entry["error"] = "failed", NO_RESULT
        elif code:
            entry["state"] = "failed"
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            entry["error"] = "\n".join([f"its process ended with {ended}; its last lines:", *last])
        else:
            entry["state"] = "done"

    def _enter(self, event, entry, asked):
        """Take what a stage has told; `asked`: after it was told to end."""
        if "result" in event:
            entry["results"].append(event["result"])
        elif "picture" in event:
            self._take_picture(event["picture"], entry)
        elif "cut off" in event:
            entry["cut off"] = True
        elif "error" in event:
            if asked:  # what its end brought about
                self._log(event["error"])
            else:
                entry["error"] = event["error"]
            for line in event["trace"].splitlines():
                self._log(line)

    def _take_picture(self, picture, entry):
        name = f"gpu-{picture['name']}.png"
        of_all = {p["file"] for e in self.data["stages"] for p in e["pictures"]}
        if not PICTURE.fullmatch(name) or (name not in of_all and len(of_all) >= PICTURES):
            self._say(f"left out: picture {name}; at most {PICTURES} go into the report")
            return
        try:
            with open(picture["path"], "rb") as file:
                write(self.path(name), file.read(), _PICTURES[name in of_all])
        except (OSError, UserError) as error:
            problem = getattr(error, "strerror", None) or error
            entry["left out"] = f"Left out: {name}: {problem}."
            self._say(entry["left out"])
            return
        entry["pictures"] = [p for p in entry["pictures"] if p["file"] != name]
        entry["pictures"].append({"file": name, "caption": picture["caption"]})

    def _write(self, soon=False):
        """Write the report; with `soon`, not more often than every WRITE_SECONDS."""
        now = time.monotonic()
        self.pending = soon and now - self.written < WRITE_SECONDS
        if self.pending or self.log is None:
            return
        self.written = now
        texts = {"gpu-report.md": report.markdown, "gpu-report.json": report.as_json}
        for name, text in texts.items():
            write(self.path(name), text(self.data), WRITTEN[name])

    def _say(self, line, stage=None):
        """Print a line, and keep it in the log with the seconds that are left."""
        text = f"{max(self._left(), 0):6.1f}  {line if stage is None else f'[{stage}] {line}'}"
        self._log(text)
        if not self.quiet:
            try:
                print(text, flush=True)
            except OSError:  # whoever read it has gone; the work goes on
                self.quiet = True

    def _log(self, line):
        """Write a line into the log alone."""
        if self.log is None:
            self.early.append(line)
            return
        self.log.write(line + "\n")
        self.log.flush()


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _is_heeded(number):
    """Whether a signal is not ignored (nohup)."""
    with contextlib.suppress(ValueError):
        return signal.getsignal(number) is not signal.SIG_IGN
    return False


def _place(gpu):
    return "the CPU" if gpu is None else f"GPU {gpu}"
