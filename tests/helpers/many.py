"""Several processes of a command: started as torchrun does, or by torchrun itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers import tiny_run

SOLVE = str(tiny_run.ROOT / "solvers/solve.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
PATIENCE = 240
DUMPING = """
import sys
import caffe
from solvers import solve
from tools.common.cli import run

really = solve.train

def train(solver, *more):
    done = really(solver, *more)
    solver.net.save(f"rank{caffe.solver_rank()}.caffemodel")
    return done

solve.train = train
run(solve.main)
"""
"""solve.py, which saves each rank's parameters at the end of its training."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(**more):
    return tiny_run.environment(GLOG_minloglevel="0", CUDA_VISIBLE_DEVICES="", **more)


class Group:
    """Processes with torchrun's variables, without torchrun: each has its own output."""

    def __init__(self, folder, count, script, *args, each=lambda rank: {}, words=lambda rank: []):
        port = str(free_port())
        self.processes = []
        for rank in range(count):
            env = environment(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count),
                LOCAL_WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
            )  # fmt: skip
            where = each(rank)
            folder_of = where.pop("folder", folder)
            env.update(where)
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, str(script), *args, *words(rank)], cwd=folder_of, env=env,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def end(self, timeout=PATIENCE):
        """[(exit code, lines on stdout, lines on stderr)] of each rank."""
        found = []
        for process in self.processes:
            out, err = process.communicate(timeout=timeout)
            found.append((process.returncode, out.splitlines(), err.splitlines()))
        return found


def run_group(folder, count, script, *args, **more):
    with Group(folder, count, script, *args, **more) as group:
        return group.end()


def torchrun(folder, options, script, *args, **more):
    """Start torchrun with these options; returns the process, which leads a session."""
    return subprocess.Popen(
        [*TORCHRUN, *options, "--", str(script), *args], cwd=folder, env=environment(**more),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def ended(process, timeout=PATIENCE):
    """(exit code, lines on stderr) of a process, which is killed where it does not end."""
    try:
        _, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, err.splitlines()


def workers(process):
    """The numbers of the processes that a torchrun has started, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == process.pid and fields[0] not in "ZX":
                variables = (entry / "environ").read_bytes().split(b"\0")
                ranks = [v[5:] for v in variables if v.startswith(b"RANK=")]
                if ranks:
                    found[int(ranks[0])] = int(entry.name)
        except (OSError, ValueError, IndexError):
            continue
    return found


def errors(lines):
    """What the commands themselves have said went wrong."""
    return [line for line in lines if line.startswith("error:")]


def wait_for(condition, what, timeout=120):
    end = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.02)


def stop(number):
    os.kill(number, signal.SIGSTOP)
