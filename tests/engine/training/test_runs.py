"""Whose snapshots lie at a prefix: the lock, and branches that a training has left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from caffe.engine import InputError, snapshots
from tests.helpers.net_texts import CLASSIFIER, SNAPSHOTS
from tests.helpers.processes import environment, gone


def usable(prefix="s"):
    return [iteration for iteration, _, problem in snapshots(prefix) if problem is None]


def trained(make_solver, steps, resume=None, snapshot=True):
    """A solver that was trained to iteration `steps`, from a solverstate if one is given."""
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    if resume:
        solver.restore(resume)
    solver.reserve_snapshots()
    solver.step(steps - solver.iter)
    if snapshot:
        solver.snapshot()
    return solver


def test_snapshots_of_one_training_and_of_those_that_go_on_from_it_are_all_its_own(make_solver):
    trained(make_solver, 2)
    trained(make_solver, 4, "s_iter_2.solverstate")
    trained(make_solver, 6, "s_iter_4.solverstate")
    assert usable() == [6, 4, 2]


@pytest.mark.parametrize("snapshot", [True, False])
def test_what_lies_beyond_the_iteration_that_a_training_went_back_to_is_another_branch(
    make_solver, snapshot
):
    """From the new training's first iteration on, whether it has written a snapshot or not."""
    trained(make_solver, 2)
    trained(make_solver, 6, "s_iter_2.solverstate")
    trained(make_solver, 4, "s_iter_2.solverstate", snapshot)
    assert usable() == ([4, 2] if snapshot else [2])
    problem = next(problem for iteration, _, problem in snapshots("s") if iteration == 6)
    assert "went back to iteration 2" in problem


def test_a_training_that_starts_anew_leaves_the_earlier_ones_snapshots_alone(make_solver):
    trained(make_solver, 6)
    trained(make_solver, 2)
    assert usable() == [2]


def test_a_folder_that_was_copied_goes_on_by_itself(make_solver, tmp_path, monkeypatch):
    solver = trained(make_solver, 2)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("s*"):
        shutil.copy(path, copy)
    solver.step(2)  # the original goes on, and its weights change
    solver.snapshot()
    monkeypatch.chdir(copy)
    assert usable() == [2]


@pytest.mark.parametrize("later", [True, False])
def test_snapshots_without_an_id_count_where_bvlc_caffe_wrote_them_since(make_solver, later):
    trained(make_solver, 4)
    trained(make_solver, 2)
    os.unlink("s_iter_4.position.json")
    now = os.stat("s.run.json").st_mtime
    os.utime("s_iter_4.solverstate", (now, now + (10 if later else -10)))
    assert usable() == ([4, 2] if later else [2])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"run": 1}',
        '{"run": "a", "lineage": [[1]]}',
        '{"run": "a", "lineage": [["b", 1e400]]}',
    ],
)
def test_a_damaged_list_of_runs_refuses_no_snapshot(make_solver, tmp_path, text):
    trained(make_solver, 2)
    (tmp_path / "s.run.json").write_text(text)
    assert usable() == [2]


HOLD = """
import time
import caffe
solver = caffe.get_solver("solver.prototxt")
solver.reserve_snapshots()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(make_solver, tmp_path, root):
    """A process that trains at the prefix `s`."""
    make_solver(CLASSIFIER, SNAPSHOTS)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=environment(root) | {"GLOG_minloglevel": "2"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_training_at_a_prefix_is_refused_and_told_of_the_first(holder, make_solver):
    solver = make_solver(CLASSIFIER, SNAPSHOTS + "snapshot: 5")
    for start in (solver.reserve_snapshots, solver.snapshot, lambda: solver.step(1)):
        with pytest.raises(InputError, match=f"'s': another training.*process {holder.pid} on "):
            start()


def test_a_training_that_was_killed_holds_its_prefix_no_more(holder, make_solver):
    holder.kill()
    assert gone(holder.pid)
    make_solver(CLASSIFIER, SNAPSHOTS).reserve_snapshots()


def test_a_solver_holds_its_prefix_as_long_as_it_is_there(make_solver, root):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.reserve_snapshots()
    second = make_solver(CLASSIFIER, SNAPSHOTS)
    second.reserve_snapshots()  # of the same process
    check = "import caffe; caffe.get_solver('solver.prototxt').reserve_snapshots()"

    def refused():
        run = subprocess.run(
            [sys.executable, "-c", check], env=environment(root), capture_output=True, text=True
        )
        return "another training" in run.stderr

    del second
    assert refused()
    del solver
    assert not refused()


def test_a_prefix_by_way_of_a_link_is_the_same(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.reserve_snapshots()
    (tmp_path / "link").symlink_to(tmp_path)
    linked = make_solver(CLASSIFIER, SNAPSHOTS.replace('"s"', '"link/s"'))
    linked.reserve_snapshots()  # of the same process


def test_a_forked_process_does_not_hold_the_prefix(make_solver, root):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.reserve_snapshots()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)  # until the parent lets it go
        os._exit(0)
    try:
        del solver
        check = "import caffe; caffe.get_solver('solver.prototxt').reserve_snapshots()"
        run = subprocess.run([sys.executable, "-c", check], env=environment(root))
        assert run.returncode == 0
    finally:
        os.close(write)
        os.waitpid(child, 0)


def test_a_solver_without_snapshots_needs_no_place_for_them(make_solver, tmp_path):
    settings = SNAPSHOTS.replace('snapshot_prefix: "s"', 'snapshot_prefix: "none/s"')
    assert settings != SNAPSHOTS
    make_solver(CLASSIFIER, settings).step(1)
    assert not (tmp_path / "none").exists()
