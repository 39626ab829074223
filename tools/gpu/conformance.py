"""Stage `conformance`: the engine on the GPU against the engine on the CPU, the quick part."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from tools.benchmark.sides import driver_name
from tools.common.cli import Failure, UserError
from tools.gpu import outcomes
from tools.gpu.conformance_table import main_figure as main_figure, markdown as markdown, share

TITLE = "Conformance, the quick part"
WORDS = """
`tests/conformance/gpu`: the same net, weights and inputs on the GPU and on the CPU: every layer
type in a few random nets and fixed cases, forward and backward, the six solvers, the VOC nets on
a small picture. A deviation is the largest difference between two arrays, divided by the largest
number in the CPU's; each kind of comparison has its limit. Without a GPU the device is emulated
(the engine takes its ways for a GPU, on the CPU). A test that ends its process counts as failed,
and the next ones run in a new one.
"""
ROOT = Path(__file__).resolve().parents[2]
SUITE = Path("tests", "conformance", "gpu")
ORDER = ("solvers", "layers", "nets")
"""Of the suite's files, test_on_gpu_NAME.py; others follow."""
LOOK = 0.3  # seconds between two looks at what the tests have said
SPARE = 3.0  # seconds before its deadline at which the stage ends by itself
STARTS = 20  # of pytest
ENDS = (0, 1, 2)
"""Exit codes of pytest: all passed, some failed, the plugin has stopped it."""


def run(job, quick=True):
    """Run the suite; each test's outcome with its comparisons is a result. Failure where a
    test failed."""
    absent = [name for name in ("pytest", "hypothesis") if importlib.util.find_spec(name) is None]
    if absent:
        names = " ".join(absent)
        raise UserError(f"{sys.executable} lacks {names}, which these tests need: "
                        f"pip install {names}")  # fmt: skip
    Suite(job, quick).run()


class Suite:
    """Runs pytest, again after a test that took its process with it."""

    def __init__(self, job, quick):
        self.job, self.quick = job, quick
        self.file = job.folder / "outcomes.jsonl"
        self.offset = 0
        self.running = None  # the test that has begun and not ended
        self.compared = []  # its comparisons so far
        self.count = self.ended = 0
        self.failed, self.broken = [], []
        self.told = 0  # comparisons

    def run(self):
        for number in range(STARTS):
            ended = self.ended
            code, last = self._pytest(number)
            if code is None:
                self.job.result("cut", test=self.running)
                self.job.cut_off()
                break
            if self.running is not None:  # it ended the process
                self._crash(code)
            elif code not in ENDS or (code != 0 and self.ended == ended and not self.broken):
                raise Failure("\n".join([f"pytest ended with exit code {code}:", *last]))
            if self.ended == ended or self.ended >= self.count:
                break
        self._verdict()

    def _verdict(self):
        """Raise Failure where something failed, or nothing was run."""
        wrong = [f"{path} cannot be collected" for path in self.broken]
        if self.failed:
            shown = ", ".join(self.failed[:3]) + (", …" if len(self.failed) > 3 else "")
            wrong.append(f"{len(self.failed)} of {self.ended} tests failed: {shown}")
        if not self.ended:
            wrong.append("no test ended in the time that there was")
        elif not self.told:
            wrong.append("no test has told a comparison")
        if wrong:
            raise Failure("; ".join(wrong))

    def _pytest(self, number):
        """(exit code, None where its time was over; last lines) of one run of pytest."""
        command = [sys.executable, "-m", "pytest", *files(), "-o", "addopts=", "-q", "--color=no",
                   "-p", "no:cacheprovider", "-p", "tools.gpu.outcomes", "--tb=short",
                   "--continue-on-collection-errors",
                   "--basetemp", str(self.job.folder / f"tests-{number}")]  # fmt: skip
        log = self.job.folder / f"pytest-{number}.log"
        with open(log, "wb") as out:
            child = subprocess.Popen(
                command, cwd=ROOT, env=self._environment(), stdout=out, stderr=subprocess.STDOUT
            )
            try:
                while child.poll() is None and self.job.left() > SPARE:
                    time.sleep(LOOK)
                    self._look()
            finally:
                over = child.poll() is None
                if over:
                    child.kill()
                code = child.wait()
        self._look()
        last = deque(maxlen=40)
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                last.append(line.rstrip("\n"))
                self.job.say(last[-1])
        return (None if over else code), list(last)[-12:]

    def _environment(self):
        env = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}
        env["CONFORMANCE_GPU"] = "emulated" if self.job.gpu is None else "real"
        env["CONFORMANCE_GPU_REPORT"] = env[outcomes.FILE] = str(self.file)
        env["CONFORMANCE_GPU_QUICK"] = "1" if self.quick else ""
        if self.job.gpu is not None:
            # The suite takes the first GPU that it sees.
            env["CUDA_VISIBLE_DEVICES"] = driver_name(self.job.gpu, env)
        return env

    def _look(self):
        """Take what the tests have said since the last look."""
        lines, self.offset = outcomes.read(self.file, self.offset)
        for line in lines:
            if "broken" in line:
                if line["broken"] not in self.broken:
                    self.broken.append(line["broken"])
                    self.job.result("broken", file=line["broken"], error=line["error"])
            elif "collected" in line:
                if not self.count:
                    self.count = line["collected"]
                    self.job.result("plan", tests=self.count, quick=self.quick,
                                    emulated=self.job.gpu is None)  # fmt: skip
            elif "begin" in line:
                self.running, self.compared = line["begin"], []
            elif "end" in line:
                self._end(line["end"], line["outcome"], line["seconds"], line["error"])
            elif line.get("limit") is not None:  # else that a test failed, which is told anyway
                deviation = line["deviation"]
                line["deviation"] = float("inf") if deviation is None else deviation
                self.compared.append(line)
                self.told += 1

    def _end(self, test, outcome, seconds, error):
        """Tell a test's outcome, with its comparison that came nearest to its limit."""
        worst = max(self.compared, key=share, default=None)
        self.job.result("test", test=test, outcome=outcome, seconds=seconds, error=error,
                        compared=len(self.compared), worst=worst)  # fmt: skip
        self.running, self.compared = None, []
        self.ended += 1
        if outcome == "failed":
            self.failed.append(test.rpartition("::")[2])
        if self.ended % 20 == 0 or self.ended == self.count:
            self.job.say(f"{self.ended} of {self.count} tests, {len(self.failed)} failed")

    def _crash(self, code):
        """A test has ended its process: its outcome, also for the next run of pytest."""
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        test, error = self.running, f"the process ended with {ended}"
        self._end(test, "failed", 0.0, error)
        line = {"end": test, "outcome": "failed", "seconds": 0.0, "error": error}
        with open(self.file, "ab") as file:
            self.offset += file.write(outcomes.line_of(line))


def files():
    """The suite's files in their order, relative to the checkout."""
    order = [SUITE / f"test_on_gpu_{name}.py" for name in ORDER]
    found = [path.relative_to(ROOT) for path in sorted((ROOT / SUITE).glob("test_on_gpu_*.py"))]
    return [str(path) for path in sorted(found, key=lambda p: order.index(p) if p in order else 9)]
