"""What makes the host wait for a GPU, and what moves, counted on an emulated one."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers import count_waits
from tests.helpers.count_waits import of, of_iteration
from tests.helpers.emulated_gpu import copies, emulated_gpus, waits
from tests.helpers.net_texts import data, fill, ip, layer, losses

SIZE = (20, 16)
DATA, LABEL, CLASSES = 3 * 20 * 16 * 4, 20 * 16 * 4, 20 * 16
PARAMETERS = 4 * (4 * 27 + 4 + 21 * 4 + 21)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GLOG_minloglevel", "3")
        return count_waits.measure(count_waits.pictures("voc", SIZE))


@pytest.fixture
def gpu():
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        yield


@pytest.mark.parametrize(
    "which", ["training iteration", "iteration after a snapshot", "iteration after scoring"]
)
def test_an_iteration_waits_for_nothing_and_sends_its_data_and_labels(counted, which):
    assert counted[which].waits == 0
    # Fetched: the loss that is watched.
    assert counted[which].free_bytes == DATA + LABEL + 4


def test_a_display_is_one_small_copy_of_all_outputs_and_losses(counted):
    found = counted["displayed iteration"]
    assert (found.waits, found.waited_bytes) == (1, 8 * (20 + 2))


def test_a_snapshot_brings_each_parameter_and_history_down_once(counted):
    assert counted["snapshot"].waited_bytes == pytest.approx(2 * PARAMETERS, abs=100)


def test_a_scored_image_brings_down_its_classes_and_waits_once(counted):
    found = counted["scored image"]
    assert (found.waits, found.waited_bytes) == (1, 0)
    assert found.free_bytes == DATA + LABEL + CLASSES + 8 + 4  # extremes of the scores, the loss


def test_a_test_waits_once_for_all_its_batches(counted):
    assert counted["test of 3 batches"].waits == 1


def test_a_blob_that_was_looked_at_is_not_sent_up_before_it_is_overwritten(make_solver, gpu):
    noise = layer(
        "noise", "DummyData", (), ["data", "label"],
        'dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } '
        'data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } }',
    )  # fmt: skip
    net = noise + ip("ip", "data") + layer("tanh", "TanH", "ip") + losses("tanh")
    solver = make_solver(net, 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9')
    solver.step(1)
    blobs = solver.net.blobs
    for name in ("data", "ip", "tanh", "loss"):
        assert blobs[name].data.size and blobs[name].diff.size
    assert solver.net.params["ip"][0].diff.size
    waits.clear()
    solver.step(1)
    assert [wait.bytes for wait in waits if wait.bytes > 4] == []


def input_net(make):
    net = make(data(2, 3) + ip("ip", "data"))
    fill(net)
    return net


def test_numbers_that_a_script_writes_go_up_without_a_wait_and_are_those_of_the_pass(make, gpu):
    caffe.set_mode_cpu()
    expected = input_net(make)
    caffe.set_mode_gpu()
    net = input_net(make)
    net.forward()
    for number in (1.0, 2.0):
        for each in (expected, net):
            each.blobs["data"].data[...] = number
        waits.clear()
        net._passes.forward(0, 1)
        assert waits == []
        caffe.set_mode_cpu()
        expected.forward()
        caffe.set_mode_gpu()
        np.testing.assert_allclose(net.blobs["ip"].data, expected.blobs["ip"].data, rtol=1e-6)


def test_what_is_written_after_a_pass_has_begun_belongs_to_the_next(make, gpu):
    net = input_net(make)
    held = net.blobs["data"].data
    held[...] = 1
    net._forward(0, 0)
    held[...] = 5  # no new view: as in Caffe, the device does not hear of it
    assert net.blobs["data"].read().cpu().unique().tolist() == [1]
    net.blobs["data"].data[...] = 5
    net._forward(0, 0)
    assert net.blobs["data"].read().cpu().unique().tolist() == [5]


def test_a_python_layers_tops_and_diffs_go_up_without_a_wait(make, gpu, write, monkeypatch):
    write(
        "import caffe\n"
        "class Twice(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
        "    def backward(self, top, down, bottom): bottom[0].diff[...] = 2 * top[0].diff\n",
        "twice_layer.py",
    )
    monkeypatch.syspath_prepend(".")
    param = 'python_param { module: "twice_layer" layer: "Twice" }'
    twice = layer("twice", "Python", "ip", more=param)
    net = make("force_backward: true " + data(2, 3) + ip("ip", "data") + twice + ip("ip2", "twice"))
    fill(net)
    net.forward()
    net.backward()
    copies.clear()
    waits.clear()
    net._forward(0, 3)
    net._backward(3, 0)
    down = 2 * 3 * 4
    assert [copy.bytes for copy in copies] == [down, down]
    # What it reads: its bottom's data and its top's diff.
    assert [wait.bytes for wait in waits] == [down, down]


def test_debug_info_waits_once_a_layer_and_pass(make, gpu, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "3")
    net = make("debug_info: true " + data(2, 3) + ip("ip", "data"))
    net._forward(0, 1)
    waits.clear()
    net._forward(0, 1)
    assert len(waits) == 2


def test_clipped_gradients_are_logged_without_a_wait_in_between(
    make_solver, gpu, capfd, monkeypatch
):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    net = data(4, 3) + data(4, name="label") + ip("ip", "data") + losses()
    logged = []
    for mode in (caffe.set_mode_cpu, caffe.set_mode_gpu):
        mode()
        solver = make_solver(
            net, 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" clip_gradients: 0.02'
        )
        solver.net.blobs["data"].data[...] = 1
        solver.step(1)
        capfd.readouterr()
        assert of_iteration(solver, 0).waits == 0
        found = capfd.readouterr().err.splitlines()
        logged.append([line.split("]", 1)[1] for line in found if "clipping" in line])
    assert len(logged[0]) == 2 and logged[0] == logged[1]


def test_the_step_of_a_script_waits_for_nothing_but_what_it_reads(make_solver, gpu):
    net = data(4, 3) + data(4, name="label") + ip("ip", "data") + losses()
    solver = make_solver(net, 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    solver.step(1)
    found = of(lambda: (solver.step(1), float(solver.net.blobs["loss"].data)))
    assert (found.waits, found.waited_bytes) == (1, 4)
    assert of_iteration(solver, 0).waits == 0
