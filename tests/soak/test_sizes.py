"""The long training of `python -m tests.soak.sizes`, for some seconds, and what it says of one."""

import pytest

from tests.soak import sizes

STEADY = [300.0] * 5 + [400.0] * 15


def test_memory_that_stays_is_no_problem():
    assert sizes.problem_of(143, STEADY) is None


def test_memory_that_grows_is_told():
    grown = STEADY[:15] + [450.0] * 5
    assert sizes.problem_of(143, grown) == "memory grew from 400.0 to 450.0 MB"


@pytest.mark.parametrize(
    ("code", "seen", "told"),
    [(0, STEADY[:7], "ended by itself, with exit code 0"), (1, STEADY, "exit code 1 after")],
)
def test_a_training_that_ends_otherwise_is_told(code, seen, told):
    assert told in sizes.problem_of(code, seen)


@pytest.mark.slow
def test_it_trains_scores_and_stops(tmp_path, capsys):
    problem = sizes.run(tmp_path, seconds=12)
    assert problem is None or problem.startswith("memory grew"), (tmp_path / "said").read_text()
    assert len(capsys.readouterr().out.splitlines()) == 21
