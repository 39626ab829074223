"""What goes wrong with one of several processes: all end, in one line that names it and why."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time

import pytest

from tests.helpers import many, tiny_run

pytestmark = pytest.mark.slow
LONG = ("--solver", "solver.prototxt", "--weights", "init.caffemodel", "--cpu",
        "--iterations", "1000000", "--set", "snapshot=20", "--set", "display=0")  # fmt: skip
GO_ON = ("--solver", "solver.prototxt", "--resume", "auto", "--cpu")
PATCHED = """
import os, sys, time
from solvers import solve
from tools.common.cli import run
rank = int(os.environ["RANK"])
{}
run(solve.main)
"""


@pytest.fixture
def begun(folder):
    """begun(count, *args) -> a Group that trains for ever, after its first snapshot."""
    groups = []

    def begin(count=2, *args, script=many.SOLVE, **more):
        group = many.Group(folder, count, script, *LONG, *args, **more)
        groups.append(group)
        first = group.processes[0]

        def there():
            assert first.poll() is None, first.communicate()[1]
            return tiny_run.snapshots(folder)

        many.wait_for(there, "no snapshot")
        return group

    yield begin
    for group in groups:
        group.__exit__()


def script(folder, patch):
    path = folder / "patched.py"
    path.write_text(PATCHED.format(patch))
    return path


def one_line(ends, skip=()):
    """The one line in which all ranks, but those of `skip`, say why they have ended."""
    lines = [
        line for rank, (_, _, err) in enumerate(ends) if rank not in skip
        for line in many.errors(err)
    ]  # fmt: skip
    assert len(lines) == 1, ends
    return lines[0]


def test_of_a_rank_that_is_killed_all_hear_and_the_first_writes_a_snapshot(begun, folder):
    group = begun(3)
    group.processes[2].kill()
    ends = group.end()
    assert [code for code, _, _ in ends] == [1, 1, -signal.SIGKILL]
    line = one_line(ends, skip=[2])
    assert re.match(r"error: rank 2: process \d+ on .* has ended without a word", line)
    at = re.search(r"resume with --resume auto \(iteration (\d+) is in a snapshot\)", line)
    assert int(at[1]) == tiny_run.snapshots(folder)[-1]


@pytest.mark.long
def test_of_a_first_rank_that_is_killed_another_tells(begun):
    group = begun(3)
    group.processes[0].kill()
    ends = group.end()
    assert [code for code, _, _ in ends] == [-signal.SIGKILL, 1, 1]
    assert one_line(ends, skip=[0]).startswith("error: rank 0: process ")


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_stopped_counts_as_gone_after_the_heartbeats_time(begun, rank):
    group = begun(2, "--heartbeat", "4")
    many.stop(group.processes[rank].pid)
    other = group.processes[1 - rank]
    _, err = other.communicate(timeout=many.PATIENCE)
    assert other.returncode == 1
    (line,) = many.errors(err.splitlines())
    assert line.startswith(f"error: rank {rank}: process ")
    assert "has not been heard of for 4 s: it is stopped (SIGSTOP?)" in line
    assert ("is in a snapshot" in line) == (rank == 1)
    group.processes[rank].kill()


@pytest.mark.long
def test_a_pause_of_all_ranks_longer_than_the_heartbeats_time_ends_nothing(begun, folder):
    group = begun(2, "--heartbeat", "2")
    for process in group.processes:
        many.stop(process.pid)
    before = tiny_run.snapshots(folder)[-1]
    time.sleep(5)
    for process in group.processes:
        process.send_signal(signal.SIGCONT)
    many.wait_for(lambda: tiny_run.snapshots(folder)[-1] > before + 100, "no further snapshot")
    time.sleep(5)
    assert [process.poll() for process in group.processes] == [None, None]


def test_a_rank_that_fails_at_its_start_ends_all_with_its_own_words(folder, tmp_path):
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    (elsewhere / "voc/JPEGImages/p3.jpg").unlink()
    ends = many.run_group(
        folder, 2, many.SOLVE, *LONG, each=lambda rank: {"folder": elsewhere} if rank else {}
    )
    assert [code for code, _, _ in ends] == [2, 2]
    line = one_line(ends)
    assert line.startswith("error: rank 1: ") and "p3.jpg" in line


@pytest.mark.long
def test_a_mistake_of_all_ranks_is_told_as_that_of_one(folder):
    ends = many.run_group(folder, 2, many.SOLVE, *LONG, "--set", "base_rate=1")
    assert [code for code, _, _ in ends] == [2, 2]
    assert one_line(ends).startswith("error: --set base_rate=1: ")
    ends = many.run_group(folder, 2, many.SOLVE, *LONG, "--iteratoins", "1")
    assert [code for code, _, _ in ends] == [2, 2]
    assert one_line(ends).startswith("error: there is no option --iteratoins")


def net_of_its_own(folder):
    net = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(net.replace("num_output: 4", "num_output: 5"))


def settings_of_its_own(folder):
    net = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(net.replace("normalize: false", "normalize: true"))


def list_of_its_own(folder):
    path = folder / "voc/ImageSets/Segmentation/train.txt"
    path.write_text("".join(f"{name}\n" for name in reversed(path.read_text().split())))


def pixels_of_its_own(folder):
    net = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(net.replace("'split'", "'mirror': True, 'split'", 1))


def solver_of_its_own(folder):
    text = (folder / "solver.prototxt").read_text()
    (folder / "solver.prototxt").write_text(text.replace("momentum: 0.9", "momentum: 0.99"))


@pytest.mark.parametrize("change, said", [
    (net_of_its_own, "layer 'conv' has the parameters 5x3x3x3, 5, in rank 0 4x3x3x3, 4"),
    (settings_of_its_own, "layer 'loss' has other settings than in rank 0"),
    (list_of_its_own, "layer 'data' reads other data"),
    (pixels_of_its_own, "layer 'data' has mirror True, rank 0's False"),
    (solver_of_its_own, "its solver has momentum: 0.99"),
])  # fmt: skip
@pytest.mark.long
def test_a_rank_that_differs_is_named_with_what_differs(folder, tmp_path, change, said):
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    change(elsewhere)
    ends = many.run_group(
        folder, 2, many.SOLVE, *LONG, each=lambda rank: {"folder": elsewhere} if rank else {}
    )
    assert [code for code, _, _ in ends] == [2, 2]
    line = one_line(ends)
    assert line.startswith("error: rank 1: ") and said in line
    assert not tiny_run.snapshots(folder)


@pytest.mark.parametrize("patch, said", [
    ("import caffe.engine; caffe.engine.version = '0.1' if rank else '0.2'", "its engine is 0.1"),
    ("import torch; torch.__version__ = '2.9.1' if rank else '2.13.0'",
     "its PyTorch is 2.9, rank 0's 2.13"),
    ("import caffe; caffe.engine.set_gradients('bfloat16' if rank else 'float32')",
     "its gradients is bfloat16"),
])  # fmt: skip
@pytest.mark.long
def test_a_rank_of_another_version_is_refused(folder, patch, said):
    ends = many.run_group(folder, 2, script(folder, patch), *LONG)
    assert [code for code, _, _ in ends] == [2, 2]
    line = one_line(ends)
    assert line.startswith("error: rank 1: ") and said in line


FAILING = """
if rank == 1:
    from segmentation.layer import SegmentationLayer
    really = SegmentationLayer.forward
    def forward(self, bottom, top):
        really(self, bottom, top)
        if self.position > 15:
            {}
    SegmentationLayer.forward = forward
"""


def test_an_error_in_one_rank_ends_all_with_a_snapshot(folder):
    patch = FAILING.format("raise OSError(5, 'cannot be read', 'p3.jpg')")
    ends = many.run_group(folder, 2, script(folder, patch), *LONG)
    assert [code for code, _, _ in ends] == [1, 1]
    line = one_line(ends)
    assert line.startswith("error: rank 1: ") and "p3.jpg" in line
    assert "iteration 7 is in a snapshot" in line and tiny_run.snapshots(folder) == [7]


@pytest.mark.long
def test_a_layer_that_ends_its_rank_ends_all(folder):
    patch = FAILING.format("sys.exit(7)")
    ends = many.run_group(folder, 2, script(folder, patch), *LONG)
    assert [code for code, _, _ in ends] == [1, 1]
    line = one_line(ends)
    assert line.startswith("error: rank 1: ended by sys.exit(7)")
    assert "iteration 7 is in a snapshot" in line


@pytest.mark.long
def test_a_loss_that_is_no_number_in_one_rank_ends_all_without_a_snapshot(folder):
    patch = FAILING.format("top[0].data[...] = float('nan')")
    ends = many.run_group(folder, 2, script(folder, patch), *LONG)
    assert [code for code, _, _ in ends] == [1, 1]
    line = one_line(ends)
    assert line.startswith("error: rank 1: iteration 7: loss is not finite")
    assert not tiny_run.snapshots(folder)


@pytest.mark.long
def test_a_first_rank_that_scores_for_long_is_waited_for(folder):
    patch = """
from tools import score
really = score.score_solver
def score_solver(*args, **more):
    time.sleep(6)
    return really(*args, **more)
score.score_solver = score_solver
"""
    more = ("--iterations", "8", "--score-every", "4", "--heartbeat", "3")
    ends = many.run_group(folder, 2, script(folder, patch), *LONG[:5], *more)
    assert [code for code, _, _ in ends] == [0, 0], ends


@pytest.mark.long
def test_a_first_rank_that_scores_when_another_is_killed_ends_soon_with_a_snapshot(folder):
    patch = """
from tools import score
def score_solver(*args, **more):
    open("scoring", "w").close()
    time.sleep(600)
score.score_solver = score_solver
"""
    more = ("--iterations", "80", "--score-every", "4")
    with many.Group(folder, 2, script(folder, patch), *LONG[:5], *more) as group:
        many.wait_for((folder / "scoring").exists, "no scoring")
        group.processes[1].kill()
        ends = group.end(timeout=100)
    assert ends[0][0] == 1
    assert "iteration 4 is in a snapshot" in one_line(ends, skip=[1])
    assert tiny_run.snapshots(folder) == [4]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_stops_all_after_the_same_iteration(begun, folder, rank):
    group = begun(2)
    group.processes[rank].send_signal(signal.SIGTERM)
    ends = group.end()
    assert [code for code, _, _ in ends] == [143, 143], ends
    (line,) = [line for line in ends[0][2] if line.startswith("stopped at iteration")]
    last = int(re.search(r"\d+", line)[0])
    assert tiny_run.snapshots(folder)[-1] == last
    assert json.loads((folder / f"out/train_iter_{last}.position.json").read_text())["iter"] == last


# -- torchrun itself ----------------------------------------------------------------------------


@pytest.fixture
def run_by_torchrun(folder):
    """run_by_torchrun(*options) -> (torchrun, its workers by rank), after the first snapshot."""
    started = []

    def start(*options, args=LONG):
        process = many.torchrun(
            folder, ["--standalone", "--nproc-per-node", "2", *options], many.SOLVE, *args
        )
        many.wait_for(lambda: process.poll() is not None or tiny_run.snapshots(folder), "begin")
        found = many.workers(process)
        started.append((process, found))
        return process, found

    yield start
    for process, found in started:
        for number in found.values():
            kill(number)
        process.kill()
        process.communicate()


def kill(number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("number", [
    signal.SIGTERM, signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.long)
])  # fmt: skip
def test_a_signal_to_torchrun_stops_all_with_a_snapshot(run_by_torchrun, folder, number):
    process, _ = run_by_torchrun()
    process.send_signal(number)
    _, lines = many.ended(process)
    (line,) = [line for line in lines if line.startswith("stopped at iteration")]
    assert int(re.search(r"\d+", line)[0]) == tiny_run.snapshots(folder)[-1]


@pytest.mark.long
def test_of_a_torchrun_that_is_killed_the_workers_stop_with_a_snapshot(run_by_torchrun, folder):
    process, workers = run_by_torchrun()
    process.kill()
    _, lines = many.ended(process)
    many.wait_for(lambda: not any(map(alive, workers.values())), "workers are left")
    assert any("torchrun is gone: stopped at iteration" in line for line in lines)


@pytest.mark.long
def test_of_a_torchrun_that_is_killed_as_it_starts_its_workers_none_is_left(folder):
    process = many.torchrun(folder, ["--standalone", "--nproc-per-node", "2"], many.SOLVE, *LONG)
    found = many.wait_for(lambda: len(many.workers(process)) == 2 and many.workers(process), "none")
    process.kill()
    _, lines = many.ended(process)
    many.wait_for(lambda: not any(map(alive, found.values())), "workers are left")
    assert any("has torchrun ended?" in line for line in many.errors(lines)), lines


def alive(number):
    try:
        os.kill(number, 0)
        return True
    except ProcessLookupError:
        return False


@pytest.mark.long
def test_torchrun_starts_a_training_again_that_lost_a_rank(run_by_torchrun, folder):
    args = (*GO_ON, *LONG[2:4], *LONG[7:], "--iterations", "300")
    process, workers = run_by_torchrun("--max-restarts", "2", args=args)
    os.kill(workers[1], signal.SIGKILL)
    code, lines = many.ended(process)
    assert code == 0, lines
    assert any(line.startswith("resumed from") for line in lines)
    assert tiny_run.snapshots(folder)[-1] == 300
