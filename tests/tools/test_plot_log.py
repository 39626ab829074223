"""Loss curves out of logs with Caffe's own lines."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from tests.helpers.processes import environment
from tools import plot_log
from tools.common.cli import UserError

LOG = """\
I1122 08:51:09.239583 15557 solver.py:1] Iteration 0 (0 iter/s, 4.1s/10 iters), loss = 3.04452
I1122 08:51:09.239590 15557 solver.py:1]     Train net output #0: loss = 9 (* 1 = 9 loss)
I1122 08:51:09.240930 15557 solver.cpp:105] Iteration 0, lr = 1e-05
I1122 08:51:48.810059 15557 solver.cpp:218] Iteration 10 (0.25 iter/s, 39.5s/10 iters), loss = 2.5
I1122 08:51:48.810289 15557 solver.cpp:105] Iteration 10, lr = 9.0e-06
I1122 08:51:48.810289 15557 solver.cpp:330] Iteration 20, loss = 1.5
I1122 08:51:48.810289 15557 solver.cpp:330] Iteration 20, Testing net (#0)
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(LOG)
    return path


def test_losses_and_rates_are_read_in_every_form_that_caffe_writes(log):
    losses, rates = plot_log.read_log(log)
    assert losses == {0: 3.04452, 10: 2.5, 20: 1.5}
    assert rates == {0: 1e-05, 10: 9e-06}


def test_a_resumed_run_replaces_the_iterations_that_it_repeats(log):
    log.write_text(LOG + LOG.replace("2.5", "2.25"))
    assert plot_log.read_log(log)[0] == {0: 3.04452, 10: 2.25, 20: 1.5}


def test_a_curve_is_drawn(log, tmp_path):
    assert plot_log.main([str(log), "--out", str(tmp_path / "plots/loss.png")]) == 0
    with Image.open(tmp_path / "plots/loss.png") as picture:
        assert picture.width > 600 and len(picture.convert("RGB").getcolors(1 << 16)) > 2


@pytest.mark.parametrize("text", [None, "nothing of the kind\n"])
def test_a_file_that_is_missing_or_no_log_is_one_line_naming_it(tmp_path, text):
    path = tmp_path / "x.log"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match="x.log"):
        plot_log.read_log(path)


def test_a_run_resumed_with_another_display_is_one_curve(log):
    log.write_text(LOG + LOG.replace("Iteration 10", "Iteration 5"))
    assert [list(found) for found in plot_log.read_log(log)] == [[0, 5, 10, 20], [0, 5, 10]]


def test_what_is_no_number_in_another_caffes_log_is_left_out_of_the_curve(log):
    log.write_text(LOG.replace("2.5", "-1.#IND"))
    assert np.isnan(plot_log.read_log(log)[0][10])


def test_logs_of_one_name_are_told_apart_by_their_folders(log, tmp_path, monkeypatch):
    other = tmp_path / "other/train.log"
    other.parent.mkdir()
    other.write_text(LOG)
    labels = []
    monkeypatch.setattr(Axes, "legend", lambda axes, **_: labels.extend(
        text for text in axes.get_legend_handles_labels()[1]))  # fmt: skip
    plot_log.plot([str(log), str(other)], tmp_path / "x.png")
    assert labels == [f"loss, {tmp_path.name}/train.log", "loss, other/train.log"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train.lgo", "no such file; did you mean .*train.log"),
        ("net.caffemodel", "is a caffemodel, not a text file"),
        ("train.log", "is one of the logs"),
        ("", "is a folder"),
    ],
)
def test_a_wrong_call_draws_nothing(log, tmp_path, name, said):
    (tmp_path / "net.caffemodel").write_bytes(b"\n\1x\0")
    with pytest.raises(UserError, match=said):
        plot_log.main([str(tmp_path / name), "--out", str(log)])
    assert log.read_text() == LOG


def test_a_log_far_too_large_is_refused_before_it_is_read(tmp_path, log):
    os.truncate(log, 50 << 30)
    with pytest.raises(UserError, match=r"train\.log: 53687091200 bytes are more than"):
        plot_log.main([str(log), "--out", str(tmp_path / "a.png")])


@pytest.mark.slow
def test_matplotlibs_settings_in_the_working_folder_have_no_say(tmp_path, log, root):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.dpi: 7\n")
    run = subprocess.run(
        [sys.executable, root / "tools/plot_log.py", log, "--out", "a.png"],
        cwd=tmp_path, env=environment(root), capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 700


def metrics_of(tmp_path, name="run"):
    path = tmp_path / name / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(
        '{"iter": 0, "loss": 3.0, "lr": 0.1, "seconds": 1, "memory": 5}\n'
        '{"iter": 4, "scores": {"mean_iu": 0.25}, "classes": {"sky": 0.5, "road": 0.0}}\n'
        '{"iter": 8, "loss": null, "lr": 0.1, "seconds": 2, "memory": 5}\n'
        '{"iter": 8, "scores": {"mean_iu": null}, "classes": {"sky": null, "road": 0.1}}\n{"it'
    )
    return path


def test_scores_of_a_trainings_metrics_are_drawn_below_its_losses(log, tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(Axes, "legend", lambda axes, **_: labels.extend(
        text for text in axes.get_legend_handles_labels()[1]))  # fmt: skip
    out, path = tmp_path / "a.png", metrics_of(tmp_path)
    assert plot_log.main([str(path), "--out", str(out)]) == 0
    assert labels == ["loss, metrics.jsonl", "sky", "road", "mean IU"]
    plot_log.main([str(log), "--out", str(tmp_path / "b.png")])
    with Image.open(out) as both, Image.open(tmp_path / "b.png") as alone:
        assert both.height == 2 * alone.height
    labels.clear()
    plot_log.main([str(path), str(metrics_of(tmp_path, "other")), str(log), "--out", str(out)])
    assert labels[3:] == ["mean IU, run/metrics.jsonl", "mean IU, other/metrics.jsonl"]


def test_a_table_is_made_of_a_trainings_metrics(log, tmp_path):
    path, table = metrics_of(tmp_path), tmp_path / "metrics.csv"
    assert plot_log.main([str(path), "--csv", str(table)]) == 0
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == [
        "iter",
        "0",
        "4",
        "8",
    ]
    assert plot_log.main([str(path), "--csv", str(table)]) == 0
    for words in ([str(log)], [str(path), str(path)]):
        with pytest.raises(UserError, match="--csv .*: is made of one metrics.jsonl"):
            plot_log.main([*words, "--csv", str(table)])
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="mine.csv: the file that is there is not a table"):
        plot_log.main([str(path), "--csv", str(tmp_path / "mine.csv")])
    with pytest.raises(UserError, match="is one of the logs"):
        plot_log.main([str(path), "--csv", str(path)])


def test_metrics_of_a_run_that_has_displayed_nothing_are_told(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"it')
    with pytest.raises(UserError, match="metrics.jsonl: has no whole line yet"):
        plot_log.main([str(path), "--out", str(tmp_path / "a.png")])
