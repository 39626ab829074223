"""plan.py: figures of nets side by side, and what fits into how much memory."""

from __future__ import annotations

import json

import pytest

import caffe
from tests.helpers.planned_nets import segmenting
from tools import plan
from tools.common import memory_sizes
from tools.common.cli import run
from tools.planning import figures, nets

SOLVER = """\
train_net: "train.prototxt"
base_lr: 1e-6
lr_policy: "fixed"
momentum: 0.9
max_iter: 100
snapshot: 30
iter_size: 2
snapshot_prefix: "s"
"""
PARAMETERS = (
    3 * 32 * 9 + 32 + 32 * 32 * 9 + 32 + 32 * 64 * 9 + 64 + 64 * 5 + 5 + 80 * 5 + 32 * 5 + 5
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACEBACK", raising=False)
    caffe.set_mode_cpu()
    (tmp_path / "train.prototxt").write_text(segmenting(dropout=False))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


@pytest.fixture
def call(capsys):
    """call(*args) -> (exit code, stdout, stderr)."""

    def call(*args):
        with pytest.raises(SystemExit) as ended:
            run(plan.main, list(args))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def one_line(outcome, *words):
    code, out, err = outcome
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1, outcome
    for word in words:
        assert word in err


def test_a_solver_gives_memory_and_disk_and_the_same_as_its_folder(call, folder):
    assert call("solver.prototxt", "--json", "plan.json")[0] == 0
    (found,) = json.loads((folder / "plan.json").read_text())
    assert found["parameters"] == PARAMETERS
    assert found["size"] == [96, 96] and found["iterations"] == 100 and found["iter_size"] == 2
    assert found["snapshot_bytes"] == 2 * 4 * PARAMETERS
    assert (found["snapshots"], found["disk_bytes"]) == (4, 4 * found["snapshot_bytes"])
    memory = found["memory"]
    assert memory["inference"]["bytes"] < memory["training"]["bytes"]
    again = memory["training"]["recomputed"]
    assert again["bytes"] < memory["training"]["bytes"] and again["blobs"]
    assert call(".", "--json", "plan.json")[0] == 0
    (same,) = json.loads((folder / "plan.json").read_text())
    assert same["parameters"] == found["parameters"] and same["disk_bytes"] == found["disk_bytes"]


def test_sizes_stand_side_by_side_and_larger_ones_take_more(call, folder):
    code, out, _ = call(".", "--size", "64x80", "--size", "128x96", "--json", "plan.json")
    assert code == 0
    assert out.splitlines()[0].split() == [".", "64x80", ".", "128x96"]
    small, large = json.loads((folder / "plan.json").read_text())
    assert small["multiply_adds"] < large["multiply_adds"]
    assert small["memory"]["training"]["bytes"] < large["memory"]["training"]["bytes"]


def test_a_test_net_is_planned_for_beside_the_training(call, folder):
    (folder / "val.prototxt").write_text(segmenting(dropout=False))
    assert call(".", "--json", "plan.json")[0] == 0
    (found,) = json.loads((folder / "plan.json").read_text())
    memory = found["memory"]
    assert memory[figures.BOTH]["bytes"] >= memory[figures.TRAINING]["bytes"]


def test_what_fits_is_said_for_each_thing_that_is_done(call, folder, monkeypatch):
    monkeypatch.setattr(plan, "program", lambda: 0)
    call(".", "--json", "plan.json")
    (found,) = json.loads((folder / "plan.json").read_text())
    training = found["memory"]["training"]
    between = (training["bytes"] + training["recomputed"]["bytes"]) // 2
    _, out, _ = call(".", "--memory", f"{between / 1e6:.6f}MB")
    assert "training: fits with --recompute " in out and "inference: fits (" in out
    _, out, _ = call(".", "--memory", "100MB")
    assert "training: fits (" in out
    _, out, _ = call(".", "--memory", "1MB")
    assert "training: does not fit: " in out and "smaller pictures" in out


def test_a_gpu_need_not_be_there_to_plan_for_it(call, folder):
    code, out, _ = call(".", "--for", "gpu")
    assert code == 0 and "allocated on a GPU" in out


def test_a_probe_gives_seconds_and_hours(call, folder, monkeypatch):
    monkeypatch.setattr("tools.planning.probe.SECONDS", 0.2)
    assert call(".", "--probe", "--json", "plan.json")[0] == 0
    (found,) = json.loads((folder / "plan.json").read_text())
    assert found["seconds_forward"] > 0
    assert found["hours"] == pytest.approx(found["seconds_iteration"] * 100 / 3600)


def test_classes_are_the_generators_business(folder):
    found = nets.for_classes(nets.find("voc/dilated-fcn2s-vgg16"), 7)
    for net in (found.train, found.test, found.deploy):
        scores = [layer for layer in net.layer if layer.name.startswith("score_fr")]
        assert all(layer.convolution_param.num_output == 7 for layer in scores)
    assert any(layer.convolution_param.num_output == 7 for layer in found.train.layer)


@pytest.mark.parametrize(
    "words, said",
    [
        ((".", "--classes", "5"), "--classes"),
        ((".", "--classes", "one"), "is not a number of classes"),
        (("none.prototxt",), "no such prototxt"),
        ((".", "--memory", "6"), "has no unit"),
        ((".", "--for", "gpu", "--probe"), "--probe"),
        ((".", "--json", "solver.prototxt"), "solver.prototxt"),
    ],
)
def test_a_wrong_call_is_one_line(call, folder, words, said):
    one_line(call(*words), said)


def test_under_bvlc_caffe_a_plan_is_one_line(call, folder, monkeypatch):
    monkeypatch.delattr(caffe, "engine")
    one_line(call("."), "this toolkit's engine only")


@pytest.mark.slow
def test_a_plan_for_large_pictures_takes_little_memory(folder):
    before = memory_sizes.resident()
    if before is None:
        pytest.skip("this system does not tell what a process has")
    made = nets.find("voc/fcn8s-vgg16")
    train, _, _ = nets.sized(made, (500, 500))
    planned = caffe.engine.rehearse(train, made.solver)
    assert planned.peak > 2 * 10**9
    assert memory_sizes.resident() - before < 5 * 10**8
