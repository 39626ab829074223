"""solve.py with --recompute and --memory."""

from __future__ import annotations

import pytest

import caffe
from tests.helpers import tiny_run
from tests.solvers.test_solve import INIT, one_error

SIZE = ("--largest", "13x12")


def in_force(folder):
    return (folder / "out/solver_in_force.prototxt").read_text()


@pytest.mark.parametrize("chosen", ["conv", "auto"])
def test_recomputing_leaves_every_bit_of_a_training_as_it_is(call, folder, chosen):
    net = (folder / "train.prototxt").read_text()
    drop = 'layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }\n'
    (folder / "train.prototxt").write_text(net.replace(drop, ""))
    assert call(*INIT, "--recompute", "none") == (0, [])
    through = tiny_run.result(folder, 12)
    for path in folder.glob("out/*"):
        path.unlink()
    code, err = call(*INIT, "--recompute", chosen)
    assert code == 0, err
    assert tiny_run.result(folder, 12) == through
    assert f"# with --recompute {chosen}\n" in in_force(folder)


def test_memory_that_suffices_is_said_and_recorded(call, folder):
    code, err = call(*INIT, "--memory", "100GB", *SIZE, "--iterations", "1")
    assert code == 0 and len(err) == 1
    assert err[0].startswith("note: nothing is recomputed: ") and "13x12" in err[0]
    assert "# with --memory 100GB --largest 13x12\n" in in_force(folder)


def test_memory_that_nothing_fits_into_is_refused_with_what_would_do(call, folder):
    outcome = call(*INIT, "--memory", "1MB", *SIZE)
    one_error(outcome, 2, "--memory 1MB does not suffice", "the least is", "or give more")
    assert not list(folder.glob("out/*"))


def test_what_was_chosen_is_what_the_net_then_recomputes(call, folder, monkeypatch):
    told = []
    chosen = caffe.engine.choose_remade

    def choose(*args, **kwargs):
        before, after = chosen(*args, **kwargs)
        return before, type(after)(**{**vars(after), "remade": ("score",)})

    monkeypatch.setattr(caffe.engine, "choose_remade", choose)
    monkeypatch.setattr(caffe.engine, "recompute", lambda net, *names: told.append(names))
    code, err = call(*INIT, "--memory", "100GB", *SIZE, "--iterations", "1")
    assert code == 0 and told == [("score",)]
    assert "recomputed in backward: score" in err[0]
    assert "# recomputed in backward: score\n" in in_force(folder)


def test_resuming_with_other_options_is_warned_of(call, folder):
    assert call(*INIT, "--recompute", "none", "--iterations", "5")[0] == 0
    code, err = call("--resume", "auto", "--iterations", "6")
    assert code == 0
    assert err[0] == (
        "warning: computed until now with --recompute none, from now on with none of its options"
    )
    code, err = call("--resume", "auto", "--iterations", "7")
    assert code == 0 and not any("warning" in line for line in err)


@pytest.mark.parametrize(
    "words, said",
    [
        (("--memory", "3000"), "has no unit"),
        (("--memory", "3GB", "--recompute", "auto"), "leave --recompute out"),
        (("--recompute", "conv9"), "no blob 'conv9'"),
        (("--recompute", ","), "names no blob"),
        (("--recompute", "data"), "cannot be made again"),
        (("--largest", "13x12"), "--memory"),
    ],
)
def test_what_cannot_be_kept_to_is_one_line(call, words, said):
    one_error(call(*INIT, *words), 2, said)


@pytest.mark.parametrize("words", [("--memory", "3GB"), ("--recompute", "auto")])
def test_under_bvlc_caffe_it_is_one_line(call, words, monkeypatch):
    monkeypatch.delattr(caffe, "engine")
    one_error(call(*INIT, *words), 2, words[0], "this toolkit's engine only")
