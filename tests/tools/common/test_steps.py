"""Commands run one after another: announced, their failure and their interruption passed on."""

import os
import signal
import subprocess
import sys

import pytest

from tools.common.cli import Failure
from tools.common.steps import Steps

SELF_TERM = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"

CHILD = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *a: (print("kept", flush=True), sys.exit(143)))
print("ready", flush=True)
time.sleep(60)
"""

PARENT = f"""
from tools.common.cli import run
from tools.common.steps import Steps
run(lambda argv: Steps(1, "give the same command").command("a long step", "-c", {CHILD!r}))
"""


def test_a_step_is_announced_with_its_command(capfd):
    Steps(3).command("say hello", "-c", "print('hello')")
    out = capfd.readouterr().out
    assert "[1/3] say hello\n$ python -c print('hello')\n" in out and out.endswith("hello\n")


def test_a_step_that_fails_ends_the_work_with_its_exit_code():
    with pytest.raises(Failure, match="a step") as caught:
        Steps(1).command("a step", "-c", "import sys; sys.exit(2)")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("code", ["import sys; sys.exit(143)", SELF_TERM])
def test_a_step_that_is_stopped_says_how_to_go_on(code):
    with pytest.raises(Failure, match="give the same command") as caught:
        Steps(1, "give the same command").command("a step", "-c", code)
    assert caught.value.exit_code == 143


def test_sigterm_is_passed_on_to_the_running_step_which_is_waited_for(root):
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while True:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        if line == "ready\n":
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143 and "kept" in out
    assert err.count("\n") == 1 and "stopped in `a long step`; give the same command" in err


def test_sigint_to_the_parent_alone_reaches_the_step(root):
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("signal.SIGTERM", "signal.SIGINT")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143 and "kept" in out and err.count("\n") == 1


def test_a_signal_that_is_ignored_stays_ignored_in_the_step(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ask = "import signal, sys; sys.exit(signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)"
        Steps(1).command("ask", "-c", ask)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_signal_handlers_of_before_are_back_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    Steps(1).command("nothing", "-c", "")
    assert signal.getsignal(signal.SIGTERM) is before
