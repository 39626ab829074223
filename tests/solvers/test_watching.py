"""What a training leaves beside its snapshots, and that watching it changes none of its bits."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import caffe
from solvers import curves, divergence, snapshots, strips, watching
from tests.helpers import tiny_run
from tools.common import run_metrics
from tools.common.cli import UserError
from tools.common.metrics import metrics as plain

INIT = ("--weights", "init.caffemodel")
MORE = ("--set", "base_lr=1e-4", "--set", "snapshot=3")
"""A rate at which scores change, and snapshots that are no multiples of a display."""


def metrics(folder, timed=False):
    """The lines of metrics.jsonl; without what no two runs have alike, unless `timed`."""
    lines = [json.loads(line) for line in (folder / "out/metrics.jsonl").read_text().splitlines()]
    for line in lines if not timed else []:
        for key in ("seconds", "memory"):
            line.pop(key, None)
    return lines


def everything(folder):
    """What a run leaves that is to be the same when it was resumed."""
    pictures = {p.relative_to(folder): p.read_bytes() for p in folder.glob("out/watch/**/*.png")}
    return metrics(folder), tiny_run.snapshots(folder), pictures, tiny_run.result(folder, 12)


def go_back(folder, iteration):
    """Take away what a run that was killed right behind a snapshot would not have written."""
    for path in folder.glob("out/*_iter_*"):
        if int(path.name.split("_")[2].split(".")[0]) > iteration:
            path.unlink()
    with open(folder / "out/metrics.jsonl", "a") as file:
        file.write('{"iter": 12, "lo')


def test_displays_and_scores_stand_in_metrics_jsonl(call, folder):
    assert call(*INIT, *MORE, "--score-every", "5") == (0, [])
    lines = metrics(folder, timed=True)
    assert [(one["iter"], "scores" in one) for one in lines] == [
        (0, False), (4, False), (5, True), (8, False), (10, True),
    ]  # fmt: skip
    assert set(lines[0]) == {"iter", "loss", "lr", "seconds", "memory"}
    assert lines[1]["lr"] == pytest.approx(1e-4) and lines[1]["memory"] > 10
    assert 0 < lines[0]["seconds"] <= lines[1]["seconds"] <= lines[3]["seconds"]
    assert set(lines[2]["scores"]) == {
        "pixel_accuracy", "mean_accuracy", "mean_iu", "fw_iu", "loss",
    }  # fmt: skip
    ius = lines[2]["classes"]
    assert list(ius) == ["0", "1", "2"]
    assert np.mean(list(ius.values())) == pytest.approx(lines[2]["scores"]["mean_iu"])


def test_the_loss_that_is_kept_is_the_one_that_the_log_shows(call, folder, monkeypatch):
    shown = []
    monkeypatch.setattr("caffe.training.solver.log", lambda line, *more: shown.append(line))
    assert call(*INIT, *MORE, "--score-every", "3")[0] == 0
    losses = [line.split("loss = ")[1] for line in shown if ", loss = " in line]
    kept = [one["loss"] for one in metrics(folder) if "loss" in one]
    assert [f"{loss:.6g}" for loss in kept] == losses and len(kept) == 3


@pytest.mark.parametrize("back", [3, 9])
def test_a_resumed_training_leaves_what_one_that_was_never_stopped_does(call, folder, back):
    options = (*MORE, "--score-every", "2", "--keep", "last:9", "--watch", "p2,p0")
    assert call(*INIT, *options)[0] == 0
    through = everything(folder)
    assert set(through[2]) >= {
        tiny_run.Path("out/watch/p2.png"), tiny_run.Path("out/watch/p0/iter_8.png"),
    }  # fmt: skip
    go_back(folder, back)
    code, err = call("--resume", "auto", *options)
    assert code == 0 and f"at iteration {back}" in err[0]
    assert everything(folder) == through


def test_a_score_that_the_killed_run_did_not_come_to_is_made_first(call, folder):
    options = (*MORE, "--score-every", "3")
    call(*INIT, *options)
    through = everything(folder)
    go_back(folder, 6)
    path = folder / "out/metrics.jsonl"
    lines = [line for line in path.read_text().splitlines() if line.startswith('{"iter": 6')]
    assert len(lines) == 1
    path.write_text("".join(
        line + "\n" for line in path.read_text().splitlines() if line not in lines
    ))  # fmt: skip
    assert call("--resume", "auto", *options)[0] == 0
    assert everything(folder) == through


def test_watching_changes_no_bit_of_the_training(call, folder):
    assert call(*INIT, *MORE) == (0, [])
    plain = tiny_run.result(folder, 12)
    displays = [one for one in metrics(folder) if "loss" in one]
    shutil.rmtree(folder / "out")
    watched = ("--score-every", "3", "--keep", "best,last:2", "--stop-early", "50")
    assert call(*INIT, *MORE, *watched) == (0, [])
    assert tiny_run.result(folder, 12) == plain
    assert [one for one in metrics(folder) if "loss" in one] == displays


def test_a_test_net_that_draws_at_random_changes_no_bit_of_the_training(call, folder):
    assert call(*INIT, *MORE) == (0, [])
    plain = tiny_run.result(folder, 12)
    shutil.rmtree(folder / "out")
    noise = """layer { name: "noise" type: "DummyData" top: "noise" dummy_data_param {
      shape { dim: 3 } data_filler { type: "gaussian" } } }
    layer { name: "quiet" type: "Silence" bottom: "noise" }
    """
    with open(folder / "val.prototxt", "a") as file:
        file.write(noise)
    assert call(*INIT, *MORE, "--score-every", "2")[0] == 0
    assert tiny_run.result(folder, 12) == plain


# -- pictures


def test_a_strip_stays_of_bounded_width(call, folder, monkeypatch):
    monkeypatch.setattr(strips, "LONGEST", 3)
    options = ("--score-every", "1", "--watch", "p1", "--set", "snapshot=3")
    widths = []
    for last in ("1", "3", "7"):
        assert call(*INIT, "--resume", "auto", *options, "--iterations", last)[0] == 0
        widths.append(Image.open(folder / "out/watch/p1.png").width)
    assert widths[0] < widths[1] == widths[2]
    assert len(list((folder / "out/watch/p1").iterdir())) == 7
    assert not list(folder.glob("out/watch/p0*"))


def test_the_predictions_of_a_strip_are_evenly_many():
    assert strips.spread([5], 3) == [5]
    assert strips.spread(list(range(100, 109)), 3) == [100, 104, 108]
    assert len(set(strips.spread(list(range(40)), 12))) == 12


def test_ids_with_signs_have_files_of_their_own():
    names = ["a/b", "a_b", "../x", ".hidden", "a b"]
    files = [strips.as_file(name) for name in names]
    assert len(set(files)) == 5 and files[1] == "a_b"
    assert all("/" not in file and not file.startswith(".") for file in files)


def test_three_images_spread_over_the_split_are_watched_unless_none_are_to_be(call, folder):
    call(*INIT, "--score-every", "12")
    assert sorted(p.name for p in folder.glob("out/watch/*.png")) == ["p0.png", "p1.png", "p2.png"]
    shutil.rmtree(folder / "out")
    call(*INIT, "--score-every", "12", "--watch", "")
    assert not (folder / "out/watch").exists()


def test_a_picture_of_somebody_elses_is_kept(call, folder):
    (folder / "out/watch").mkdir(parents=True)
    Image.new("RGB", (3, 3)).save(folder / "out/watch/p0.png")
    before = (folder / "out/watch/p0.png").read_bytes()
    code, err = call(*INIT, "--score-every", "4")
    assert code == 2 and "out/watch/p0.png" in err[-1]
    assert (folder / "out/watch/p0.png").read_bytes() == before


# -- wrong calls


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--keep", "best,last:2"], "--keep best: needs scores; give --score-every"),
        (["--keep", "last:0"], "--keep last:0: 'last:0': is not best, last:N or all"),
        (["--keep", "all,best"], "'all' stands alone"),
        (["--keep", ""], "--keep"),
        (["--stop-early", "2"], "--stop-early: needs scores"),
        (["--score-every", "2", "--stop-early", "0"], "--stop-early 0: must be above 0"),
        (["--watch", "p0"], "--watch: needs scores"),
        (["--score-every", "2", "--watch", "p0,q"], "--watch q: is not in"),
        (["--score-every", "-2"], "--score-every -2: must be above 0"),
    ],
)
def test_options_that_cannot_be_are_one_line(call, folder, options, said):
    code, err = call(*INIT, *options)
    assert code == 2 and len(err) == 1 and said in err[0], err
    assert not (folder / "out/metrics.jsonl").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "train.snapshots.json"])
def test_a_file_of_somebody_elses_is_kept(call, folder, name):
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("[1, 2]\n")
    code, err = call(*INIT)
    assert code == 2 and name in err[-1] and (folder / "out" / name).read_text() == "[1, 2]\n"


def test_the_options_stand_beside_the_snapshots(call, folder):
    call(*INIT, "--score-every", "6", "--keep", "last:1")
    text = (folder / "out/solver_in_force.prototxt").read_text()
    assert "# watched with --score-every 6 --keep last:1\n" in text


# -- snapshots that are kept


def test_twenty_snapshots_with_best_and_last_2_leave_three(call, folder):
    options = ("--set", "base_lr=1e-4", "--set", "snapshot=1", "--iterations", "20")
    keep = ("--score-every", "20", "--keep", "best,last:2", "--watch", "")
    assert call(*INIT, *options, *keep) == (0, [])
    scores = run_metrics.scored(metrics(folder))
    assert len(scores) == 20  # at each snapshot
    best = curves.best_of(scores)
    assert tiny_run.snapshots(folder) == sorted({best, 19, 20})
    for kind in ("caffemodel", "position.json"):
        assert len(list(folder.glob(f"out/*.{kind}"))) == len({best, 19, 20})


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [("best,last:2", 3, {3, 9, 10}), ("best,last:2", 10, {9, 10}), ("last:1", 3, {10}),
     ("best", 4, {4, 10}), ("best", None, {10}), ("last:3,best", 1, {1, 8, 9, 10})],
)  # fmt: skip
def test_what_is_kept(keep, best, left):
    assert snapshots.Keep(keep).chosen(list(range(1, 11)), best) == left


def test_the_best_snapshot_is_kept_where_the_scores_of_before_are_gone(call, folder):
    options = ("--score-every", "3", "--set", "snapshot=3", "--keep", "best,last:1")
    assert call(*INIT, *options, "--iterations", "9")[0] == 0
    path = folder / "out/train.snapshots.json"
    listed = json.loads(path.read_text())
    first, last = sorted(listed["snapshots"], key=int)[0], "9"
    listed["snapshots"][first]["mean_iu"] = 0.99
    path.write_text(json.dumps(listed))
    (folder / "out/metrics.jsonl").unlink()
    assert first != last and call("--resume", "auto", *options)[0] == 0
    assert tiny_run.snapshots(folder) == [int(first), 12]


def test_only_what_this_training_wrote_and_nobody_changed_is_deleted(call, folder):
    (folder / "out").mkdir()
    shutil.copy(folder / "init.caffemodel", folder / "out/train_iter_1.caffemodel")
    options = ("--set", "snapshot=3")
    assert call(*INIT, *options, "--iterations", "9", "--keep", "all") == (0, [])
    changed = folder / "out/train_iter_6.caffemodel"
    changed.write_bytes(changed.read_bytes() + b"\0")
    code, err = call("--resume", "auto", *options, "--keep", "last:1")
    assert code == 0
    assert sum("out/train_iter_6.caffemodel: is another file" in line for line in err) == 1
    assert tiny_run.snapshots(folder) == [6, 12]
    assert (folder / "out/train_iter_1.caffemodel").exists()


def test_what_another_stage_goes_on_from_is_kept(call, folder):
    stage = folder / "other"
    stage.mkdir()
    words = ["surgery/make_init.py", "--from", "out/train_iter_6.caffemodel:more"]
    (stage / "stage.json").write_text(json.dumps({"init": words, "files": {}}))
    assert call(*INIT, "--set", "snapshot=3", "--keep", "last:1") == (0, [])
    assert tiny_run.snapshots(folder) == [6, 12]


def test_nothing_is_deleted_where_the_newest_is_not_whole(folder, capsys):
    (folder / "out").mkdir()
    kept = snapshots.Snapshots("out/train", 0, snapshots.Keep("last:1"))
    for at in (1, 2):
        for kind in ("caffemodel", "solverstate", "position.json"):
            (folder / f"out/train_iter_{at}.{kind}").write_bytes(b"content")
        kept.add(at)
    os.truncate(folder / "out/train_iter_2.caffemodel", 3)
    kept.tidy({})
    kept.tidy({})
    assert tiny_run.snapshots(folder) == [1, 2]
    assert capsys.readouterr().err.count("out/train_iter_2: is not whole any more") == 1


@pytest.mark.parametrize("deletes", [1, 2, 3, 5])
def test_a_kill_between_two_deletes_leaves_a_run_that_resumes(call, folder, monkeypatch, deletes):
    options = (*MORE, "--keep", "last:1")
    assert call(*INIT, *options) == (0, [])
    through = everything(folder)
    shutil.rmtree(folder / "out")
    unlink, count = os.unlink, []

    def killed(path, **more):
        if "_iter_" in os.path.basename(path) and not os.path.basename(path).startswith("."):
            count.append(path)
            if len(count) > deletes:
                raise SystemExit(9)
        unlink(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(snapshots.os, "unlink", killed)
        assert call(*INIT, *options)[0] == 9
    assert call("--resume", "auto", *options)[0] == 0
    assert everything(folder) == through
    assert len(list(folder.glob("out/*_iter_*"))) == 3


def test_a_snapshot_that_a_kill_kept_from_the_list_is_listed_by_the_resumed_run(call, folder):
    options = (*MORE, "--keep", "last:1")
    assert call(*INIT, *options, "--iterations", "6")[0] == 0
    path = folder / "out/train.snapshots.json"
    listed = json.loads(path.read_text())
    path.write_text(json.dumps({**listed, "snapshots": {}}))
    assert call("--resume", "auto", *options, "--iterations", "9")[0] == 0
    assert tiny_run.snapshots(folder) == [9]
    path.write_text(json.dumps({"snapshots": {}, "ended": None, "run": "another"}))
    assert call("--resume", "auto", *options)[0] == 0
    assert tiny_run.snapshots(folder) == [9, 12]


def test_what_a_kill_left_half_written_of_pictures_is_cleared(folder):
    (folder / "watch/p1").mkdir(parents=True)
    halves = ["watch/.71.p1.png", "watch/p1/.71.iter_30.png"]
    others = ["watch/.71.p2.png", "watch/p1/.note.png", "watch/p1/.7x.iter_30.png"]
    for name in halves + others:
        (folder / name).write_bytes(b"half")
    strips.Strips(str(folder), None, ["p1"], [], None, 0)
    assert [name for name in halves + others if (folder / name).exists()] == others


# -- an early end


def fixed_scores(monkeypatch, values):
    """Let the training's mean IU be these, one score after the other."""
    given = iter(values)
    monkeypatch.setattr(watching, "metrics", lambda h: {**plain(h), "mean_iu": next(given)})


def test_a_training_ends_when_its_mean_iu_has_not_risen(call, folder, monkeypatch):
    fixed_scores(monkeypatch, [0.1, 0.3, 0.2, 0.3, 0.9])
    options = ("--score-every", "2", "--stop-early", "2")
    code, err = call(*INIT, *options)
    assert code == 0
    assert err == [
        "ended at iteration 8 of 12, with a snapshot: mean IU has not risen for 2 scores (best: "
        "30.00 at iteration 4)"
    ]
    assert tiny_run.snapshots(folder) == [5, 8]
    before = (folder / "out/train_iter_8.caffemodel").stat().st_mtime_ns
    code, again = call("--resume", "auto", *options)
    assert code == 0 and again[1:] == err
    assert (folder / "out/train_iter_8.caffemodel").stat().st_mtime_ns == before
    assert snapshots.ended("out/train", 2) == 8 and snapshots.ended("out/train", 3) is None
    assert call("--resume", "auto")[0] == 0
    assert tiny_run.snapshots(folder) == [5, 8, 10, 12] and not snapshots.ended("out/train", 2)


def test_a_resumed_training_ends_where_one_that_was_never_stopped_does(call, folder, monkeypatch):
    options = ("--score-every", "2", "--stop-early", "3")
    fixed_scores(monkeypatch, [0.5, 0.1, 0.1])
    assert call(*INIT, *options, "--iterations", "6")[0] == 0
    fixed_scores(monkeypatch, [0.1])
    code, err = call("--resume", "auto", *options)
    assert code == 0 and "ended at iteration 8 of 12" in err[-1]


@pytest.mark.parametrize(
    ("values", "count", "best"),
    [([1, 2, 2, 2], 2, (2, 2)), ([1, 2, 2], 2, None), ([3, 1, 2, 3], 3, (3, 1)), ([], 1, None),
     ([1, 2, 3], 1, None), ([2, float("nan")], 1, (2, 1))],
)  # fmt: skip
def test_when_a_score_has_stalled(values, count, best):
    assert curves.stalled(dict(enumerate(values, 1)), count) == best


# -- TensorBoard


def test_tensorboard_without_its_package_is_one_line(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, err = call(*INIT, "--tensorboard")
    assert code == 2 and len(err) == 1 and "pip install '.[tensorboard]'" in err[0]


def test_tensorboard_has_the_curves_of_a_resumed_training_once(call, folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ("--score-every", "5", "--tensorboard")
    assert call(*INIT, *options)[0] == 0
    go_back(folder, 5)
    assert call("--resume", "auto", *options)[0] == 0
    found = EventAccumulator(str(folder / "out/tensorboard")).Reload()
    assert [event.step for event in found.Scalars("train/loss")] == [0, 4, 8]
    assert [event.step for event in found.Scalars("score/mean_iu")] == [5, 10]
    scores = run_metrics.scored(metrics(folder))
    assert found.Scalars("score/mean_iu")[0].value == pytest.approx(scores[5])


def test_tensorboard_on_a_full_disk_costs_its_curves_and_not_the_training(
    call, folder, monkeypatch
):
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    write, written = writer.RecordWriter.write, []

    def full(self, data):
        written.append(data)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(writer.RecordWriter, "write", full)
    code, err = call(*INIT, "--tensorboard")
    assert code == 0 and len(err) == 1 and "tensorboard: nothing more is written there" in err[0]
    assert len(written) == 4 and tiny_run.snapshots(folder) == [5, 10, 12]


# -- trainings that diverge


def spoil(path, value):
    """Put a number into the weights of a caffemodel, which is written anew."""
    net = caffe.Net("train.prototxt", caffe.TEST, weights=str(path))
    net.params["score"][0].data[0, 0] = value
    net.save(str(path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_resuming_passes_over_a_snapshot_whose_weights_are_not_finite(call, folder, value):
    call(*INIT)
    through = tiny_run.result(folder, 12)
    path = folder / "out/train_iter_12.position.json"
    position = json.loads(path.read_text())
    del position["weights_crc32"]  # as one of an earlier engine, which would have written it
    path.write_text(json.dumps(position))
    spoil(folder / "out/train_iter_12.caffemodel", value)
    code, err = call("--resume", "auto")
    assert code == 0
    assert "passed over: out/train_iter_12" in err[0]
    assert "the weights of score[0] are not finite" in err[0]
    assert err[1] == "resumed from out/train_iter_10.solverstate at iteration 10"
    assert tiny_run.result(folder, 12) == through


def test_weights_that_are_not_finite_end_the_training_and_are_not_written(call, folder):
    text = (folder / "train.prototxt").read_text()
    dead = """layer { name: "aside" type: "Convolution" bottom: "data" top: "aside"
      param { lr_mult: 1 } loss_weight: 0 convolution_param { num_output: 1 kernel_size: 1
      weight_filler { type: "constant" value: 3e38 } } }
    layer { name: "unused" type: "Silence" bottom: "aside" }
    """
    (folder / "train.prototxt").write_text(text + dead)
    code, err = call(*INIT, "--set", "weight_decay=1e35", "--set", "snapshot=2")
    assert code == 1, err
    assert "not finite" in err[-1] and tiny_run.snapshots(folder) == []


def test_a_diverged_trainings_snapshot_is_marked_and_passed_over(call, folder):
    options = ("--set", "snapshot=1", "--set", "display=1")
    assert call(*INIT, *options, "--iterations", "5")[0] == 0
    good = tiny_run.result(folder, 5)
    code, err = call("--resume", "auto", *options, "--set", "base_lr=1e30")
    assert code == 1 and "iteration 6: loss is not finite" in err[-1]
    assert "--resume out/train_iter_5.solverstate --set base_lr" in err[-1]
    assert list(snapshots.problems("out/train")) == [6]
    code, err = call("--resume", "auto", *options, "--iterations", "7")
    assert code == 0
    assert "passed over: out/train_iter_6.solverstate is where the training diverged" in err[0]
    assert err[1] == "resumed from out/train_iter_5.solverstate at iteration 5"
    assert tiny_run.result(folder, 5) == good and snapshots.problems("out/train") == {}


def test_a_snapshot_whose_loss_had_grown_is_marked_too(call, folder):
    call(*INIT)
    path = folder / "out/train_iter_10.position.json"
    position = json.loads(path.read_text())
    path.write_text(json.dumps({**position, "losses": [1e6, 2e6]}))
    divergence.mark("out/train", 11, "loss is not finite")
    (at, problem), = snapshots.problems("out/train").items()  # fmt: skip
    assert at == 10 and "had grown to 1.5e+06 already" in problem
    divergence.mark("out/train", 12, "loss is not finite")
    assert sorted(snapshots.problems("out/train")) == [10, 12]
    assert call("--resume", "auto")[1][-1].startswith("resumed from out/train_iter_5.solverstate")


def test_a_mark_is_of_the_files_that_it_was_made_for(folder):
    (folder / "out").mkdir()
    state = folder / "out/train_iter_3.solverstate"
    state.write_bytes(b"one")
    snapshots.mark("out/train", {3: "is no good"})
    assert snapshots.problems("out/train") == {3: "is no good"}
    state.write_bytes(b"another")
    assert snapshots.problems("out/train") == {}


def test_a_damaged_list_of_snapshots_is_an_empty_one(folder):
    (folder / "out").mkdir()
    path = folder / "out/train.snapshots.json"
    for text in ("{", "[]", '{"snapshots": 3, "ended": 1}', '{"snapshots": {"x": {}}}'):
        path.write_text(text)
        assert snapshots.read("out/train") == {"snapshots": {}, "ended": None, "run": None}


def test_words_of_keep_that_are_not_known_are_told():
    with pytest.raises(UserError, match="'bets': is not best"):
        snapshots.Keep("bets")


def test_snapshots_in_hdf5_are_kept_by_the_same_rule(call, folder):
    options = ("--set", "snapshot=3", "--set", "snapshot_format=HDF5", "--keep", "last:2")
    assert call(*INIT, *options) == (0, [])
    assert sorted(path.name for path in folder.glob("out/*_iter_*")) == [
        f"train_iter_{at}.{kind}"
        for at in (12, 9)
        for kind in ("caffemodel.h5", "position.json", "solverstate.h5")
    ]


def test_a_damaged_prediction_costs_a_strip_and_not_the_training(call, folder):
    options = ("--score-every", "3", "--watch", "p1", "--set", "snapshot=3")
    assert call(*INIT, *options, "--iterations", "3")[0] == 0
    mask = folder / "out/watch/p1/iter_3.png"
    mask.write_bytes(mask.read_bytes()[:90])
    code, err = call("--resume", "auto", *options, "--iterations", "6")
    assert code == 0 and any(line.startswith("warning: out/watch/p1.png: ") for line in err)
