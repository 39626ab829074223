"""What a training has left in its folder."""

from __future__ import annotations

import json

import pytest

from tools.common.cli import UserError
from tools.reporting import runs

SCORED = '{"iter": %d, "scores": {"mean_iu": %s}, "classes": {}}\n'


def folder_of(tmp_path, *iterations, metrics="", problems=()):
    for at in iterations:
        (tmp_path / f"train_iter_{at}.caffemodel").write_bytes(b"x")
    (tmp_path / "metrics.jsonl").write_text(metrics or '{"iter": 0, "loss": 1.0}\n')
    listed = {str(at): {"files": {}, "problem": "not finite"} for at in problems}
    (tmp_path / "train.snapshots.json").write_text(json.dumps({"snapshots": listed, "ended": None}))
    return runs.read(str(tmp_path))


def test_the_best_scored_snapshot_that_is_there_is_taken(tmp_path):
    metrics = "".join(SCORED % one for one in ((5, 0.2), (10, 0.9), (15, 0.5), (20, "null")))
    run = folder_of(tmp_path, 5, 15, 20, metrics=metrics)
    assert run.best()[0].endswith("_iter_15.caffemodel")


def test_without_scores_the_newest_is_taken_by_number(tmp_path):
    assert folder_of(tmp_path, 5, 1000, 20).best()[0].endswith("_iter_1000.caffemodel")


def test_a_snapshot_that_diverged_is_passed_over(tmp_path):
    assert folder_of(tmp_path, 5, 20, problems=[20]).best()[0].endswith("_iter_5.caffemodel")


def test_what_is_not_there_is_told(tmp_path):
    run = folder_of(tmp_path)
    assert run.best() is None
    told = "; ".join(run.missing)
    for word in ("snapshot", "receipt.json", "solver_in_force.prototxt", "--score-every"):
        assert word in told


@pytest.mark.parametrize("content", ["[]", "{", '{"snapshots": 3}', '{"snapshots": {"x": {}}}'])
def test_a_damaged_list_of_snapshots_is_as_none(tmp_path, content):
    folder_of(tmp_path, 5)
    (tmp_path / "train.snapshots.json").write_text(content)
    assert runs.read(str(tmp_path)).best() is not None


@pytest.mark.parametrize("name", [".", "absent"])
def test_a_folder_without_a_training_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="folder"):
        runs.read(str(tmp_path / name))


def test_settings_that_differ_are_told_with_what_each_run_has():
    lines = [["a: 1", "step: 1", "step: 2", "b: 3"], ["a: 1", "step: 1", "c: x: y"]]
    assert runs.differing(lines) == [("step", ["1, 2", "1"]), ("b", ["3", None]),
                                     ("c", [None, "x: y"])]  # fmt: skip
