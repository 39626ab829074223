"""make train's script: which stages a net has, and that each is made once, checked and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import caffe
from prototxt import build, own, parts
from prototxt.errors import InputError
from prototxt.tasks import TASKS
from solvers import stages as st, train
from surgery.errors import SurgeryError
from tests.helpers import tiny_run
from tools.common import steps
from tools.common.cli import Failure, UserError

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
fc_outputs = 4
"""


def stages(task, net):
    """The recipe as (task/net, [suffix task/net, ...])."""
    made = st.recipe(
        TASKS[task], net, TASKS, lambda t, n, s: st.Stage(t.name, n, {}, None, None, s)
    )
    return [
        (st.name(s), [f"{suffix} {st.name(o)}".strip() for suffix, o in s.sources]) for s in made
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


def test_late_fusion_takes_each_streams_weights_with_its_suffix(monkeypatch, root):
    monkeypatch.chdir(root)
    made = st.recipe(TASKS["nyud-rgb-hha"], "fcn32s-vgg16", TASKS, st.open_stage)
    words = " ".join(train.initial_weights(made[-1], None))
    prefix = "--from runs/nyud-{}/fcn32s-vgg16/train_iter_300000.caffemodel --suffix {} "
    assert prefix.format("rgb", "color") + prefix.format("hha", "hha") in words


@pytest.fixture
def small_nets(monkeypatch):
    """Nets of the real layout with 4 channels in place of 64 … 4096."""
    monkeypatch.setattr(parts, "CHANNELS", (4,) * 5)


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
    """The commands that are run, as words, and run they are."""
    seen, really = [], steps.Steps.command

    def command(self, what, *words):
        seen.append(what)
        return really(self, what, *words)

    monkeypatch.setattr(steps.Steps, "command", command)
    return seen


SCORES = {"net": "", "hist": [], "mean_iu": 0.5}


@pytest.fixture
def quick(monkeypatch):
    """In place of the commands: what they leave behind, the settings that they were given."""
    seen = []

    def command(self, what, *words):
        seen.append(what.split("/")[-1])
        options = dict(zip(words[1:], words[2:]))
        if words[0].endswith("make_init.py"):
            Path(options["--out"]).write_text(f"init {' '.join(words)}")
        elif words[0].endswith("solve.py"):
            folder = Path(options["--solver"]).parent
            assert "--weights" not in options or Path(options["--weights"]).is_file()
            for kind in ("caffemodel", "solverstate"):
                last = options.get("--iterations", "3")
                (folder / f"train_iter_{last}.{kind}").write_text(f"{kind} {words}")
        else:
            Path(options["--json"]).write_text(
                json.dumps({**SCORES, "weights": options["--weights"]})
            )

    monkeypatch.setattr(steps.Steps, "command", command)
    return seen


def run(net, *more):
    arguments = ["--own", "tiny.toml", "--net", net, "--from", "vgg.caffemodel", "--cpu", *more]
    return train.main(arguments)


BOTH = [
    "fcn32s-vgg16: initial weights", "fcn32s-vgg16: training to iteration 3",
    "fcn32s-vgg16: scores on the val split", "fcn16s-vgg16: initial weights",
    "fcn16s-vgg16: training to iteration 3", "fcn16s-vgg16: scores on the val split",
]  # fmt: skip


def test_how_a_gpu_computes_is_passed_on_to_the_training(folder, quick, monkeypatch):
    given, command = [], steps.Steps.command
    monkeypatch.setattr(
        steps.Steps, "command", lambda self, *words: given.append(words) or command(self, *words)
    )
    assert run("fcn32s-vgg16", "--no-score", "--precision", "tf32", "--deterministic") == 0
    assert given[-1][-3:] == ("--precision", "tf32", "--deterministic")


def place(folder, net="fcn16s-vgg16"):
    return folder / "runs" / "tiny" / net


@pytest.mark.slow
def test_a_recipe_makes_every_stage_and_scores_it(folder, commands):
    assert run("fcn16s-vgg16") == 0
    assert commands == [f"tiny/{what}" for what in BOTH]
    scores = json.loads((place(folder) / "scores.json").read_text())
    assert scores["weights"] == "runs/tiny/fcn16s-vgg16/train_iter_3.caffemodel"
    assert (place(folder) / "train.log").read_text().count("Iteration") > 0
    net = caffe.Net(str(place(folder) / "val.prototxt"), caffe.TEST, weights=scores["weights"])
    assert net.params["upscore2"][0].data.any()

    # A last snapshot that is lost is trained again from the one before, to the same numbers.
    last = place(folder) / "train_iter_3.caffemodel"
    before = last.read_bytes()
    last.unlink()
    (place(folder) / "train_iter_3.solverstate").unlink()
    commands.clear()
    assert run("fcn16s-vgg16", "--no-score") == 0
    assert commands == ["tiny/fcn16s-vgg16: training to iteration 3"]
    assert last.read_bytes() == before


def test_what_is_trained_and_scored_is_not_made_again(folder, quick, capsys):
    assert run("fcn16s-vgg16") == 0 and quick == BOTH
    quick.clear()
    assert run("fcn16s-vgg16") == 0 and quick == []
    assert capsys.readouterr().out.count("  trained\n") == 2


def test_a_recipe_reads_each_net_once_and_none_that_it_generates_for_training(
    folder, quick, prototxts_read
):
    assert run("fcn32s-vgg16") == 0
    assert prototxts_read == {"val.prototxt": 1}


def test_stages_before_a_trained_one_are_not_needed(folder, quick, capsys):
    run("fcn16s-vgg16")
    for left in place(folder, "fcn32s-vgg16").glob("train_iter*"):
        left.unlink()
    (folder / "vgg.caffemodel").unlink()
    quick.clear()
    assert run("fcn16s-vgg16") == 0 and quick == []
    assert "not needed" in capsys.readouterr().out


def test_weights_that_are_made_anew_are_scored_anew(folder, quick):
    run("fcn32s-vgg16")
    for left in place(folder, "fcn32s-vgg16").glob("train_iter*"):
        left.unlink()
    quick.clear()
    assert run("fcn32s-vgg16") == 0
    assert quick == BOTH[1:3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "more", "said"),
    [
        ("base_lr = 1e-8", "base_lr = 1e-7", [], "solver: `base_lr: "),
        ('["a", "b", "c"]', '["a", "b", "c", "d"]', [], "net: `.*'classes': 3"),
        ("", "", ["--set", "momentum=0.5"], "solver: `momentum: 0.99` then, `momentum: 0.5` now"),
        ("", "", ["--fill-missing", "msra"], "initial weights: `.*vgg.caffemodel"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_stage_is_not_gone_on_from_with_other_settings(
    folder, quick, old, new, more, said, finished
):
    run("fcn32s-vgg16")
    if not finished:
        for kind in ("caffemodel", "solverstate"):
            path = place(folder, "fcn32s-vgg16") / f"train_iter_3.{kind}"
            path.rename(path.with_name(f"train_iter_2.{kind}"))
    (folder / "tiny.toml").write_text(TOML.replace(old, new))
    quick.clear()
    with pytest.raises(UserError, match=f"fcn32s-vgg16 was begun with other settings .*{said}"):
        run("fcn32s-vgg16", *more)
    assert quick == []
    assert run("fcn32s-vgg16", *more, "--accept-changes") == 0
    assert quick == ([] if finished else BOTH[1:3])
    assert run("fcn32s-vgg16", *more) == 0


def test_pretrained_weights_that_are_exchanged_are_noticed(folder, quick):
    run("fcn32s-vgg16")
    (folder / "vgg.caffemodel").write_bytes(b"others")
    with pytest.raises(UserError, match=r"vgg\.caffemodel is another file now"):
        run("fcn32s-vgg16")


def test_initial_weights_that_no_training_has_used_are_made_anew(folder, quick):
    init = place(folder, "fcn32s-vgg16") / "init.caffemodel"
    run("fcn32s-vgg16")
    for left in place(folder, "fcn32s-vgg16").glob("train_iter*"):
        left.unlink()
    quick.clear()
    assert run("fcn32s-vgg16", "--fill-missing", "msra") == 0
    assert quick == BOTH[:3] and "msra" in init.read_text()


@pytest.mark.parametrize("name", ["init.caffemodel", "scores.json", "stage.json", "val.prototxt"])
def test_a_file_of_somebody_elses_in_a_stages_folder_is_kept(folder, quick, name):
    place(folder, "fcn32s-vgg16").mkdir(parents=True)
    (place(folder, "fcn32s-vgg16") / name).write_text("a week's work")
    with pytest.raises((UserError, InputError), match=f"{name}: the file that is there is not"):
        run("fcn32s-vgg16")
    assert (place(folder, "fcn32s-vgg16") / name).read_text() == "a week's work" and quick == []


def test_snapshots_of_another_command_are_not_gone_on_from(folder, quick):
    place(folder, "fcn32s-vgg16").mkdir(parents=True)
    (place(folder, "fcn32s-vgg16") / "train_iter_2.solverstate").write_text("a week's work")
    with pytest.raises(
        UserError, match="is not from a training by this command; .*--accept-changes"
    ):
        run("fcn32s-vgg16")
    assert quick == []


def test_fewer_iterations_than_there_are_snapshots_of_is_refused(folder, quick):
    run("fcn32s-vgg16", "--iterations", "5")
    with pytest.raises(
        UserError, match="has a snapshot of iteration 5 already, beyond 3; raise --iterations"
    ):
        run("fcn32s-vgg16", "--iterations", "3")


@pytest.mark.slow
def test_hdf5_snapshots_have_their_own_suffix(folder):
    assert run("fcn32s-vgg16", "--set", "snapshot_format=HDF5") == 0
    assert (place(folder, "fcn32s-vgg16") / "train_iter_3.caffemodel.h5").is_file()


def test_two_trainings_of_one_stage_exclude_each_other(folder, quick):
    (stage,) = st.recipe(
        own.load("tiny.toml"),
        "fcn32s-vgg16",
        {},
        lambda t, n, s: st.open_stage(t, n, s, (), "tiny.toml"),
    )
    with (
        st.lock(stage),
        pytest.raises(UserError, match="another training is running there; stop it"),
    ):
        run("fcn16s-vgg16")
    assert quick == []
    assert run("fcn16s-vgg16") == 0


def test_the_plan_shows_stages_and_touches_nothing(folder, quick, capsys):
    assert run("fcn16s-vgg16", "--plan") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.pop().startswith("disk: about ")
    assert [line.split() for line in lines] == [
        ["stage", "from", "iterations", "base_lr", "state"],
        ["tiny/fcn32s-vgg16", "vgg.caffemodel", "3", "1e-08", "to", "do"],
        ["tiny/fcn16s-vgg16", "tiny/fcn32s-vgg16", "3", "1e-10", "to", "do"],
    ]
    assert quick == [] and not (folder / "runs").exists()


def test_the_plan_tells_what_other_iterations_do_to_the_rate(folder, quick, capsys):
    (folder / "tiny.toml").write_text(TOML + 'lr_policy = "poly"\npower = 1\n')
    assert run("fcn32s-vgg16", "--plan") == 0
    assert "note: " not in capsys.readouterr().out
    assert run("fcn32s-vgg16", "--plan", "--iterations", "6") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("note: tiny/fcn32s-vgg16: max_iter is 6 in place of 3, which changes")


def test_a_gpu_that_is_not_there_is_reported_before_any_work(folder, quick, monkeypatch):
    monkeypatch.setattr(caffe.engine, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(caffe.engine, "gpu_trouble", lambda number: "")
    arguments = ["--own", "tiny.toml", "--net", "fcn32s-vgg16", "--from", "vgg.caffemodel"]
    with pytest.raises(UserError, match="--gpu 7: PyTorch sees one GPU here; the last is --gpu 0"):
        train.main([*arguments, "--gpu", "7"])
    assert quick == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--own", "voc2012"], "voc2012: no such file"),
        (["--own", "tiny.tmol"], r"tiny.tmol: no such file; did you mean tiny\.toml\?"),
        (["--own", "vgg.prototxt"], "vgg.prototxt: it is a net's prototxt, not TOML"),
        (["--own", "vgg.caffemodel"], "vgg.caffemodel: it is a caffemodel, not TOML"),
        (["--own", "voc"], "voc: is a folder"),
        (["--own", "sbd"], "--own sbd: is a built-in task; did you mean --task sbd?"),
        (["--task", "tiny.toml"], "a TOML file goes with --own"),
        (["--own", "tiny.toml", "--data", "vok"], r"data.root: vok: no such folder \(relative"),
    ],
)
def test_a_wrong_data_set_is_named_as_what_it_is(folder, arguments, said):
    with pytest.raises((UserError, ValueError), match=said) as caught:
        train.main([*arguments, "--net", "fcn32s-vgg16", "--from", "vgg.caffemodel", "--cpu"])
    assert caught.value.exit_code == 2


def test_a_recipe_outside_the_checkout_is_refused_before_any_work(folder, quick):
    (folder / "solvers").unlink()
    with pytest.raises(
        UserError, match=r"solvers/solve\.py is not here; start this command in the"
    ):
        run("fcn32s-vgg16")
    assert quick == [] and not (folder / "runs").exists()


def test_missing_data_is_reported_before_any_work(folder, quick):
    (folder / "voc/JPEGImages/p1.jpg").unlink()
    with pytest.raises(ValueError, match=r"p1\.jpg: no such image") as caught:
        run("fcn16s-vgg16")
    assert caught.value.exit_code == 2 and quick == []


def test_missing_weights_are_reported_before_any_work(folder, quick):
    (folder / "vgg.caffemodel").unlink()
    with pytest.raises(SurgeryError, match=r"--from vgg\.caffemodel: no such file"):
        run("fcn16s-vgg16")
    with pytest.raises(UserError, match="name them with --from"):
        train.main(["--own", "tiny.toml", "--net", "fcn16s-vgg16", "--cpu"])
    assert quick == []


@pytest.mark.slow
def test_a_step_that_fails_leaves_what_was_made(folder, commands, capfd):
    with pytest.raises(Failure) as caught:
        run("fcn32s-vgg16", "--set", "base_lr=1e20", "--no-score")
    assert caught.value.exit_code == 1
    assert (place(folder, "fcn32s-vgg16") / "init.caffemodel").is_file()
    assert "not finite" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--task", "vok", "--net", "fcn8s-vgg16"], "--task vok: not one of voc, sbd"),
        (
            ["--task", "voc", "--net", "fcn8s"],
            "--net fcn8s: voc has no such net; it has dilated-fcn2s-vgg16",
        ),
        (
            ["--task", "nyud-rgb", "--net", "fcn8s-vgg16"],
            "--net fcn8s-vgg16: nyud-rgb has no such net; it has",
        ),
    ],
)
def test_a_task_or_net_that_is_not_there_is_named(arguments, line):
    with pytest.raises(UserError) as caught:
        train.main(arguments)
    assert line in str(caught.value)


@pytest.mark.parametrize("field", ["snapshot_prefix=x", "max_iter=5", "train_net=y"])
def test_solver_fields_that_the_recipe_sets_are_refused(field, capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--task", "voc", "--net", "fcn8s-vgg16", "--set", field])
    assert ended.value.code == 2
    assert "the recipe sets this field itself" in capsys.readouterr().err


def test_one_base_lr_for_stages_of_different_rates_is_refused(folder, quick):
    with pytest.raises(UserError, match="--set base_lr: the stages have rates of their own"):
        run("fcn16s-vgg16", "--set", "base_lr=1e-5")
    assert quick == []


def test_how_it_is_watched_is_passed_on_to_the_training(folder, quick, monkeypatch):
    given, command = [], steps.Steps.command
    monkeypatch.setattr(
        steps.Steps, "command", lambda self, *words: given.append(words) or command(self, *words)
    )
    options = ("--score-every", "2", "--watch", "p1,p2", "--keep", "best,last:2")
    assert run("fcn32s-vgg16", "--no-score", *options) == 0
    assert given[-1][-6:] == options
    with pytest.raises(UserError, match="--stop-early: needs scores"):
        run("fcn32s-vgg16", "--stop-early", "2")


def test_a_stage_that_ended_early_is_trained_and_the_next_goes_on_from_there(folder, quick):
    early = ("--score-every", "1", "--stop-early", "2")
    assert run("fcn32s-vgg16", "--no-score") == 0
    first = place(folder, "fcn32s-vgg16")
    for kind in ("caffemodel", "solverstate"):
        (first / f"train_iter_3.{kind}").rename(first / f"train_iter_2.{kind}")
    ended = {"snapshots": {}, "ended": {"iter": 2, "scores": 2}}
    (first / "train.snapshots.json").write_text(json.dumps(ended))
    quick.clear()
    assert run("fcn16s-vgg16", "--no-score", *early) == 0
    assert [what.partition(": ")[0] for what in quick] == ["fcn16s-vgg16", "fcn16s-vgg16"]
    init = (place(folder) / "init.caffemodel").read_text()
    assert "--from runs/tiny/fcn32s-vgg16/train_iter_2.caffemodel" in init
    quick.clear()
    run("fcn32s-vgg16", "--no-score", "--score-every", "1", "--stop-early", "3")
    assert quick == ["fcn32s-vgg16: training to iteration 3"]  # which waits longer
