"""Small stages, written for a test, and the report's runner on them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.helpers.processes import environment
from tools.gpu import runner

HEAD = """
import os, subprocess, sys, time
TITLE, WORDS = "Stage {name}", "What it does."
def markdown(results):
    return "results: " + " ".join(str(r["value"]) for r in results)
def main_figure(results):
    return f"{{len(results)}} results"
"""
BODIES = {
    "machine": 'def run(job): job.result("facts", device="a toy")',
    "refusing": (
        "from tools.common.cli import UserError\n"
        'def run(job): raise UserError("GPU 0: there is none; take another")'
    ),
    "good": 'def run(job): job.result("number", value=job.gpu); job.say("hello")',
    "failing": 'def run(job): job.result("number", value=7); raise ValueError("a bad bolt")',
    "dying": 'def run(job): print("last words"); os.kill(os.getpid(), 11)',
    "silent": "def run(job): time.sleep(60)",
    # Tells its children's ids, then works on.
    "slow": (
        "def run(job):\n"
        '    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])\n'
        '    job.result("number", value=os.getpid(), child=child.pid, folder=str(job.folder))\n'
        "    time.sleep(300)"
    ),
    # Its child writes into the scratch folder, over and over, making it where it is not there.
    "littering": (
        "def run(job):\n"
        '    child = "import itertools, os, sys\\nfor i in itertools.count():\\n'
        "    os.makedirs(sys.argv[1], exist_ok=True)\\n"
        "    open(os.path.join(sys.argv[1], str(i)), 'w').close()\"\n"
        '    subprocess.Popen([sys.executable, "-c", child, str(job.folder / "litter")])\n'
        "    while not (job.folder / 'litter' / '500').exists():\n        time.sleep(0.05)\n"
        '    job.result("number", value=1)\n'
        "    time.sleep(300)"
    ),
    "tidy": (
        "from tools.gpu.stage import OutOfTime\n"
        "def run(job):\n"
        '    job.result("number", value=1)\n'
        "    try:\n        time.sleep(60)\n"
        '    except OutOfTime:\n        job.result("number", value=2)'
    ),
    "unreadable": 'def run(job): job.result("number", wrong=float("nan"))',
    "busy": (
        "def run(job):\n"
        "    for i in range(60):\n"
        '        job.result("number", value="x" * 2000)\n'
        '        job.picture("busy", b"PNG" * 5000, "a picture")\n'
        "        time.sleep(0.02)"
    ),
    "painter": (
        "def run(job):\n"
        "    for i in range(7):\n"
        '        job.picture(f"picture-{i}", b"PNG %d" % i, f"picture {i}")\n'
        '    job.picture("picture-0", b"PNG again", "once more")'
    ),
}
DRIVER = """
import sys
from tools.gpu import runner
runner.PROBE = "toys.machine"
out, minutes, *names = sys.argv[1:]
stages = [runner.Stage(name, 10) for name in names]
made = runner.Settings(out, float(minutes), None, 1, None, stages, "the test")
sys.exit(runner.Runner(made).run())
"""


@pytest.fixture
def toys(tmp_path, monkeypatch, root):
    """Runs reports on the stages of BODIES.

    `run(*names)`: in this process, its exit code; `start(*names)`: a process. `data()` and
    `text()`: the report's JSON and Markdown. `out`: its folder.
    """
    package = tmp_path / "toys"
    package.mkdir()
    for name, body in BODIES.items():
        (package / f"{name}.py").write_text(HEAD.format(name=name) + body + "\n")
    for name in [n for n in sys.modules if n.partition(".")[0] == "toys"]:
        monkeypatch.delitem(sys.modules, name)
    env = environment(root, tmp_path)
    monkeypatch.setenv("PYTHONPATH", env["PYTHONPATH"])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(runner, "PROBE", "toys.machine")
    out = tmp_path / "out"
    out.mkdir()

    def settings(*stages, minutes=0.5):
        stages = [s if isinstance(s, runner.Stage) else runner.Stage(s, 10) for s in stages]
        return runner.Settings(str(out), minutes, None, 1, None, stages, "the test")

    def start(*names, minutes=0.5):
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(out), str(minutes), *names],
            env={**env, "TMPDIR": str(tmp_path)},
            stdout=subprocess.DEVNULL,
        )

    def data():
        return json.loads((out / "gpu-report.json").read_text())

    yield SimpleNamespace(
        out=out,
        folder=tmp_path,
        settings=settings,
        run=lambda *stages, **more: runner.Runner(settings(*stages, **more)).run(),
        start=start,
        data=data,
        text=lambda: (out / "gpu-report.md").read_text(),
        log=lambda: (out / "gpu-report.log").read_text(),
    )
