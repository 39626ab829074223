"""What solve.py keeps of a training, so that it can be trained again."""

from __future__ import annotations

import hashlib
import json
import signal
import threading

import numpy as np
import pytest
from PIL import Image

from solvers import receipt as receipts, solve as solve_module
from tests.helpers import tiny_run
from tools.receipts import files

BEGIN = ("--weights", "init.caffemodel", "--cpu")


def solve(folder, *args):
    code, lines = tiny_run.solve(folder, *args)
    assert code == 0, lines
    return lines


def receipt(folder):
    return json.loads((folder / "out/receipt.json").read_text())


def losses(folder):
    return [n for n in files.lines(folder / "out/losses.jsonl") if "losses" in n]


def change_a_pixel(path):
    image = Image.open(path)
    pixels = np.asarray(image).copy()
    pixels[0, 0] = (pixels[0, 0] + 1) % 3
    Image.fromarray(pixels).save(path)


def test_a_receipt_has_the_hashes_of_all_that_was_read(folder):
    solve(folder, *BEGIN)
    found = receipt(folder)
    (part,) = found["parts"]
    (data,) = found["data"]
    hashes = {**part["files"], **data["data"]["files"]}
    assert len(hashes) == 1 + 2 * 6
    for path, known in hashes.items():
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == known
    assert data["data"]["items"] == 6 and data["data"]["seed"] == 11
    weights = hashlib.sha256((folder / "init.caffemodel").read_bytes()).hexdigest()
    assert part["start"] == {"path": "init.caffemodel", "sha256": weights}
    assert "momentum: 0.9" in part["settings"]
    assert {"threads", "PyTorch", "device"} <= part["machine"].keys()
    assert str(folder) not in json.dumps(found)


def test_a_training_that_goes_on_keeps_the_losses_of_one_that_was_not_stopped(folder, tmp_path):
    solve(folder, *BEGIN)
    whole = losses(folder)
    assert [line["iter"] for line in whole] == list(range(12))
    for path in (folder / "out").iterdir():
        path.unlink()
    solve(folder, *BEGIN, "--stop-at", "7")
    with open(folder / "out/losses.jsonl", "a") as file:
        file.write(json.dumps({"iter": 7, "losses": {"loss": 1.0}}) + '\n{"iter": 8, "los')
    solve(folder, "--resume", "auto", "--cpu")
    assert losses(folder) == whole
    assert [part["from"] for part in receipt(folder)["parts"]] == [0, 7]


def test_a_training_that_goes_back_forgets_what_it_leaves(folder):
    solve(folder, *BEGIN)
    solve(folder, "--resume", "out/train_iter_5.solverstate", "--cpu", "--set", "base_lr=1e-7")
    solve(folder, "--resume", "out/train_iter_5.solverstate", "--cpu")
    assert [part["from"] for part in receipt(folder)["parts"]] == [0, 5]
    assert [line["iter"] for line in losses(folder)] == list(range(12))


def test_checksums_of_the_parameters_are_those_of_the_snapshot(folder):
    solve(folder, *BEGIN)
    *_, last = files.lines(folder / "out/losses.jsonl")
    assert last["iter"] == 12
    position = json.loads((folder / "out/train_iter_12.position.json").read_text())
    assert last["weights"] == position["weights_crc32"]


def test_data_that_has_changed_before_a_training_goes_on_is_told(folder):
    solve(folder, *BEGIN, "--stop-at", "5")
    change_a_pixel(folder / "voc/SegmentationClass/p3.png")
    lines = solve(folder, "--resume", "auto", "--cpu")
    assert any("the data is not what it was until iteration 5" in line for line in lines), lines
    first, second = receipt(folder)["data"]
    changed = [p for p, known in first["data"]["files"].items()
               if second["data"]["files"][p] != known]  # fmt: skip
    assert changed == ["voc/SegmentationClass/p3.png"]


def test_somebody_elses_files_of_these_names_are_kept(folder):
    (folder / "out").mkdir()
    for name in (files.RECEIPT, files.LOSSES):
        (folder / "out" / name).write_text("mine")
    lines = solve(folder, *BEGIN)
    for name in (files.RECEIPT, files.LOSSES):
        assert (folder / "out" / name).read_text() == "mine"
        assert any(f"out/{name}" in line for line in lines if line.startswith("warning:")), lines


def test_a_training_stops_at_an_iteration_with_the_rates_of_the_whole(folder):
    more = ("--set", "lr_policy=poly", "--set", "power=1", "--set", "base_lr=1e-6")
    solve(folder, *BEGIN, *more)
    whole = tiny_run.result(folder, 12)
    for path in (folder / "out").iterdir():
        path.unlink()
    lines = solve(folder, *BEGIN, *more, "--stop-at", "7")
    assert "stopped at iteration 7 of 12, with a snapshot" in lines
    assert tiny_run.snapshots(folder)[-1] == 7
    lines = solve(folder, "--resume", "auto", "--cpu", *more, "--stop-at", "7")
    assert any("--stop-at N trains on" in line for line in lines)
    solve(folder, "--resume", "auto", "--cpu", *more)
    assert tiny_run.result(folder, 12) == whole


@pytest.mark.parametrize(
    "every, begin, marks",
    [(5, 0, [20, 25, 30]), (0, 3, [23]), (7, 3, [23, 27, 34]), (50, 50, [70, 120])],
)
def test_checksums_are_kept_so_many_iterations_after_each_snapshot(every, begin, marks):
    from solvers.receipt import Record

    record = Record.__new__(Record)
    record._every, record._begin = every, begin
    found, at = [], begin
    while len(found) < len(marks):
        at = record.next_mark(at)
        found.append(at)
    assert found == marks


def test_a_stopped_training_does_not_wait_for_the_hashes_of_its_data(call, folder, monkeypatch):
    released, hashed = threading.Event(), []

    def slow(net, message):
        released.wait(60)
        hashed.append(net)
        raise OSError("too late")

    class Stopped(solve_module.SignalRequests):
        def __init__(self, **alone):
            super().__init__(**alone)
            self.stop = signal.SIGTERM

    monkeypatch.setattr(receipts.read_data, "described", slow)
    monkeypatch.setattr(receipts, "HURRY", 0.01)
    monkeypatch.setattr(solve_module, "SignalRequests", Stopped)
    try:
        code, said = call("--weights", "init.caffemodel")
        assert code == 128 + signal.SIGTERM and not hashed
        assert sum("without the hashes of the data" in line for line in said) == 1
        assert "resume with --resume auto" in said[-1]
        assert receipt(folder)["parts"][0]["data"] is None
    finally:
        released.set()
