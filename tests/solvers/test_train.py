"""make train's script: which stages a net has, and that each is made once, checked and resumed."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np
import pytest
import tiny_run

import caffe
from prototxt import build, head, own, vgg
from prototxt.tasks import TASKS
from solvers import train
from tools import steps
from tools.cli import UserError

TOML = """\
name = "tiny"
classes = ["a", "b", "c"]
nets = ["fcn32s-vgg16", "fcn16s-vgg16"]

[data]
root = "voc"

[training]
base_lr = 1e-8
iterations = 3
snapshot = 2
"""


def stages(task, net):
    """The recipe as (task/net, [suffix task/net, ...])."""
    made = train.recipe(
        TASKS[task], net, TASKS, lambda t, n, s: train.Stage(t.name, n, None, None, s)
    )
    return [
        (f"{s.task}/{s.net}", [f"{suffix} {o.task}/{o.net}".strip() for suffix, o in s.sources])
        for s in made
    ]


def test_fcn8s_trains_fcn32s_and_fcn16s_before_it():
    assert stages("pascal-context", "fcn8s-vgg16") == [
        ("pascal-context/fcn32s-vgg16", []),
        ("pascal-context/fcn16s-vgg16", ["pascal-context/fcn32s-vgg16"]),
        ("pascal-context/fcn8s-vgg16", ["pascal-context/fcn16s-vgg16"]),
    ]


def test_dilated_fcn2s_on_sbd_trains_on_voc_before():
    assert stages("sbd", "dilated-fcn2s-vgg19") == [
        ("voc/dilated-fcn2s-vgg19", []),
        ("sbd/dilated-fcn2s-vgg19", ["voc/dilated-fcn2s-vgg19"]),
    ]


def test_late_fusion_trains_a_net_for_each_stream_before():
    assert stages("nyud-rgb-hha", "fcn32s-vgg16") == [
        ("nyud-rgb/fcn32s-vgg16", []),
        ("nyud-hha/fcn32s-vgg16", []),
        ("nyud-rgb-hha/fcn32s-vgg16", ["color nyud-rgb/fcn32s-vgg16", "hha nyud-hha/fcn32s-vgg16"]),
    ]


def test_what_starts_from_vgg_has_one_stage():
    assert stages("sbd", "fcn8s-atonce-vgg16") == [("sbd/fcn8s-atonce-vgg16", [])]


def test_late_fusion_takes_each_streams_weights_with_its_suffix():
    made = train.recipe(
        TASKS["nyud-rgb-hha"], "fcn32s-vgg16", TASKS, train.opener(ARGS_OF_THE_COMMAND)
    )
    words = " ".join(train.initial_weights(made[-1], ARGS_OF_THE_COMMAND))
    prefix = "--from runs/nyud-{}/fcn32s-vgg16/train_iter_300000.caffemodel --suffix {} "
    assert prefix.format("rgb", "color") + prefix.format("hha", "hha") in words


ARGS_OF_THE_COMMAND = Namespace(
    own=None, data=None, set=[], iterations=None, source=None, fc6=None, fill_missing=None
)


@pytest.fixture
def small_nets(monkeypatch):
    """Nets of the real layout with 4 channels in place of 64 … 4096."""
    monkeypatch.setattr(vgg, "CHANNELS", (4,) * 5)
    monkeypatch.setattr(head, "FEATURES", 4)


@pytest.fixture
def folder(tmp_path, monkeypatch, root, small_nets):
    """A checkout's folders, a tiny data set, its TOML, and pretrained weights of small nets."""
    tiny_run.lay_out(tmp_path)
    for name in ("surgery", "solvers", "tools"):
        (tmp_path / name).symlink_to(root / name)
    monkeypatch.chdir(tmp_path)
    for name, value in tiny_run.environment(GLOG_minloglevel="0").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tiny.toml").write_text(TOML)
    task = own.load("tiny.toml")
    (tmp_path / "vgg.prototxt").write_text(build.net_text(task, "fcn32s-vgg16", "deploy"))
    caffe.set_mode_cpu()
    net = caffe.Net("vgg.prototxt", caffe.TEST)
    stream = np.random.RandomState(1)
    for blobs in net.params.values():
        blobs[0].data[...] = 0.3 * stream.standard_normal(blobs[0].data.shape)
    net.save("vgg.caffemodel")
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """The commands that are run, as (what, words), and run they are."""
    seen, really = [], steps.Steps.command

    def command(self, what, *words):
        seen.append((what, words))
        return really(self, what, *words)

    monkeypatch.setattr(steps.Steps, "command", command)
    return seen


def run(net, *more):
    arguments = ["--own", "tiny.toml", "--net", net, "--from", "vgg.caffemodel", "--cpu", *more]
    return train.main(arguments)


def test_a_recipe_makes_every_stage_once_and_scores_it(folder, commands, capsys):
    assert run("fcn16s-vgg16") == 0
    assert [what for what, _ in commands] == [
        "tiny/fcn32s-vgg16: initial weights",
        "tiny/fcn32s-vgg16: training to iteration 3",
        "tiny/fcn32s-vgg16: scores on the val split",
        "tiny/fcn16s-vgg16: initial weights",
        "tiny/fcn16s-vgg16: training to iteration 3",
        "tiny/fcn16s-vgg16: scores on the val split",
    ]
    place = folder / "runs" / "tiny" / "fcn16s-vgg16"
    scores = json.loads((place / "scores.json").read_text())
    assert scores["weights"] == "runs/tiny/fcn16s-vgg16/train_iter_3.caffemodel"
    assert (place / "train.log").read_text().count("Iteration") > 0

    commands.clear()
    assert run("fcn16s-vgg16") == 0
    assert commands == []
    out = capsys.readouterr().out
    assert out.count("trained\n") == 2

    # What is gone is made again, from what is left: here the last stage's last snapshot.
    before = (place / "train_iter_3.caffemodel").read_bytes()
    (place / "train_iter_3.caffemodel").unlink()
    (place / "train_iter_3.solverstate").unlink()
    assert run("fcn16s-vgg16") == 0
    assert [what.split(": ")[1] for what, _ in commands] == ["training to iteration 3"]
    assert (place / "train_iter_3.caffemodel").read_bytes() == before

    # Weights that a run has begun with are not exchanged under it.
    (place / "train_iter_3.caffemodel").unlink()
    (place / "init.command").write_text("surgery/make_init.py --from other.caffemodel\n")
    with pytest.raises(UserError, match="started otherwise"):
        run("fcn16s-vgg16")


def test_the_plan_shows_stages_and_runs_nothing(folder, commands, capsys):
    assert run("fcn16s-vgg16", "--plan") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["stage", "from", "iterations", "base_lr", "state"],
        ["tiny/fcn32s-vgg16", "vgg.caffemodel", "3", "1e-08", "to", "do"],
        ["tiny/fcn16s-vgg16", "tiny/fcn32s-vgg16", "3", "1e-10", "to", "do"],
    ]
    assert commands == []


def test_missing_data_is_reported_before_any_work(folder, commands):
    (folder / "voc/JPEGImages/p1.jpg").unlink()
    with pytest.raises(ValueError, match=r"p1\.jpg: no such image") as caught:
        run("fcn16s-vgg16")
    assert caught.value.exit_code == 2 and commands == []


def test_missing_weights_are_reported_before_any_work(folder, commands):
    (folder / "vgg.caffemodel").unlink()
    with pytest.raises(UserError, match=r"vgg\.caffemodel: no such weights file"):
        run("fcn16s-vgg16")
    with pytest.raises(UserError, match="name them by --from"):
        train.main(["--own", "tiny.toml", "--net", "fcn16s-vgg16", "--cpu"])
    assert commands == []


def test_a_step_that_fails_leaves_what_was_made(folder, commands, capfd):
    with pytest.raises(steps.StepFailed) as caught:
        run("fcn16s-vgg16", "--set", "base_lr=1e20", "--no-score")
    assert caught.value.exit_code == 1
    assert (folder / "runs/tiny/fcn32s-vgg16/init.caffemodel").is_file()
    assert "not finite" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--task", "vok", "--net", "fcn8s-vgg16"], "--task vok: not one of voc, sbd"),
        (["--task", "voc", "--net", "fcn8s"], "--net fcn8s: voc has dilated-fcn2s-vgg16"),
        (["--task", "nyud-rgb", "--net", "fcn8s-vgg16"], "--net fcn8s-vgg16: nyud-rgb has"),
    ],
)
def test_a_task_or_net_that_is_not_there_is_named(arguments, line):
    with pytest.raises(UserError) as caught:
        train.main(arguments)
    assert line in str(caught.value)
