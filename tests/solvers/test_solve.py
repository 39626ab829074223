"""solve.py as a user meets it: in this process for what is said, in its own for what is killed."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.proto import caffe_pb2
from caffe.training.solver import Solver
from solvers import solve
from tests.helpers import tiny_run
from tools import score
from tools.common.cli import Failure, UserError

INIT = ("--weights", "init.caffemodel")


def one_error(outcome, code, *words):
    """The outcome is this exit code and one line on stderr, `error: ...` with all the words."""
    assert outcome[0] == code, outcome
    assert len(outcome[1]) == 1, outcome[1]
    assert outcome[1][0].startswith("error: ")
    for word in words:
        assert word in outcome[1][0]


def test_a_training_ends_with_a_snapshot_and_its_settings(call, folder):
    assert call(*INIT) == (0, [])
    assert tiny_run.snapshots(folder) == [5, 10, 12]
    in_force = (folder / "out/solver_in_force.prototxt").read_text()
    assert "max_iter: 12" in in_force and "solver_mode: CPU" in in_force


def test_resuming_is_the_same_as_running_through(call, folder):
    assert call(*INIT)[0] == 0
    through = tiny_run.result(folder, 12)
    for path in folder.glob("out/*_iter_1[02].*"):
        path.unlink()
    code, err = call("--resume", "auto")
    assert code == 0
    assert err == ["resumed from out/train_iter_5.solverstate at iteration 5"]
    assert tiny_run.result(folder, 12) == through
    assert call("--resume", "out/train_iter_10.solverstate") == (0, [])
    assert tiny_run.result(folder, 12) == through


def test_resume_auto_starts_from_the_weights_where_there_is_no_snapshot(call, folder):
    assert call(*INIT, "--resume", "auto", "--iterations", "5") == (0, [])
    code, err = call(*INIT, "--resume", "auto", "--iterations", "6")
    assert code == 0 and "at iteration 5" in err[0]


@pytest.mark.slow
def test_the_log_goes_to_its_file_and_progress_and_errors_to_stderr(folder):
    code, err = tiny_run.solve(folder, *INIT, "--cpu", "--log", "train.log", GLOG_minloglevel="0")
    log = (folder / "train.log").read_text()
    assert code == 0 and "] Iteration 0, lr = " in log
    assert "training 12/12 iterations" in err[-1] and "loss" in err[-1]
    assert not any("] Iteration" in line for line in err)
    code, err = tiny_run.solve(folder, "--resume", "no.solverstate", "--cpu", "--log", "train.log")
    one_error((code, err), 2, "no.solverstate")
    assert (folder / "train.log").read_text().startswith(log)


def test_weights_of_another_net_that_leave_layers_dead_are_refused(call, folder):
    net = (folder / "train.prototxt").read_text()
    dead = """layer { name: "deep" type: "Convolution" bottom: "BOTTOM" top: "deep"
      convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "deep_relu" type: "ReLU" bottom: "deep" top: "deep" }
    layer { name: "deep_out" type: "Silence" bottom: "deep" }
    """.replace("BOTTOM", "data")
    (folder / "train.prototxt").write_text(net + dead)
    one_error(call(*INIT), 2, "init.caffemodel: deep would start at zero", "make_init.py")


@pytest.mark.slow
def test_the_last_line_of_progress_has_the_last_loss(folder):
    solver = (folder / "solver.prototxt").read_text()
    (folder / "solver.prototxt").write_text(re.sub("display: .*", "", solver) + "display: 1\n")
    code, err = tiny_run.solve(folder, *INIT, "--cpu", "--log", "log", GLOG_minloglevel="0")
    last = re.findall(r"Train net output #0: loss = (\S+)", (folder / "log").read_text())[-1]
    shown = float(re.search(r"loss (\S+)", err[-1]).group(1))
    assert code == 0 and shown == pytest.approx(float(last), rel=1e-3)


def test_a_log_that_cannot_be_written_is_one_line(call, folder):
    one_error(call(*INIT, "--log", "solver.prototxt/x.log"), 2, "solver.prototxt: is a file; name")
    one_error(call(*INIT, "--log", "voc"), 2, "voc: is a folder; name a file")


@pytest.mark.parametrize("name", ["train.prototxt", "solver.prototxt", "init.caffemodel"])
def test_a_file_that_is_no_log_is_not_appended_to(call, folder, name):
    before = (folder / name).read_bytes()
    one_error(call(*INIT, "--log", name), 2, f"--log {name}: is a", "not a log")
    assert (folder / name).read_bytes() == before


def test_a_run_that_is_done_says_so(call, folder):
    call(*INIT)
    code, err = call("--resume", "auto")
    assert code == 0 and err[-1].startswith("iteration 12 of 12 is reached already; --iterations")


def test_a_damaged_newest_snapshot_falls_back_to_the_one_before(call, folder):
    call(*INIT)
    through = tiny_run.result(folder, 12)
    for kind in ("caffemodel", "solverstate"):
        path = folder / f"out/train_iter_12.{kind}"
        path.write_bytes(path.read_bytes()[:100])
        code, err = call("--resume", "auto")
        assert code == 0
        assert err[0].startswith("warning: passed over: out/train_iter_12.")
        assert kind in err[0]
        assert err[1:] == ["resumed from out/train_iter_10.solverstate at iteration 10"]
        assert tiny_run.result(folder, 12) == through


def test_starting_over_beside_snapshots_of_an_earlier_run_is_refused(call, folder):
    call(*INIT)
    before = tiny_run.result(folder, 12)
    outcome = call(*INIT, "--iterations", "3")
    one_error(outcome, 2, "out/train_iter_12.solverstate is of an earlier run", "--resume auto")
    assert tiny_run.result(folder, 12) == before and tiny_run.snapshots(folder) == [5, 10, 12]
    assert call(*INIT, "--set", "snapshot_prefix=other/train", "--iterations", "3") == (0, [])


def test_settings_can_be_changed_on_the_command_line(call, folder):
    code, _ = call(
        *INIT, "--set", "snapshot=3", "--set", "snapshot_prefix=new/s", "--iterations", "4"
    )
    assert code == 0
    assert sorted(p.name for p in folder.glob("new/*.solverstate")) == [
        "s_iter_3.solverstate", "s_iter_4.solverstate",
    ]  # fmt: skip


def test_no_last_snapshot_where_snapshot_after_train_is_false(call, folder):
    assert call(*INIT, "--set", "snapshot_after_train=false") == (0, [])
    assert tiny_run.snapshots(folder) == [5, 10]


def test_a_prefix_that_is_a_folder_can_be_resumed_from(call, folder):
    args = ("--set", "snapshot_prefix=snapshots/")
    assert call(*INIT, *args, "--iterations", "5") == (0, [])
    assert (folder / "snapshots/solver_iter_5.solverstate").exists()
    code, err = call("--resume", "auto", *args)
    assert code == 0 and "snapshots/solver_iter_5.solverstate" in err[0]


def test_scores_are_printed_every_n_iterations_and_change_nothing(call, folder, capfd, monkeypatch):
    call(*INIT)
    through = tiny_run.result(folder, 12)
    for path in folder.glob("out/*_iter_*"):
        path.unlink()
    seen = []
    score_solver = score.score_solver
    monkeypatch.setattr(
        score,
        "score_solver",
        lambda s, ids, **more: seen.append((s.iter, ids)) or score_solver(s, ids, **more),
    )
    assert call(*INIT, "--score-every", "5") == (0, [])
    assert seen == [(5, ["p0", "p1", "p2"]), (10, ["p0", "p1", "p2"])]
    assert tiny_run.result(folder, 12) == through


def test_scoring_a_split_without_a_class_is_warned_of_once(call, folder):
    for name in ("p0", "p1", "p2"):
        path = folder / f"voc/SegmentationClass/{name}.png"
        Image.fromarray(np.array(Image.open(path)) % 2).save(path)
    code, err = call(*INIT, "--score-every", "5")
    assert code == 0 and len(err) == 1
    assert err[0].startswith("warning: 1 of 3 classes are in no label of these images (2)")


def test_the_solver_and_its_nets_are_read_once(call, prototxts_read):
    assert call(*INIT, "--score-every", "5", "--iterations", "6") == (0, [])
    assert prototxts_read == {"solver.prototxt": 1, "train.prototxt": 1, "val.prototxt": 1}


# -- what is wrong with the call, the files or the machine


@pytest.mark.parametrize(
    "args, words",
    [
        ([*INIT, "--set", "bas_lr=1"], ["--set", "base_lr"]),
        ([*INIT, "--set", "base_lr"], ["--set", "field=value"]),
        ([*INIT, "--set", "lr_policy=fixd"], ["lr_policy", "'fixed'"]),
        ([*INIT, "--set", "snapshot_prefix="], ["snapshot_prefix"]),
        ([*INIT, "--set", "train_net=nowhere.prototxt"], ["solver.prototxt", "nowhere.prototxt"]),
        ([*INIT, "--set", "net=train.prototxt"], ["solver.prototxt", "train_net and net"]),
        ([*INIT, "--set", "test_net=nowhere.prototxt"], ["solver.prototxt", "nowhere.prototxt"]),
        (["--weights", "nowhere.caffemodel"], ["--weights nowhere.caffemodel: no such file"]),
        (["--weights", "solver.prototxt"], ["solver.prototxt"]),
        (["--weights", "."], ["is a folder; name a file in it: init.caffemodel"]),
        (["--resume", "nowhere.solverstate"], ["--resume nowhere.solverstate"]),
        (["--resume", "init.caffemodel"], ["init.caffemodel"]),
        (["--resume", "auto"], ["out/train_iter_*.solverstate", "--weights"]),
    ],
)
def test_a_wrong_call_is_one_line(call, args, words):
    one_error(call(*args), 2, *words)


def test_a_file_of_the_wrong_kind_is_named_before_an_earlier_run_is(call, folder):
    call(*INIT)
    said = "it is a net's prototxt, not a solver's prototxt; did you mean solver.prototxt?"
    one_error(call(*INIT, solver="train.prototxt"), 2, f"--solver train.prototxt: {said}")
    photo = "voc/JPEGImages/p0.jpg"
    one_error(call("--weights", photo), 2, f"--weights {photo}: it is a picture (JPEG)")
    said = "is a caffemodel, not a solverstate; did you mean out/train_iter_5.solverstate?"
    one_error(call("--resume", "out/train_iter_5.caffemodel"), 2, said)
    said = "is a solverstate, not a caffemodel; did you mean out/train_iter_5.caffemodel?"
    one_error(call("--weights", "out/train_iter_5.solverstate"), 2, said)


@pytest.mark.parametrize(
    "args",
    [
        [],
        [*INIT, "--resume", "x.solverstate"],
        [*INIT, "--iterations", "0"],
        [*INIT, "--iterations", "many"],
        [*INIT, "--score-every", "-1"],
        [*INIT, "--gpu", "0"],
    ],
)
def test_arguments_that_do_not_fit_end_with_2(call, args):
    code, err = call(*args)
    assert code == 2 and "error: " in err[-1] and "Traceback" not in "".join(err)


@pytest.mark.parametrize(
    "file, old, new, words",
    [
        ("solver.prototxt", "base_lr", "bse_lr", ["solver.prototxt:", "bse_lr"]),
        ("solver.prototxt", 'train_net: "train.prototxt"', "", ["solver.prototxt", "train_net"]),
        ("train.prototxt", "kernel_size: 3", "kernel_sice: 3", ["train.prototxt:", "kernel_sice"]),
        ("train.prototxt", '"Dropout"', '"Dropuot"', ["train.prototxt", "'drop'", "Dropuot"]),
        ("train.prototxt", 'bottom: "score"', 'bottom: "scor"', ["train.prototxt", "'loss'"]),
        ("train.prototxt", "num_output: 4", "num_output: 5", ["'conv'", "(4, 3, 3, 3)"]),
        ("train.prototxt", "'classes': 3", "'clases': 3", ["clases", "classes"]),
        ("train.prototxt", "voc_layers", "os", ["train.prototxt", "'data'", "os"]),
        ("voc/ImageSets/Segmentation/train.txt", "p", "q", ["q"]),
        ("voc/ImageSets/Segmentation/train.txt", "p0\np1\np2\np3\np4\np5\n", "", ["train.txt"]),
    ],
)
def test_a_wrong_file_is_one_line(call, folder, file, old, new, words):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    one_error(call(*INIT), 2, *words)


def test_every_picture_of_the_split_is_looked_for_before_the_training(call, folder):
    (folder / "voc/SegmentationClass/p5.png").unlink()
    one_error(call(*INIT), 2, "voc/SegmentationClass/p5.png", "no such label")
    assert not (folder / "out").exists()


def test_a_typo_in_the_test_net_is_named_by_its_line(call, folder):
    net = folder / "val.prototxt"
    net.write_text(net.read_text().replace("kernel_size: 3", "kernel_sice: 3"))
    one_error(call(*INIT), 2, "val.prototxt:4:", "kernel_sice", "Did you mean 'kernel_size'?")


def spoil(folder, what):
    """Damage the second picture that the split's random order draws; return its path."""
    order = random.Random(11)
    name = f"p{[order.randint(0, 5) for _ in range(2)][1]}"
    if what == "photograph":
        path = folder / f"voc/JPEGImages/{name}.jpg"
        path.write_bytes(path.read_bytes()[:500])
        return path
    path = folder / f"voc/SegmentationClass/{name}.png"
    label = np.array(Image.open(path))
    if what == "label's size":
        label = label[:-1]
    else:
        label[2, 3] = 7
    Image.fromarray(label).save(path)
    return path


@pytest.mark.parametrize("what", ["photograph", "label's size", "label's value"])
def test_a_damaged_picture_ends_the_run_with_a_snapshot_to_go_on_from(call, folder, what):
    call(*INIT)
    through = tiny_run.result(folder, 12)
    shutil.rmtree(folder / "out")
    whole = shutil.copytree(folder / "voc", folder / "whole")
    path = spoil(folder, what)
    words = [str(path.relative_to(folder)), "--resume auto", "iteration 1 "]
    one_error(call(*INIT), 2, *words)
    assert tiny_run.snapshots(folder) == [1]
    shutil.rmtree(folder / "voc")
    whole.rename(folder / "voc")
    assert call("--resume", "auto")[0] == 0
    assert tiny_run.result(folder, 12) == through


def test_a_missing_or_binary_solver_is_one_line(call, folder):
    one_error(call(*INIT, solver="nowhere.prototxt"), 2, "nowhere.prototxt")
    one_error(call(*INIT, solver="init.caffemodel"), 2, "init.caffemodel")
    one_error(call(*INIT, solver="voc"), 2, "voc")


@pytest.mark.slow
def test_no_such_gpu_is_one_line(folder):
    one_error(tiny_run.solve(folder, *INIT, "--gpu", "7"), 2, "7")


def test_precision_and_determinism_are_told_to_the_engine(call, monkeypatch):
    told = []
    monkeypatch.setattr(caffe.engine, "set_precision", told.append)
    monkeypatch.setattr(caffe.engine, "set_deterministic", told.append)
    assert call(*INIT, "--iterations", "1", "--precision", "tf32", "--deterministic")[0] == 0
    assert told == ["tf32", True]


def test_a_precision_that_is_not_there_is_one_line(call, monkeypatch):
    one_error(call(*INIT, "--precision", "float7"), 2, "float7", "tf32")
    monkeypatch.delattr(caffe, "engine")
    one_error(call(*INIT, "--precision", "tf32"), 2, "--precision")
    one_error(call(*INIT, "--deterministic"), 2, "--deterministic")


def test_each_parameter_is_updated_as_soon_as_its_gradient_is_there(call, monkeypatch):
    asked, decide = [], Solver._updates_early
    monkeypatch.setattr(
        Solver, "_updates_early", lambda self: asked.append(decide(self)) or asked[-1]
    )
    assert call(*INIT, "--iterations", "2")[0] == 0
    assert asked == [True, True]


def test_one_of_several_processes_that_torchrun_has_not_started_is_refused(call, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    one_error(call(*INIT), 2, "RANK is not set", "torchrun")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert call(*INIT, "--iterations", "1")[0] == 0


def test_a_run_that_diverges_before_its_first_snapshot_is_to_start_again(call, folder):
    outcome = call(*INIT, "--set", "base_lr=1e30", "--set", "snapshot=1000")
    one_error(outcome, 1, "loss is not finite, at a learning rate of 1e+30", "start again with a")
    assert "--resume" not in outcome[1][0] and tiny_run.snapshots(folder) == []


def test_a_run_that_diverges_behind_a_snapshot_is_to_go_on_from_it(call, folder):
    call(*INIT, "--iterations", "5")
    code, err = call("--resume", "auto", "--set", "base_lr=1e30")
    words = ["--resume out/train_iter_5.solverstate --set base_lr=…", "already, start again"]
    one_error((code, err[2:]), 1, *words)
    call("--resume", "auto")
    code, err = call("--resume", "auto", "--set", "base_lr=1e30", "--iterations", "15")
    words = ["--resume out/train_iter_12.", "earlier one, as out/train_iter_10.solverstate"]
    one_error((code, err[2:]), 1, *words)


def test_snapshots_of_later_iterations_are_no_advice(call, folder):
    call(*INIT)
    code, err = call("--resume", "out/train_iter_5.solverstate", "--set", "base_lr=1e30")
    one_error((code, err[1:]), 1, "--resume out/train_iter_5.solverstate --set", "start again")


def test_a_damaged_picture_is_told_first_where_the_loss_before_it_was_no_number():
    class Solver:
        iter = 3

        def snapshot(self):  # on a GPU, the losses of before are seen only now
            raise Failure("iteration 2: loss is not finite")

    error = solve.after_snapshot(Solver(), caffe_pb2.SolverParameter(), 0, UserError("p1.jpg: cut"))
    assert error.exit_code == 2
    assert str(error) == (
        "p1.jpg: cut; and no snapshot was written: iteration 2: loss is not finite"
    )


def test_weights_that_lack_a_layer_are_warned_of_in_one_line(call, folder):
    for file in ("train.prototxt", "val.prototxt"):
        text = (folder / file).read_text()
        (folder / file).write_text(text.replace('name: "score"', 'name: "other"'))
    code, err = call(*INIT, "--iterations", "1")
    assert code == 0
    assert err[0] == "warning: init.caffemodel: has no weights for other; they start from fillers"


def test_weights_that_fit_no_layer_are_refused(call, folder):
    for file in ("train.prototxt", "val.prototxt"):
        text = (folder / file).read_text().replace('name: "score"', 'name: "a"')
        (folder / file).write_text(text.replace('name: "conv"', 'name: "b"'))
    one_error(call(*INIT), 2, "init.caffemodel: has weights for no layer of the net of solver.pro")
    assert not list((folder / "out").glob("train_iter*"))


def test_deconvolutions_that_are_all_zero_are_refused(call, folder):
    up = (
        'layer { name: "up" type: "Deconvolution" bottom: "score" top: "up" '
        "convolution_param { num_output: 3 kernel_size: 1 } }\n"
    )
    text = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(
        text.replace('layer { name: "loss"', up + 'layer { name: "loss"')
    )
    one_error(call(*INIT), 2, "up", "surgery/make_init.py")


def test_a_snapshot_folder_that_cannot_be_made_is_one_line(call, folder):
    (folder / "out").write_text("a file")
    code, err = call(*INIT)
    assert code in (1, 2) and len(err) == 1 and err[0].startswith("error: ") and "out" in err[0]


# -- what happens to a process

LONG = (*INIT, "--cpu", "--iterations", "400", "--set", "snapshot=25", "--set", "base_lr=1e-7")


@pytest.fixture(scope="module")
def long_run(laid_out, tmp_path_factory):
    """What 400 iterations end with, never interrupted."""
    place = tmp_path_factory.mktemp("long") / "run"
    shutil.copytree(laid_out, place)
    assert tiny_run.solve(place, *LONG) == (0, [])
    return tiny_run.result(place, 400)


def go_on(folder, expected):
    args = ("--resume", "auto", *LONG[2:])
    code, err = tiny_run.solve(folder, *args)
    assert code == 0 and err[0].startswith("resumed from ")
    assert tiny_run.result(folder, 400) == expected


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(folder, long_run):
    process = tiny_run.start(folder, *LONG)
    tiny_run.wait_for_snapshot(process, folder, random.randint(1, 5))
    time.sleep(random.uniform(0, 0.1))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    go_on(folder, long_run)


@pytest.mark.slow
def test_ctrl_c_stops_after_the_iteration_with_a_snapshot(folder, long_run):
    process = tiny_run.start(folder, *LONG)
    tiny_run.wait_for_snapshot(process, folder)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    said, *rest = err.lstrip("\n").splitlines(keepends=True)
    assert said == "stopping after this iteration, with a snapshot; once more stops at once\n"
    found = re.fullmatch(
        r"stopped at iteration (\d+) of 400, with a snapshot; resume with --resume auto and the "
        r"same --iterations and --set\n",
        "".join(rest),
    )
    assert found and int(found.group(1)) == tiny_run.snapshots(folder)[-1] < 400
    go_on(folder, long_run)


@pytest.mark.slow
def test_sighup_writes_a_snapshot_and_goes_on(folder, long_run):
    process = tiny_run.start(folder, *LONG)
    tiny_run.wait_for_snapshot(process, folder)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    extra = [i for i in tiny_run.snapshots(folder) if i % 25]
    assert len(extra) == 1
    assert tiny_run.result(folder, 400) == long_run


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from caffe.training.solver import Solver
from solvers.solve import main
from tools.common.cli import run

reserve = Solver.reserve_snapshots

def reserved(solver):  # there is room at the beginning, and none later
    reserve(solver)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1800, 1800))

Solver.reserve_snapshots = reserved
run(main, sys.argv[1:])
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_no_earlier_snapshot(call, folder):
    call(*INIT, "--iterations", "5")
    before = {p.name: p.read_bytes() for p in folder.glob("out/*_iter_*")}
    assert max(map(len, before.values())) > 1800
    args = ["--solver", "solver.prototxt", "--cpu", "--resume", "auto", "--iterations", "7"]
    found = subprocess.run(
        [sys.executable, "-c", LIMITED, *args],
        cwd=folder,
        env=tiny_run.environment(),
        capture_output=True,
        text=True,
    )
    errors = [line for line in found.stderr.splitlines() if not line.startswith("warning: ")]
    one_error((found.returncode, errors[1:]), 1, "out/train_iter_7", "File too large")
    assert {name: (folder / "out" / name).read_bytes() for name in before} == before
    assert tiny_run.snapshots(folder) == [5] and not list(folder.glob("out/.*"))
    weights = caffe.Net("train.prototxt", caffe.TEST, weights="out/train_iter_5.caffemodel")
    assert np.isfinite(weights.params["conv"][0].data).all()


def test_labels_of_other_classes_than_the_net_scores_are_one_line(folder, call):
    text = (folder / "train.prototxt").read_text().replace("'classes': 3", "'classes': 7")
    (folder / "train.prototxt").write_text(text)
    code, lines = call("--weights", "init.caffemodel")
    assert code == 2
    assert "labels have 7 classes but blob 'score' has 3 channels" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("tail", ["2>&1 | head -1", "2> /dev/full", ">&- 2>&-"])
def test_a_training_whose_output_goes_away_is_the_one_that_kept_it(call, folder, tail):
    assert call(*INIT)[0] == 0
    through = tiny_run.result(folder, 12)
    shutil.rmtree(folder / "out")
    (folder / "out").mkdir()
    solve = f'"{sys.executable}" {tiny_run.ROOT}/solvers/solve.py --solver solver.prototxt --cpu'
    script = f"{solve} --weights init.caffemodel {tail}; exit ${{PIPESTATUS[0]}}"
    env = tiny_run.environment(GLOG_minloglevel="0")
    assert subprocess.run(["bash", "-c", script], cwd=folder, env=env).returncode == 0
    assert tiny_run.result(folder, 12) == through


@pytest.mark.slow
def test_ctrl_c_that_ends_the_logs_reader_first_still_writes_the_snapshot(folder):
    """As in `solve.py … 2>&1 | tee log`: Ctrl-C goes to both."""
    process = tiny_run.start(folder, *INIT, "--cpu", "--iterations", "100000", GLOG_minloglevel="0")
    tiny_run.wait_for_snapshot(process, folder)
    process.stderr.close()
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    newest = tiny_run.snapshots(folder)[-1]
    assert newest % 5 or newest > 5


def test_a_branch_that_was_left_is_passed_over(call, folder):
    assert call(*INIT)[0] == 0
    assert call("--resume", "out/train_iter_5.solverstate", "--iterations", "7")[0] == 0
    code, err = call("--resume", "auto", "--iterations", "8")
    assert code == 0
    assert sum("passed over: out/train_iter_1" in line for line in err) == 2
    assert any("resumed from out/train_iter_7.solverstate" in line for line in err)


def test_a_run_that_diverges_is_not_told_to_go_on_from_a_branch_that_it_left(call, folder):
    assert call(*INIT)[0] == 0
    rate = [word for field in ("lr_policy=step", "stepsize=11", "gamma=1e30", "snapshot=1000")
            for word in ("--set", field)]  # fmt: skip
    code, err = call("--resume", "out/train_iter_5.solverstate", "--iterations", "30", *rate)
    assert code == 1 and "--resume out/train_iter_5.solverstate" in err[-1]


def test_any_error_in_the_loop_comes_with_a_snapshot(call, folder, monkeypatch):
    iterate = Solver._iterate

    def fail(solver):
        if solver.iter == 7:
            raise RuntimeError("the machine stumbles")
        iterate(solver)

    monkeypatch.setattr(Solver, "_iterate", fail)
    code, err = call(*INIT)
    assert code == 1 and "the machine stumbles" in err[-1]
    assert "iteration 7 is in a snapshot" in err[-1]
    assert tiny_run.snapshots(folder) == [5, 7]
