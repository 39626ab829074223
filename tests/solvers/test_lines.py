"""Files to which a training adds lines."""

from __future__ import annotations

import json
import os

from solvers import curves, lines
from tests.helpers import tiny_run
from tools.common import run_metrics


def opened(path, kept=()):
    return lines.Lines(str(path), list(kept), run_metrics.LINES)


def test_half_a_line_is_the_last_one(tmp_path, monkeypatch, capsys):
    path, write = tmp_path / "metrics.jsonl", os.write
    file = opened(path)
    file.add({"iter": 0, "loss": 1})
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:9]))  # the disk is full
    file.add({"iter": 1, "loss": 1})
    monkeypatch.setattr(os, "write", write)  # and has room again
    file.add({"iter": 2, "loss": 1})
    file.close()
    assert path.read_text() == '{"iter": 0, "loss": 1}\n{"iter": '
    assert capsys.readouterr().err.count("nothing more is written there (No space left") == 1
    assert [one["iter"] for one in run_metrics.read(str(path))] == [0]


def test_a_file_that_stays_as_it_is_can_be_added_to_by_two(tmp_path):
    kept = [{"iter": 0, "loss": 1}]
    one = opened(tmp_path / "metrics.jsonl", kept)
    other = opened(tmp_path / "metrics.jsonl", kept)
    one.add({"iter": 1, "loss": 1})
    other.add({"iter": 2, "loss": 1})
    assert [n["iter"] for n in run_metrics.read(one.path)] == [0, 1, 2]
    one.close()
    other.close()


def test_what_is_left_of_half_a_line_is_taken_away(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iter": 0, "loss": 1}\n{"iter": 1, "lo')
    found = curves.Curves(str(tmp_path), 1)
    found.close()
    assert path.read_text() == '{"iter": 0, "loss": 1}\n'


def test_an_end_that_is_reached_already_takes_nothing_away(call, folder):
    assert call("--weights", "init.caffemodel")[0] == 0
    names = ("metrics.jsonl", "train.snapshots.json", "losses.jsonl", "receipt.json")
    before = {name: (folder / "out" / name).read_bytes() for name in names}
    assert [json.loads(n)["iter"] for n in before[names[0]].splitlines()] == [0, 4, 8]
    state = "out/train_iter_5.solverstate"
    for end in (("--iterations", "5"), ("--stop-at", "4")):
        code, said = call("--resume", state, *end, "--score-every", "5")
        assert code == 0 and "is reached already" in said[-1]
        assert {name: (folder / "out" / name).read_bytes() for name in names} == before
    assert tiny_run.snapshots(folder) == [5, 10, 12]
