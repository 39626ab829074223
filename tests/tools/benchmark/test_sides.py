"""Sides in processes of their own, also those that go wrong, and how their times are summed up."""

from __future__ import annotations

import pytest

from tools.benchmark import (
    sides as bench_sides,
)
from tools.common.cli import Failure


def test_spreads_and_ratios():
    assert bench_sides.spread([3.0, None, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
    assert bench_sides.spread([None]) is None
    assert bench_sides.ratios([4.0, 9.0], [2.0, 3.0])["median"] == 2.5


@pytest.mark.slow
def test_a_side_that_dies_drops_out_and_the_others_go_on(capsys):
    with bench_sides.Team() as team:
        team.start("ceiling", 1, None)
        team.start("torch", 1, None)
        assert team.call("ceiling", "open", job={"product": 8}) == {}
        team.workers["torch"].process.kill()
        answers = team.turns(2, "run", lambda name: None)
    assert list(answers) == ["ceiling"] and len(answers["ceiling"]) == 2
    assert "the process ended (signal 9)" in team.failed["torch"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_worker_that_gives_no_answer_in_time_is_ended():
    with bench_sides.Worker("ceiling", 1, patience=0.0) as worker:
        with pytest.raises(Failure, match="^ceiling: about: no answer in 0 s$"):
            worker.call("about")
        assert worker.process.poll() is not None


@pytest.mark.slow
def test_what_a_worker_cannot_do_is_one_line():
    said = "^ceiling: open: KeyError: 'product'$"
    with bench_sides.Worker("ceiling", 1) as worker:
        with pytest.raises(Failure, match=said):
            worker.call("open", job={})
        assert worker.call("about")["threads"] == 1  # and the worker goes on
