"""Snapshots and what is written beside them replace nothing that no training has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from caffe.engine import Error, InputError
from tests.helpers.net_texts import SNAPSHOTS, data, ip, losses

NET = data(4, 3) + data(4, name="label") + ip("ip", "data", 5) + losses()
LAST = SNAPSHOTS + "max_iter: 4 "


@pytest.mark.parametrize("name", ["s.lock", "s.run.json"])
@pytest.mark.parametrize("content", ['{"name": "poetry"}', "[[package]]\n", "{}", "run lineage"])
def test_a_lock_or_list_of_somebody_elses_is_kept(make_solver, name, content):
    Path(name).write_text(content)
    solver = make_solver(NET, LAST)
    with pytest.raises(InputError, match=f"{name}: cannot be written: .*another snapshot_prefix"):
        solver.solve()
    assert Path(name).read_text() == content and solver.iter == 0


def test_weights_without_a_solverstate_are_kept_before_the_first_iteration(make_solver):
    Path("s_iter_4.caffemodel").write_bytes(b"the only copy")
    solver = make_solver(NET, LAST)
    with pytest.raises(InputError, match="s_iter_4.caffemodel: is there already, and is of no"):
        solver.solve()
    assert solver.iter == 0
    assert Path("s_iter_4.caffemodel").read_bytes() == b"the only copy"


def test_weights_that_came_meanwhile_are_kept(make_solver):
    solver = make_solver(NET, LAST)
    solver.step(3)
    Path("s_iter_3.caffemodel").write_bytes(b"the only copy")
    with pytest.raises(Error, match="s_iter_3.caffemodel: is there already, and is of no"):
        solver.snapshot()
    assert Path("s_iter_3.caffemodel").read_bytes() == b"the only copy"


def test_a_last_snapshot_in_whose_place_something_is_goes_elsewhere(
    make_solver, monkeypatch, tmp_path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    solver = make_solver(NET, LAST)
    solver.step(3)
    Path("s_iter_3.caffemodel").write_bytes(b"the only copy")
    with pytest.raises(Error, match="is of no snapshot .* is in .*solverstate instead"):
        solver.last_snapshot()
    assert Path("s_iter_3.caffemodel").read_bytes() == b"the only copy"
    assert len(list(tmp_path.glob("**/snapshot-*/s_iter_3.solverstate"))) == 1


def test_weights_of_iterations_that_are_not_written_are_no_matter(make_solver):
    Path("s_iter_9.caffemodel").write_bytes(b"the only copy")
    solver = make_solver(NET, LAST)
    solver.solve()
    assert Path("s_iter_9.caffemodel").read_bytes() == b"the only copy"


def test_snapshots_of_an_earlier_training_are_replaced_as_bvlc_caffe_has_it(make_solver):
    make_solver(NET, LAST).solve()
    first = Path("s_iter_4.caffemodel").read_bytes()
    make_solver(NET, LAST, seed=3).solve()
    assert Path("s_iter_4.caffemodel").read_bytes() != first


def test_a_snapshot_of_which_only_the_position_was_written_is_replaced(make_solver):
    """A kill between the renames leaves it so; the training comes by again."""
    make_solver(NET, LAST).solve()
    Path("s_iter_4.solverstate").unlink()
    make_solver(NET, LAST).solve()
    assert Path("s_iter_4.solverstate").is_file()


def test_a_prefix_may_begin_with_the_home_folder(make_solver, monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    settings = LAST.replace('snapshot_prefix: "s"', 'snapshot_prefix: "~/s"')
    make_solver(NET, settings).solve()
    assert (home / "s_iter_4.solverstate").is_file() and not Path("~").exists()


def test_a_folder_that_is_called_so_stays_meant(make_solver, monkeypatch, tmp_path):
    Path("~").mkdir()
    settings = LAST.replace('snapshot_prefix: "s"', 'snapshot_prefix: "~/s"')
    make_solver(NET, settings).solve()
    assert Path("~/s_iter_4.solverstate").is_file()
    shutil.rmtree("~")
