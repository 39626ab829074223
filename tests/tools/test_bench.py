"""The bench as a whole: it runs, measures every side and refuses wrong calls. No times."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tools import bench
from tools.benchmark import (
    goals as bench_goals,
)
from tools.common import cli

SHRINK = 16


def error_of(argv, capsys):
    """(exit code, stderr) of bench.py."""
    with pytest.raises(SystemExit) as caught:
        cli.run(bench.main, argv)
    return caught.value.code, capsys.readouterr().err


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small run: exit code, the JSON, the report, the folder."""
    out = tmp_path_factory.mktemp("out")
    code = bench.main(
        f"--quick --sizes 64x64 --shrink {SHRINK} --rounds 1 --sides engine,torch,ceiling"
        f" --measures forward,score --out {out}".split()
    )
    data = json.loads((out / "performance.json").read_text())
    return SimpleNamespace(code=code, data=data, out=out, text=(out / "performance.md").read_text())


@pytest.mark.slow
def test_a_run_measures_every_side_and_says_so(ran):
    assert ran.code == 0
    forward, score = ran.data["results"]
    assert list(forward["sides"]) == ["engine", "torch", "ceiling"] and not forward["failed"]
    for side in ("engine", "torch"):
        found = forward["sides"][side]
        assert len(found["seconds"]) == 1 and 0 < found["seconds"][0] < found["cold"]
    assert forward["sides"]["ceiling"]["rate"][0] > 0
    losses = [forward["sides"][side]["loss"] for side in ("engine", "torch")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    engine = score["sides"]["engine"]
    assert 0 < engine["reading"][0] < engine["forwards"][0] < engine["seconds"][0]


@pytest.mark.slow
def test_the_report_has_every_part_and_no_goal_that_was_not_measured(ran):
    for part in ("## Goals", "## Forward pass", "## Scoring", "--shrink 16"):
        assert part in ran.text
    goals = ran.text.split("## Goals")[1].split("##")[0]
    assert goals.count("not measured") == len(bench_goals.GOALS) - 1  # score's share alone
    assert "NaN" not in (ran.out / "performance.json").read_text()


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--nets", "alexnet"], "--nets alexnet: not one of dilated-fcn2s-vgg16"),
        (["--measures", "forward,speed"], "--measures speed: not one of forward"),
        (["--sides", "engine,tensorflow"], "--sides tensorflow: not one of engine"),
        (["--sides", ","], "--sides: names none"),
        (["--sizes", "500"], "--sizes: expected HxW"),
        (["--rounds", "0"], "--rounds 0"),
        (["--threads", "-1"], "--threads -1"),
        (["--gpu", "99"], "--gpu 99: there is no such GPU"),
        (["--gpu", "-1"], "--gpu -1: there is no such GPU"),
    ],
)
def test_a_wrong_call_is_one_line(capsys, tmp_path, argv, words):
    code, said = error_of([*argv, "--out", str(tmp_path)], capsys)
    assert code == 2 and said.startswith(f"error: {words}") and said.count("\n") == 1


def test_bvlc_caffe_that_is_not_installed_is_left_out(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("BVLC_ROOT", str(tmp_path / "none"))
    code, said = error_of(["--sides", "bvlc", "--out", str(tmp_path)], capsys)
    assert code == 2 and said.count("\n") == 1 and "tools/bvlc-caffe install" in said


def test_a_data_set_without_a_list_is_refused_before_anything_is_measured(capsys, tmp_path):
    argv = ["--data", str(tmp_path), "--out", str(tmp_path), "--measures", "score"]
    code, said = error_of(argv, capsys)
    assert code == 2 and said.count("\n") == 1 and "val.txt cannot be read" in said


@pytest.mark.parametrize("name", ["performance.md", "performance.json", "performance.png"])
def test_a_file_of_somebody_elses_is_kept_and_nothing_is_measured(capsys, tmp_path, name):
    (tmp_path / name).write_text("notes")
    code, said = error_of(["--quick", "--sides", "engine", "--out", str(tmp_path)], capsys)
    assert code == 2 and said.count("\n") == 1 and f"{name}: the file that is there is not" in said
    assert (tmp_path / name).read_text() == "notes"
