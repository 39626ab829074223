"""The lines of a training's metrics.jsonl, read back."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tools.common import run_metrics
from tools.common.cli import UserError

LINES = [
    {"iter": 0, "loss": 3.0, "lr": 0.1, "seconds": 1.0, "memory": 5.0},
    {"iter": 4, "scores": {"mean_iu": 0.25, "loss": None}, "classes": {"sky": 0.5, "a, b": None}},
    {"iter": 4, "loss": None, "lr": None, "seconds": 2.0, "memory": None},
]


def written(tmp_path, text=""):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + text)
    return str(path)


@pytest.mark.parametrize("text", ["", '{"iter": 8, "lo', "{", '{"iter": 8}', "7"])
def test_a_last_line_that_is_half_written_is_no_fault(tmp_path, text):
    assert run_metrics.read(written(tmp_path, text)) == LINES


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"iter": "x", "loss": 1}', '{"iter": 1, "scores": 2}']
)
def test_a_damaged_line_within_is_named(tmp_path, line):
    with pytest.raises(UserError, match="metrics.jsonl:4: is no line of a training's metrics"):
        run_metrics.read(written(tmp_path, f'{line}\n{{"iter": 8, "loss": 1}}\n'))


def test_curves_are_by_iteration():
    assert run_metrics.displayed(LINES, "loss")[0] == 3.0
    assert np.isnan(run_metrics.displayed(LINES, "loss")[4])
    assert run_metrics.scored(LINES) == {4: 0.25}
    assert run_metrics.classes(LINES)["sky"] == {4: 0.5}


def test_the_table_has_a_row_for_each_iteration_and_a_column_for_each_class():
    first, second = csv.DictReader(run_metrics.as_csv(LINES).splitlines())
    assert first["loss"] == "3.0" and first["score mean_iu"] == first["iu sky"] == ""
    assert (second["iter"], second["loss"], second["seconds"]) == ("4", "", "2.0")
    assert (second["score mean_iu"], second["iu sky"], second["iu a, b"]) == ("0.25", "0.5", "")
    assert second["score loss"] == ""
