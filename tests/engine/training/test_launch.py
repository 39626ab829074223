"""One command that starts itself in several processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from tests.helpers import many

pytestmark = [pytest.mark.slow, pytest.mark.long]
LAUNCH = """
import sys
from caffe.engine import launch
sys.exit(launch(2, sys.argv[1:]))
"""
WAITING = """
import os, pathlib, signal, time

def heard(number, frame):
    pathlib.Path(f"heard-{os.environ['RANK']}-{number}").touch()
    if number == signal.SIGTERM:
        raise SystemExit(3)

for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, heard)
pathlib.Path(f"ready-{os.environ['RANK']}").touch()
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def start(tmp_path):
    """start(script text, *words) -> the process that has launched it twice, in tmp_path."""
    processes = []

    def start(text, *words):
        (tmp_path / "script.py").write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, "script.py", *words], cwd=tmp_path,
            env=many.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_each_process_has_its_rank_and_the_words_of_the_command(start):
    words = ("--nnodes", "7", "a b")  # the first is also an option of torchrun
    process = start("import os, sys; print(os.environ['RANK'], sys.argv[1:], flush=True)", *words)
    out, err = process.communicate(timeout=many.PATIENCE)
    assert process.returncode == 0, err
    assert sorted(out.splitlines()) == [f"{rank} {list(words)}" for rank in range(2)]


def test_the_exit_code_is_that_of_the_rank_that_failed_without_a_report_of_torchruns(start):
    process = start(
        "import os, sys, time; os.environ['RANK'] == '1' and sys.exit(5); time.sleep(60)"
    )
    _, err = process.communicate(timeout=many.PATIENCE)
    assert process.returncode == 5
    assert not re.search("Traceback|FAILED", err), err


def test_a_hangup_is_passed_on_and_ends_nothing_and_a_stop_ends_all(start, tmp_path):
    process = start(WAITING)

    def there(*names):
        return all((tmp_path / f"{name}").exists() for name in names)

    many.wait_for(lambda: there("ready-0", "ready-1"), "they do not start")
    process.send_signal(signal.SIGHUP)
    many.wait_for(lambda: there("heard-0-1", "heard-1-1"), "SIGHUP is not passed on")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    code, _ = many.ended(process)
    assert code == 128 + signal.SIGTERM
    assert there("heard-0-15", "heard-1-15")


SHARE = """
import json, sys
from caffe.compute import device
from caffe.training import rank_watch, together

class Place:
    count, told = 3, {}

    def tell(self, name, content):
        self.told[name] = content

    def hear(self, name, watch):
        return self.told[name]

gpus = sys.argv[1].split(",")
ranks = []
for rank, gpu in enumerate(gpus):
    one = together.Ranks.__new__(together.Ranks)
    one._meeting, one.rank, one.count, one.check = Place(), rank, len(gpus), None
    device.identity = lambda gpu=gpu: gpu
    one._meeting.tell(f"gpu/{rank}", f"{rank_watch.machine()} {gpu}".encode())
    ranks.append((one, gpu))
for one, gpu in ranks:
    device.identity = lambda gpu=gpu: gpu
    print(one._share_a_gpu())
"""


@pytest.mark.parametrize("gpus, shared", [("a,b,c", "False"), ("a,b,a", "True")])
def test_ranks_know_that_two_of_them_share_a_gpu(tmp_path, gpus, shared):
    done = subprocess.run(
        [sys.executable, "-c", SHARE, gpus], cwd=tmp_path, env=many.environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == [shared] * 3, done.stderr
