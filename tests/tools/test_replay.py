"""A part of a training, trained again from its receipt."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.helpers import many, tiny_run
from tests.solvers.test_receipt import change_a_pixel
from tools import replay, score
from tools.common.cli import Failure, UserError
from tools.receipts import compare


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny run of 40 iterations."""
    folder = tmp_path_factory.mktemp("trained")
    tiny_run.lay_out(folder)
    tiny_run.save_init(folder)
    code, lines = tiny_run.solve(
        folder, "--weights", "init.caffemodel", "--cpu", "--iterations", "40"
    )
    assert code == 0, lines
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch, capfd):
    """run(*args) -> (exit code, lines) of replay.py on a copy of the tiny run, which is the current
    folder; of its training, if no receipt is named."""
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    for name, value in tiny_run.environment().items():
        monkeypatch.setenv(name, value)

    def run(*args):
        capfd.readouterr()
        named = [] if args and args[0].endswith(".json") else ["out/receipt.json", "--cpu"]
        code = replay.main([*named, *args])
        return code, capfd.readouterr().out.splitlines()

    run.folder = tmp_path / "run"
    return run


def test_what_is_trained_again_is_the_same_to_the_bit(run):
    before = {path.name: path.read_bytes() for path in (run.folder / "out").iterdir()}
    assert run() == (0, [
        "iterations 20 to 40 of out/receipt.json, trained again:",
        "the same to the bit: the losses of 20 passes, the parameters of 2 layers",
    ])  # fmt: skip
    assert {path.name: path.read_bytes() for path in (run.folder / "out").iterdir()} == before


@pytest.mark.slow
def test_it_may_begin_with_the_weights_and_at_any_snapshot_from_anywhere(run, monkeypatch):
    assert run("--from", "0", "--iterations", "3")[1][-1].startswith("the same to the bit")
    monkeypatch.chdir(run.folder / "out")
    shutil.move("receipt.json", "../out/receipt.json")
    assert replay.main([".", "--cpu", "--from", "35"]) == 0


def test_one_altered_pixel_is_named(run):
    change_a_pixel(run.folder / "voc/SegmentationClass/p3.png")
    code, lines = run()
    assert code == 1
    assert "  differs: data: voc/SegmentationClass/p3.png: other content" in lines
    assert lines[-1].startswith("  the first number that differs: iteration ")


def test_one_altered_line_of_the_solver_is_named(run):
    path = run.folder / "solver.prototxt"
    path.write_text(path.read_text().replace("momentum: 0.9", "momentum: 0.8"))
    code, lines = run("--from", "30")
    assert code == 1
    assert "  differs: solver: momentum: 0.9 then; momentum: 0.8 now" in lines
    assert lines[-1].startswith("  the first number that differs: iteration 31: loss ")


def test_an_altered_net_is_named(run):
    path = run.folder / "train.prototxt"
    path.write_text(path.read_text() + "# seen\n")
    code, lines = run()
    assert code == 1 and "  differs: net: train.prototxt: other content" in lines
    assert lines[-1].startswith("the same to the bit")


def test_another_number_of_threads_is_named(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    _, lines = run("--iterations", "2")
    (line,) = [line for line in lines if "machine" in line]
    assert line.startswith("  differs: machine: threads: 1, ") and "; 2, " in line


def test_a_training_that_cannot_be_trained_again_says_why(run, capfd):
    (run.folder / "voc/ImageSets/Segmentation/train.txt").write_text("p0\np1\n")
    with pytest.raises(Failure, match="its line says why"):
        run()
    assert "holds other ids than at the snapshot" in capfd.readouterr().err


@pytest.mark.parametrize("args, said", [
    (["--from", "33"], "there is no such snapshot; there are 0, 5, 10, 15"),
    (["--from", "40"], "nothing was trained after iteration 40"),
])  # fmt: skip
def test_a_begin_that_is_not_there_is_refused(run, args, said):
    with pytest.raises(UserError, match=said):
        run(*args)


def test_what_was_trained_before_the_receipt_began_is_not_trained_again(run):
    path = run.folder / "out/receipt.json"
    found = json.loads(path.read_text())
    found["parts"][0]["from"] = 20
    path.write_text(json.dumps(found))
    for name in ("0", "15"):
        with pytest.raises(UserError, match="no such snapshot; there are 20, 25, 30, 35, 40"):
            run("--from", name)
    found["parts"][0]["from"] = 41
    path.write_text(json.dumps(found))
    with pytest.raises(UserError, match="no snapshot from iteration 41 on, where the receipt"):
        run()


@pytest.mark.parametrize("content", [None, "[]", '{"parts": [], "data": []}', "no JSON"])
def test_what_is_no_receipt_is_refused(run, content):
    path = run.folder / "out/receipt.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match="is no"):
        run()


def test_scores_are_made_again_and_what_differs_is_named(run):
    weights = "out/train_iter_40.caffemodel"
    words = ["--net", "val.prototxt", "--weights", weights, "--json", "scores.json", "--cpu"]
    assert score.main(words) == 0
    again = ["scores.receipt.json", "--cpu"]
    code, lines = run(*again)
    assert code == 0
    assert lines[0] == "the scores of scores.receipt.json, made again:"
    assert lines[-1] == "the same to the bit: the predictions and losses of 3 images"
    assert all(line.startswith("  differs: machine: ") for line in lines[1:-1])  # pytest's threads
    change_a_pixel(run.folder / "voc/SegmentationClass/p1.png")
    code, lines = run(*again)
    assert code == 1
    assert lines[1] == "  differs: data: voc/SegmentationClass/p1.png: other content"
    assert lines[-1].startswith(f"  the first number that differs: {weights}: the loss of p1: ")
    shutil.copy("out/train_iter_5.caffemodel", weights)
    code, lines = run(*again)
    assert code == 1 and f"  differs: weights: {weights}: other content" in lines
    with pytest.raises(UserError, match="are for trainings"):
        run(*again, "--from", "3")


@pytest.mark.slow
@pytest.mark.long
def test_a_training_in_two_processes_is_trained_again_in_two(run):
    shutil.rmtree(run.folder / "out")
    process = many.torchrun(
        run.folder, ["--standalone", "--nproc-per-node", "2"], many.SOLVE, "--cpu",
        "--solver", "solver.prototxt", "--weights", "init.caffemodel", "--iterations", "12",
    )  # fmt: skip
    code, lines = many.ended(process)
    assert code == 0, lines
    assert run("--from", "5")[0] == 0


def test_all_kinds_of_differences_have_words():
    assert compare.settings(["a: 1", "b: 2"], ["a: 1", "c: 3"]) == [
        "solver: b: 2 then; not there now", "solver: c: 3 now; not there then",
    ]  # fmt: skip
    then = {"data": {"items": 2, "list": "x", "seed": 1, "files": {"a": "1", "b": "2"}}}
    now = {"data": {"items": 3, "list": "y", "seed": 2, "files": {"a": "3", "c": "4"}}}
    assert compare.data(then, now) == [
        "data: layer 'data': items 2 then; 3 now",
        "data: layer 'data': the list of its items is another one",
        "data: layer 'data': seed 1 then; 2 now",
        "data: a: other content", "data: b: not read now", "data: c: not read then",
    ]  # fmt: skip
    assert compare.data({}, now) == ["data: layer 'data' is new"]
    assert compare.data(None, now) == ["data: its hashes are not known"]
    commits = [{"sources": s, "commit": c, "changed": f}
               for s, c, f in (("1", "a" * 40, []), ("2", "b" * 40, ["x.py"]))]  # fmt: skip
    assert compare.toolkits(*commits) == [
        f"toolkit: commit {'a' * 12} then; commit {'b' * 12} with changes in x.py now"
    ]
