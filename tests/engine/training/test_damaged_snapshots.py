"""Snapshots that are broken, of another net or other data, or that cannot be written whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import caffe
from caffe.compute import rng
from caffe.engine import Error, InputError, position_path
from caffe.training.snapshots import layer_states
from tests.helpers.net_texts import CLASSIFIER, SNAPSHOTS, data, fill, ip, losses, params


def damage_cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


DAMAGES = {
    "no state": ("s_iter_2.solverstate", lambda p: p.unlink(), "solverstate: no such file"),
    "state cut": ("s_iter_2.solverstate", damage_cut, "solverstate"),
    "state empty": ("s_iter_2.solverstate", lambda p: p.write_bytes(b""), "solverstate"),
    "no model": ("s_iter_2.caffemodel", lambda p: p.unlink(), "caffemodel"),
    "model cut": ("s_iter_2.caffemodel", damage_cut, "caffemodel"),
    "position cut": ("s_iter_2.position.json", damage_cut, "position.json: broken"),
    "position empty": ("s_iter_2.position.json", lambda p: p.write_text(""), "position.json"),
    "position a list": ("s_iter_2.position.json", lambda p: p.write_text("[]"), "position.json"),
    "position binary": (
        "s_iter_2.position.json", lambda p: p.write_bytes(b"\xff\xfe\x00"), "position.json",
    ),
    "position with a damaged generator": (
        "s_iter_2.position.json",
        lambda p: p.write_text(p.read_text().replace('"cpu": "', '"cpu": "AAAA')),
        "position.json: broken",
    ),
    "position of another iteration": (
        "s_iter_2.position.json",
        lambda p: p.write_text(p.read_text().replace('"iter": 2', '"iter": 3')),
        "iteration 3, not 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
def test_a_broken_snapshot_is_named_and_nothing_restored(make_solver, tmp_path, how):
    name, damage, words = DAMAGES[how]
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.step(2)
    solver.snapshot()
    damage(tmp_path / name)
    other = make_solver(CLASSIFIER, SNAPSHOTS, seed=4)
    before = params(other.net)
    with pytest.raises(InputError) as raised:
        other.restore("s_iter_2.solverstate")
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert other.iter == 0
    assert all(np.array_equal(x, y) for x, y in zip(before, params(other.net)))


def test_where_the_weights_are_broken_the_layers_keep_their_places(make_solver, voc, tmp_path):
    solver = make_solver(voc, SNAPSHOTS)
    solver.step(2)
    solver.snapshot()
    damage_cut(tmp_path / "s_iter_2.caffemodel")
    other = make_solver(voc, SNAPSHOTS)
    alone = make_solver(voc, SNAPSHOTS)
    with pytest.raises(InputError, match="s_iter_2.caffemodel"):
        other.restore("s_iter_2.solverstate")
    states = [layer_states(each.net)["data"] for each in (other, alone)]
    assert states[0]["consumed"] == states[1]["consumed"] == 0
    assert states[0]["seed"] != layer_states(solver.net)["data"]["seed"]


def test_where_the_weights_are_broken_the_generators_go_on_as_they_were(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    rng.draw_seed()
    solver.snapshot()
    damage_cut(tmp_path / "s_iter_0.caffemodel")
    drawn = []
    for broken in (True, False):
        other = make_solver(CLASSIFIER, SNAPSHOTS)
        if broken:
            with pytest.raises(InputError):
                other.restore("s_iter_0.solverstate")
        drawn.append(rng.draw_seed())
    assert drawn[0] == drawn[1]


def test_a_state_of_another_net_is_refused(make_solver):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.snapshot()
    text = data(4, 3) + data(4, name="label")
    for net, words in (
        (text + ip("a", "data") + ip("ip", "a") + losses(), "2 history blobs.*4"),
        (text + ip("ip", "data", 5) + losses(), r"history of ip\[0\] has 9 values.*15"),
    ):
        with pytest.raises(InputError, match=f"s_iter_0.solverstate.*{words}"):
            make_solver(net, SNAPSHOTS).restore("s_iter_0.solverstate")


def test_a_state_without_a_position_restores_with_a_warning(make_solver, tmp_path, capfd):
    """As BVLC Caffe's snapshots are."""
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.step(2)
    solver.snapshot()
    (tmp_path / "s_iter_2.position.json").unlink()
    caffe.log.set_min_level(1)
    try:
        other = make_solver(CLASSIFIER, SNAPSHOTS, seed=4)
        other.restore("s_iter_2.solverstate")
    finally:
        caffe.log.set_min_level(None)
    assert other.iter == 2
    assert "s_iter_2.position.json is not there" in capfd.readouterr().err


def test_the_position_of_a_state_that_was_overwritten_is_left_out_with_a_warning(
    make_solver, tmp_path, capfd
):
    """BVLC Caffe writes over the solverstate and leaves the side file."""
    kept = make_solver(CLASSIFIER, SNAPSHOTS)
    kept.step(2)
    kept.snapshot()
    position = (tmp_path / "s_iter_2.position.json").read_bytes()
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    for blob in ("data", "label"):
        solver.net.blobs[blob].data[...] = 1
    solver.step(2)
    solver.snapshot()
    (tmp_path / "s_iter_2.position.json").write_bytes(position)
    caffe.log.set_min_level(1)
    try:
        make_solver(CLASSIFIER, SNAPSHOTS).restore("s_iter_2.solverstate")
    finally:
        caffe.log.set_min_level(None)
    assert "s_iter_2.position.json is of another solverstate" in capfd.readouterr().err


def test_other_data_than_at_the_snapshot_are_refused_in_the_layers_own_words(
    make_solver, voc, tmp_path
):
    solver = make_solver(voc, SNAPSHOTS)
    solver.step(1)
    solver.snapshot()
    (tmp_path / "voc/ImageSets/Segmentation/train.txt").write_text("p0\np1\n")
    with pytest.raises(ValueError, match="train.txt: holds other ids") as raised:
        make_solver(voc, SNAPSHOTS).restore("s_iter_1.solverstate")
    assert raised.value.exit_code == 2


def files(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*") if p.name.startswith((".", "s_"))}


@pytest.mark.parametrize("call", [0, 1, 2])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_failing_write_leaves_earlier_snapshots_whole(
    make_solver, tmp_path, monkeypatch, call, form
):
    solver = make_solver(CLASSIFIER, SNAPSHOTS + f"snapshot_format: {form}")
    solver.snapshot()
    before = files(tmp_path)
    solver.step(1)
    syncs, sync = [], os.fsync
    # fsync of the files, before any takes its place: the call-th one fails.

    def full(handle):
        syncs.append(handle)
        if len(syncs) == call + 1:
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Error, match="cannot write s_iter_1.*No space left on device") as raised:
        solver.snapshot()
    assert raised.value.exit_code == 1
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert not any(name.startswith(".") for name in after)
    assert not any("iter_1.solverstate" in name for name in after)


LIMITED = """
import resource, signal, sys
import caffe
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
solver = caffe.get_solver("solver.prototxt")
solver.snapshot()
solver.step(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    solver.snapshot()
except caffe.engine.Error as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_file_that_grows_too_large_leaves_earlier_snapshots_whole(write, tmp_path, root, form):
    write(data(4, 3) + data(4, name="label") + ip("ip", "data", 999) + losses())
    write(SNAPSHOTS + f"snapshot_format: {form}", "solver.prototxt")
    found = subprocess.run(
        [sys.executable, "-c", LIMITED],
        env={**os.environ, "PYTHONPATH": str(root / "engine"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1, found.stderr
    assert "File too large" in found.stdout and found.stdout.count("\n") == 1
    assert not [p for p in tmp_path.glob("s_iter_1*")] and not [p for p in tmp_path.glob(".*")]
    suffix = ".h5" if form == "HDF5" else ""
    solver = caffe.get_solver("solver.prototxt")
    fill(solver.net)
    solver.restore(f"s_iter_0.solverstate{suffix}")


def test_other_test_data_do_not_stop_a_restore(make_solver, voc, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "1")
    settings = SNAPSHOTS + "test_iter: 2 test_interval: 1"
    solver = make_solver(voc, settings)
    solver.step(1)
    path = solver.snapshot()
    place = tmp_path / position_path(path)
    position = json.loads(place.read_text())
    position["test_layers"][0]["data"]["ids"] = 99
    place.write_text(json.dumps(position))
    other = make_solver(voc, settings)
    other.restore(path)
    assert other.iter == 1
    assert "the test data start again" in capfd.readouterr().err
