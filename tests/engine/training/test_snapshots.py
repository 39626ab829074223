"""Snapshots: what is in them, and that a run goes on from them to the bit."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import caffe
from caffe import ranks
from caffe.compute import rng
from caffe.engine import position_path
from caffe.proto import caffe_pb2
from tests.helpers.net_texts import CLASSIFIER, SNAPSHOTS, ip, layer, losses, params
from tests.helpers.solver_state import recent_losses


def run(solver, steps):
    """The images' sums, losses, and dropout patterns of some iterations."""
    seen = []
    for _ in range(steps):
        solver.step(1)
        blobs = solver.net.blobs
        seen.append(
            (blobs["data"].data.sum(), float(blobs["loss"].data), blobs["conv"].data.copy())
        )
    return seen


def equal(first, second):
    return all(
        np.array_equal(x, y) for one, two in zip(first, second) for x, y in zip(one, two)
    ) and len(first) == len(second)


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_restored_run_is_the_same_to_the_bit(make_solver, voc, form):
    """Weights, momentum, rate, image order, dropout and the smoothed loss."""
    settings = SNAPSHOTS + f"snapshot_format: {form}"
    solver = make_solver(voc, settings)
    solver.step(3)
    path = solver.snapshot()
    expected = run(solver, 4)
    other = make_solver(voc, settings, seed=8)
    run(other, 2)
    other.restore(path)
    assert other.iter == 3
    got = run(other, 4)
    assert len({image for image, *_ in expected}) > 1
    assert equal(expected, got)
    assert all(np.array_equal(x, y) for x, y in zip(params(solver.net), params(other.net)))
    assert solver.lr == other.lr


def test_the_smoothed_loss_goes_on_after_a_restore(make_solver, voc):
    voc = voc.replace("'classes'", "'seed': 5, 'classes'")
    whole = make_solver(voc, SNAPSHOTS)
    whole.step(5)
    solver = make_solver(voc, SNAPSHOTS)
    solver.step(3)
    path = solver.snapshot()
    other = make_solver(voc, SNAPSHOTS, seed=4)
    other.restore(path)
    other.step(2)
    assert recent_losses(other) == recent_losses(whole) and len(recent_losses(other)) == 4


def test_a_snapshot_is_three_files_and_the_state_names_the_model(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.step(5)
    path = solver.snapshot()
    assert path == "s_iter_5.solverstate"
    assert sorted(p.name for p in tmp_path.glob("s_*")) == [
        "s_iter_5.caffemodel", "s_iter_5.position.json", "s_iter_5.solverstate",
    ]  # fmt: skip
    state = caffe_pb2.SolverState()
    state.ParseFromString((tmp_path / path).read_bytes())
    assert (state.iter, state.learned_net, len(state.history)) == (5, "s_iter_5.caffemodel", 2)
    assert position_path("a/s_iter_5.solverstate.h5") == "a/s_iter_5.position.json"


def test_the_state_is_written_last(make_solver, monkeypatch):
    """Where a solverstate is, what belongs to it is complete."""
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    order, replace = [], os.replace
    monkeypatch.setattr(
        "os.replace", lambda a, b: (order.append(b.rsplit(".", 1)[1]), replace(a, b))
    )
    solver.snapshot()
    assert order[-3:] == ["json", "caffemodel", "solverstate"]


def test_current_step_is_stored_as_caffe_stores_it(make_solver, tmp_path):
    settings = SNAPSHOTS.replace('"multistep"', '"step" stepsize: 2')
    solver = make_solver(CLASSIFIER, settings)
    solver.step(5)
    state = caffe_pb2.SolverState()
    state.ParseFromString((tmp_path / solver.snapshot()).read_bytes())
    assert state.current_step == 2  # of iteration 4, the last one done


@pytest.mark.parametrize("more", ["", "iter_size: 2 "])
def test_a_lean_nets_gradients_are_in_its_snapshots_too(make_solver, tmp_path, more):
    stored = []
    for lean in (False, True):
        caffe.engine.set_lean(lean)
        solver = make_solver(CLASSIFIER, SNAPSHOTS + "snapshot_diff: true " + more)
        solver.net.blobs["data"].data[...] = np.arange(12).reshape(4, 3) / 10
        solver.step(2)
        solver.snapshot()
        stored.append((tmp_path / "s_iter_2.caffemodel").read_bytes())
    assert stored[0] == stored[1]


def test_snapshot_diff_stores_the_gradients(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SNAPSHOTS + "snapshot_diff: true")
    solver.step(1)
    solver.net.params["ip"][1].diff[...] = 7
    solver.snapshot()
    stored = caffe_pb2.NetParameter()
    stored.ParseFromString((tmp_path / "s_iter_1.caffemodel").read_bytes())
    blobs = next(layer.blobs for layer in stored.layer if layer.name == "ip")
    assert list(blobs[1].diff) == [7, 7, 7]


def test_the_model_is_found_beside_a_state_that_was_moved(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.snapshot()
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in tmp_path.glob("s_*"):
        file.rename(moved / file.name)
    other = make_solver(CLASSIFIER, SNAPSHOTS, seed=4)
    other.restore("moved/s_iter_0.solverstate")
    assert all(np.array_equal(x, y) for x, y in zip(params(solver.net), params(other.net)))


NOISY = (
    layer("data", "DummyData", (), "data", "dummy_data_param { shape { dim: 4 dim: 3 } "
          'data_filler { type: "gaussian" } }')
    + layer("label", "DummyData", (), "label", "dummy_data_param { shape { dim: 4 } }")
    + ip("ip", "data") + layer("drop", "Dropout", "ip", "ip") + losses()
)  # fmt: skip


@pytest.mark.parametrize("net", ["pictures", "noise"])
@pytest.mark.parametrize("action", ["stop", "snapshot"])
@pytest.mark.parametrize("iteration", [1, 3])
def test_a_snapshot_within_a_test_resumes_as_a_run_without_one(
    make_solver, voc, net, action, iteration
):
    """Iteration 3 is the last: the pass for the last display has read a picture more by then."""
    text = voc if net == "pictures" else NOISY
    settings = SNAPSHOTS + "test_iter: 2 test_interval: 1 max_iter: 3 display: 1 snapshot: 2"
    solver, seen, asks = make_solver(text, settings), [], [action]
    start = solver.snapshot()
    test_net = solver.test_nets[0]
    test_net.after_forward(lambda i: i == 0 and seen.append(solver.iter))
    solver.set_action_function(lambda: asks.pop() if asks and seen.count(iteration) == 1 else None)
    solver.solve()
    runs = []
    for path in (start, f"s_iter_{iteration}.solverstate"):
        other = make_solver(text, settings)
        other.restore(path)
        other.step(5 - other.iter)
        blobs = [each.blobs["data"].data for each in (other.net, other.test_nets[0])]
        runs.append([*blobs, *params(other.net), other.net.blobs["loss"].data])
    for whole, resumed in zip(*runs):
        np.testing.assert_array_equal(resumed, whole)


def test_of_several_solvers_each_restores_masks_of_its_own(make_solver, monkeypatch):
    solver = make_solver(CLASSIFIER, SNAPSHOTS)
    solver.step(1)
    path = solver.snapshot()
    drawn = {}
    for rank in (0, 1, 2, 1):
        monkeypatch.setattr(ranks, "_state", {"count": 3, "rank": rank, "multiprocess": True})
        make_solver(CLASSIFIER, SNAPSHOTS).restore(path)
        drawn.setdefault(rank, set()).add(rng.draw_seed())
    assert len(set.union(*drawn.values())) == len(drawn) == 3
    monkeypatch.setattr(ranks, "_state", {"count": 1, "rank": 0, "multiprocess": False})
    make_solver(CLASSIFIER, SNAPSHOTS).restore(path)
    assert rng.draw_seed() in drawn[0]


def test_the_position_holds_plain_json(make_solver, voc, tmp_path):
    solver = make_solver(voc, SNAPSHOTS)
    solver.step(2)
    solver.snapshot()
    position = json.loads((tmp_path / "s_iter_2.position.json").read_text())
    assert position["iter"] == 2 and len(position["losses"]) == 2
    assert position["layers"]["data"]["consumed"] == 2
    assert "cpu" in position["generators"]


def test_the_data_of_the_test_nets_go_on_too(make_solver, voc):
    settings = SNAPSHOTS + "test_iter: 2 test_interval: 1"
    solver = make_solver(voc, settings)
    solver.step(3)
    path = solver.snapshot()
    solver.step(1)
    other = make_solver(voc, settings, seed=4)
    other.restore(path)
    other.step(1)
    first, second = (s.test_nets[0].blobs["data"].data for s in (solver, other))
    np.testing.assert_array_equal(first, second)
