"""Two machines of two processes each, in network namespaces with a cable between them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid

import pytest

from tests.helpers import many, tiny_run

pytestmark = pytest.mark.slow
FIRST = "10.213.7.1"


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def machines():
    """The names of two namespaces; the first one's address is FIRST."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the command ip")
    tag = uuid.uuid4().hex[:6]
    names = [f"fcn-{tag}-{k}" for k in (0, 1)]
    if ip("netns", "add", names[0]).returncode:
        pytest.skip("no network namespace can be made here")
    ip("netns", "add", names[1])
    try:
        cables = [f"c{tag}{k}" for k in (0, 1)]
        made = ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        if made.returncode:
            pytest.skip(f"no cable can be laid between namespaces: {made.stderr}")
        for k, (name, cable) in enumerate(zip(names, cables)):
            for words in (
                ("link", "set", cable, "netns", name),
                ("-n", name, "addr", "add", f"10.213.7.{k + 1}/24", "dev", cable),
                ("-n", name, "link", "set", cable, "up"),
                ("-n", name, "link", "set", "lo", "up"),
            ):
                done = ip(*words)
                assert done.returncode == 0, done.stderr
        yield list(zip(names, cables))
    finally:
        for name in names:
            ip("netns", "del", name)


def start(machines, folders, *args):
    """A torchrun on each machine."""
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run",
             "--nnodes", "2", "--nproc-per-node", "2", "--node-rank", str(k),
             "--master-addr", FIRST, "--master-port", "29517", many.SOLVE,
             "--solver", "solver.prototxt", "--weights", "init.caffemodel", "--cpu", *args],
            cwd=folder, env=many.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for k, ((name, _), folder) in enumerate(zip(machines, folders))
    ]  # fmt: skip


@pytest.fixture
def folders(folder, tmp_path):
    """The run on each machine; the second has no weights and no snapshots."""
    other = shutil.copytree(folder, tmp_path / "second")
    (other / "init.caffemodel").unlink()
    return folder, other


def test_two_machines_train_as_four_processes_of_one(machines, folders):
    first, second = folders
    ends = [many.ended(process) for process in start(machines, folders)]
    assert [code for code, _ in ends] == [0, 0], ends
    through = tiny_run.result(first, 12)
    assert not (second / "out").exists()
    shutil.rmtree(first / "out")
    words = ("--solver", "solver.prototxt", "--weights", "init.caffemodel", "--cpu")
    for code, _, lines in many.run_group(first, 4, many.SOLVE, *words):
        assert code == 0, lines
    assert tiny_run.result(first, 12) == through


@pytest.mark.long
def test_a_network_that_breaks_ends_both_machines(machines, folders):
    more = ("--iterations", "1000000", "--set", "snapshot=20", "--set", "display=0")
    processes = start(machines, folders, *more, "--heartbeat", "4")
    try:
        many.wait_for(lambda: tiny_run.snapshots(folders[0]), "no snapshot")
        ip("-n", machines[0][0], "link", "set", machines[0][1], "down")
        ends = [many.ended(process, timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    (line,) = many.errors(ends[0][1])
    assert line.startswith(("error: rank 2: ", "error: rank 3: "))
    assert "has not been heard of for 4 s" in line and "is in a snapshot" in line
    (line,) = many.errors(ends[1][1])
    assert line.startswith("error: rank 0: ")
