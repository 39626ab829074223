from __future__ import annotations

import pytest

from solvers import resume
from tools.common.cli import UserError


class Broken(Exception):
    exit_code = 2


class FakeSolver:
    """Restores every state but the broken ones."""

    def __init__(self, broken=()):
        self.broken, self.asked = broken, []

    def restore(self, path):
        self.asked.append(path)
        if path in self.broken:
            raise Broken("cut short")


@pytest.fixture
def states(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "s_iter_9.solverstate", "s_iter_100.solverstate", "s_iter_20.solverstate.h5",
        "s_iter_300.caffemodel", "xs_iter_400.solverstate", "s_iter_500.solverstate.part",
        ".s_iter_600.solverstate", "s2_iter_700.solverstate", "s_iter_x.solverstate",
    ):  # fmt: skip
        (tmp_path / name).write_text("")


def test_snapshots_of_the_prefix_come_newest_first_by_number(states):
    assert [i for i, _ in resume.snapshots("s")] == [100, 20, 9]
    assert resume.snapshots("s")[0][1] == "s_iter_100.solverstate"


def test_signs_in_a_prefix_are_taken_as_they_are(tmp_path):
    (tmp_path / "a+b_iter_1.solverstate").write_text("")
    (tmp_path / "aab_iter_2.solverstate").write_text("")
    assert [i for i, _ in resume.snapshots(str(tmp_path / "a+b"))] == [1]


def test_no_folder_or_no_snapshot_is_none(states):
    assert resume.restore_newest(FakeSolver(), "nowhere/s") is None
    assert resume.restore_newest(FakeSolver(), "other") is None


def test_a_broken_snapshot_is_passed_over_with_a_warning(states, capsys):
    solver = FakeSolver(["s_iter_100.solverstate"])
    assert resume.restore_newest(solver, "s") == "s_iter_20.solverstate.h5"
    assert capsys.readouterr().err == "warning: passed over: s_iter_100.solverstate: cut short\n"


def test_only_broken_snapshots_are_an_error(states):
    solver = FakeSolver([path for _, path in resume.snapshots("s")])
    with pytest.raises(UserError, match="none of the 3 snapshots s_iter"):
        resume.restore_newest(solver, "s")


def test_an_unforeseen_error_is_not_passed_over(states):
    class Wrong(FakeSolver):
        def restore(self, path):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        resume.restore_newest(Wrong(), "s")
