"""Solvers in several processes, and what pycaffe has beside nets and solvers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe import log as log_module
from caffe.engine import InputError
from tests.helpers.net_texts import data, fill, ip, layer

ROOT = Path(__file__).resolve().parents[3]
NET = (
    data(4, 3) + data(4, name="label") + ip("hidden", "data", 6) + ip("ip", "hidden", 3)
    + layer("loss", "SoftmaxWithLoss", ["ip", "label"])
)  # fmt: skip
SOLVER = 'net: "net.prototxt" base_lr: 0.3 lr_policy: "fixed" momentum: 0.9 snapshot_prefix: "s"'

WORKER = """
import sys
import numpy as np
import caffe
from tests.helpers.net_texts import fill

rank, uid, by_layer = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "1"
caffe.set_mode_cpu()
caffe.set_solver_count(2)
caffe.set_solver_rank(rank)
caffe.set_multiprocess(True)
solver = caffe.get_solver("solver.prototxt")
fill(solver.net, rank)  # bcast makes both rank 0's
nccl = caffe.NCCL(solver, uid)
nccl.bcast()
solver.add_callback(nccl)
if by_layer:
    solver.net.after_backward(nccl)
stream = np.random.RandomState(rank + 5)
for _ in range(4):
    solver.net.blobs["data"].data[...] = stream.standard_normal((4, 3))
    solver.net.blobs["label"].data[...] = stream.randint(0, 3, 4)
    solver.step(1)
np.savez(f"{rank}.npz", *[b.data for bs in solver.net.params.values() for b in bs])
"""


@pytest.fixture
def ranks():
    """Put solver_count and solver_rank back."""
    yield
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(False)


def run_two(tmp_path, script, *more):
    """Run `script RANK UID *more` as ranks 0 and 1."""
    env = dict(os.environ, OMP_NUM_THREADS="1", GLOG_minloglevel="2", CUDA_VISIBLE_DEVICES="")
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "engine")])
    (tmp_path / "worker.py").write_text(script)
    uid = caffe.NCCL.new_uid()
    running = [
        subprocess.Popen(
            [sys.executable, "worker.py", str(rank), uid, *more],
            cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def trained_by_two(tmp_path, by_layer):
    """The parameters that each of two processes ends with."""
    run_two(tmp_path, WORKER, str(int(by_layer)))
    found = []
    for rank in range(2):
        with np.load(tmp_path / f"{rank}.npz") as stored:
            found.append([stored[name] for name in stored.files])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("by_layer", [False, True])
def test_two_processes_train_as_one_does_on_both_batches(write, tmp_path, by_layer):
    write(NET)
    write(SOLVER, "solver.prototxt")
    first, second = trained_by_two(tmp_path, by_layer)
    for mine, theirs in zip(first, second):
        np.testing.assert_array_equal(mine, theirs)
    write(NET.replace("dim: 4", "dim: 8", 2))
    one = caffe.get_solver("solver.prototxt")
    fill(one.net, 0)
    streams = [np.random.RandomState(rank + 5) for rank in range(2)]
    for _ in range(4):
        for i, stream in enumerate(streams):
            half = slice(4 * i, 4 * i + 4)
            one.net.blobs["data"].data[half] = stream.standard_normal((4, 3))
            one.net.blobs["label"].data[half] = stream.randint(0, 3, 4)
        one.step(1)
    wanted = [blob.data for blobs in one.net.params.values() for blob in blobs]
    for mine, theirs in zip(first, wanted):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


READER = """
import sys
import caffe

rank, uid = int(sys.argv[1]), sys.argv[2]
caffe.set_mode_cpu()
caffe.set_solver_count(2)
caffe.set_solver_rank(rank)
solver = caffe.get_solver("solver.prototxt")
nccl = caffe.NCCL(solver, uid)
nccl.bcast()
solver.add_callback(nccl)
seen = []
solver.net.after_forward(
    lambda i: i == 0 and seen.extend(map(int, solver.net.blobs["label"].data))
)
solver.step(4)
open(f"{rank}.txt", "w").write(" ".join(map(str, seen)))
"""


@pytest.mark.slow
def test_two_processes_share_one_shuffled_order_of_the_data(write, tmp_path):
    """Without a random_seed: each of them would have shuffled in another way."""
    for i in range(8):
        Image.new("RGB", (4, 3), (i, i, i)).save(tmp_path / f"{i}.png")
    write("".join(f"{i}.png {i}\n" for i in range(8)), "list.txt")
    source = 'image_data_param { source: "list.txt" batch_size: 2 shuffle: true }'
    write(
        layer("d", "ImageData", (), ["data", "label"], source) + ip("ip", "data", 9)
        + layer("loss", "SoftmaxWithLoss", ["ip", "label"])
    )  # fmt: skip
    write(SOLVER, "solver.prototxt")
    run_two(tmp_path, READER)
    first, second = ([*map(int, (tmp_path / f"{r}.txt").read_text().split())] for r in (0, 1))
    for epoch in (slice(0, 4), slice(4, 8)):
        assert sorted(first[epoch] + second[epoch]) == list(range(8))


def test_a_single_solver_trains_as_without(make_solver):
    results = []
    for tied in (False, True):
        solver = make_solver(NET, SOLVER)
        stream = np.random.RandomState(0)
        solver.net.blobs["data"].data[...] = stream.standard_normal((4, 3))
        if tied:
            nccl = caffe.NCCL(solver, caffe.NCCL.new_uid())
            nccl.bcast()
            solver.add_callback(nccl)
            solver.net.after_backward(nccl)
        solver.step(3)
        results.append(solver.net.params["ip"][0].data.copy())
    np.testing.assert_array_equal(*results)


def test_ranks_that_cannot_be_are_refused(make_solver, ranks):
    solver = make_solver(NET, SOLVER)
    caffe.set_solver_count(2)
    assert caffe.solver_count() == 2
    with pytest.raises(InputError, match="one uid"):
        caffe.NCCL(solver)
    caffe.set_solver_rank(2)
    assert caffe.solver_rank() == 2
    with pytest.raises(InputError, match="rank 2 of 2"):
        caffe.NCCL(solver, caffe.NCCL.new_uid())


def test_every_uid_is_new():
    assert caffe.NCCL.new_uid() != caffe.NCCL.new_uid()
    assert caffe.has_nccl() in (True, False)


def test_scripts_write_to_the_log_and_choose_its_level(capfd):
    try:
        caffe.init_log()
        caffe.log("hello")
        caffe.init_log(1, True)
        caffe.log("not shown")
        caffe.init_log(0, False)
        caffe.log("neither")
        log_module.log("broken", log_module.ERROR)
    finally:
        log_module.set_min_level(None)
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["hello", "broken"]


def test_a_timer_counts_from_start_to_stop(monkeypatch):
    clock = iter([10.0, 10.25])
    monkeypatch.setattr("caffe.compute.timer.time.perf_counter", lambda: next(clock))
    timer = caffe.Timer()
    assert timer.ms == 0
    timer.start()
    timer.stop()
    assert timer.ms == 250 and timer.ms == 250


def test_a_nets_inside_has_pycaffes_names(write):
    net = caffe.Net(write(NET), caffe.TEST)
    assert [net._bottom_ids(i) for i in range(5)] == [[], [], [0], [2], [3, 1]]
    assert [net._top_ids(i) for i in range(5)] == [[0], [1], [2], [3], [4]]
    assert net._blob_loss_weights == [0, 0, 0, 0, 1]
    with pytest.raises(InputError, match="layer number 5"):
        net._bottom_ids(5)
    batches = list(net._batch({"data": np.ones((6, 3))}))
    assert [batch["data"].sum() for batch in batches] == [12, 6]
    with pytest.raises(InputError, match="MemoryData"):
        net._set_input_arrays(np.ones((4, 1, 1, 1)), np.ones(4))
