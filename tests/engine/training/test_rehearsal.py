"""A rehearsal counts what the passes then take, changes nothing, and chooses what is recomputed."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

import caffe
from caffe.compute import device, rng
from caffe.proto import caffe_pb2
from tests.helpers.meta_gpu import count_step, make_solver, meta_gpu
from tests.helpers.net_texts import fill, params
from tests.helpers.planned_nets import NETS, segmenting
from tools.planning.torch_memory import peak_of

engine = caffe.engine
RULES = 'momentum: 0.9 weight_decay: 0.0005 base_lr: 1e-6 lr_policy: "fixed" snapshot_prefix: "s" '


@pytest.fixture(autouse=True)
def lean(monkeypatch):
    caffe.set_mode_cpu()
    engine.set_lean(True)
    yield
    engine.set_lean(False)


def net_of(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def solver_of(rules=RULES):
    return text_format.Parse(rules, caffe_pb2.SolverParameter())


def feed(net):
    stream = np.random.RandomState(0)
    for name in net.inputs:
        blob = net.blobs[name]
        high = stream.randint(0, 2, blob.shape) if name == "label" else stream.rand(*blob.shape)
        blob.data[...] = high


def trained(folder, text, steps=3, recomputed=(), rules=RULES):
    """A solver after some steps, and its parameters."""
    caffe.set_random_seed(3)
    solver = make_solver(folder, text, recomputed, rules)
    fill(solver.net)
    for _ in range(steps):
        feed(solver.net)
        solver.step(1)
    return solver


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_what_training_takes_is_what_was_rehearsed(name, rule, tmp_path):
    text, rules = NETS[name](), RULES + f'type: "{rule}" '
    planned = engine.rehearse(net_of(text), solver_of(rules))
    solver = trained(tmp_path, text, rules=rules)
    measured = peak_of(lambda: solver.step(1))
    assert planned.peak == pytest.approx(measured, rel=0.1)


def test_a_loss_that_weighs_classes_by_a_file_is_rehearsed_as_one_that_does_not(tmp_path):
    text = segmenting()
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=5, width=5)
    blob.data.extend(np.eye(5, dtype=np.float32).ravel().tolist())
    (tmp_path / "h.binaryproto").write_bytes(blob.SerializeToString())
    weighted = text.replace(
        'type: "SoftmaxWithLoss"',
        f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path}/h.binaryproto" }}',
    )
    assert weighted.count("InfogainLoss") == 1
    plain, weighted = (engine.rehearse(net_of(one), solver_of()) for one in (text, weighted))
    assert weighted.peak == pytest.approx(plain.peak, rel=0.1)


@pytest.mark.parametrize("name", NETS)
def test_what_a_forward_pass_takes_is_what_was_rehearsed(name, tmp_path):
    text = NETS[name]()
    planned = engine.rehearse(net_of(text))
    (tmp_path / "net.prototxt").write_text(text)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    feed(net)
    net.forward()
    assert planned.peak == pytest.approx(peak_of(net.forward), rel=0.1)


@pytest.mark.parametrize("name", NETS)
def test_for_a_gpu_tensors_are_counted_as_on_a_gpu_that_is_emulated(name, tmp_path):
    text = NETS[name]()
    planned = engine.rehearse(net_of(text), solver_of(), gpu=True)
    with meta_gpu():
        counted = count_step(make_solver(tmp_path, text, rule=RULES))
    assert planned.peak == pytest.approx(counted.peak, rel=0.02)


def test_a_test_net_adds_its_own(tmp_path):
    net = net_of(segmenting())
    alone = engine.rehearse(net, solver_of())
    beside = engine.rehearse(net, solver_of(), net_of(segmenting(side=300)))
    assert beside.peak > alone.peak
    assert beside.layer.endswith(" (test)") and not alone.layer.endswith(" (test)")


def test_a_rehearsal_changes_no_setting_and_draws_no_number():
    caffe.set_random_seed(3)
    before, engine_lean = rng.get_state(), caffe.settings.lean()
    engine.choose_remade(net_of(segmenting()), solver_of("random_seed: 9 " + RULES))
    assert rng.get_state() == before
    assert caffe.settings.lean() == engine_lean and not device.imagines()


def test_a_rehearsal_writes_nothing_into_the_log(capfd):
    engine.rehearse(net_of(segmenting()), solver_of())
    assert capfd.readouterr() == ("", "")


def test_what_is_recomputed_fits_the_memory_that_is_given(tmp_path):
    net = net_of(segmenting(dropout=False))
    before, least = engine.choose_remade(net, solver_of())
    assert least.remade and least.taken < before.taken
    limit = (before.taken + least.taken) // 2
    _, found = engine.choose_remade(net, solver_of(), limit=limit)
    assert least.taken <= found.taken <= limit
    assert 0 < len(found.remade) <= len(least.remade)
    solver = trained(tmp_path, segmenting(dropout=False), recomputed=found.remade)
    assert peak_of(lambda: solver.step(1)) == pytest.approx(found.peak, rel=0.1)


def test_where_there_is_room_nothing_is_recomputed():
    net = net_of(segmenting())
    before, after = engine.choose_remade(net, solver_of(), limit=10**12)
    assert before is after and after.remade == ()


def test_where_nothing_fits_the_least_is_found():
    before, after = engine.choose_remade(net_of(segmenting()), solver_of(), limit=1000)
    assert 1000 < after.taken <= before.taken


def test_what_is_chosen_leaves_the_numbers_as_they_are(tmp_path):
    text = segmenting()
    _, least = engine.choose_remade(net_of(text), solver_of())
    plain = trained(tmp_path, text)
    again = trained(tmp_path, text, recomputed=least.remade)
    for one, other in zip(params(plain.net), params(again.net)):
        assert one.tobytes() == other.tobytes()


def test_a_net_that_cannot_be_built_is_refused():
    wrong = 'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }'
    with pytest.raises(engine.InputError, match="bottom blob 'x'"):
        engine.rehearse(net_of(wrong))
    with pytest.raises(engine.InputError, match="solver type 'Sgd'"):
        engine.rehearse(net_of(segmenting()), solver_of('type: "Sgd"'))
    assert not device.imagines()


@pytest.mark.parametrize("gpu", [False, True])
def test_a_training_after_a_rehearsal_has_the_bits_of_one_without(tmp_path, gpu):
    """With sizes of its own: what is kept from pass to pass is made here."""
    text = segmenting(side=86 + 2 * gpu, channels=8, dropout=False)
    rules = RULES.replace("1e-6", "0.01")
    engine.rehearse(net_of(text), solver_of(rules), gpu=gpu)
    after = trained(tmp_path, text, rules=rules).net
    engine.set_folding(False)
    try:
        plain = trained(tmp_path, text, rules=rules).net
    finally:
        engine.set_folding(True)
    np.testing.assert_allclose(after.blobs["loss"].data, plain.blobs["loss"].data, rtol=1e-5)
    for one, other in zip(params(after), params(plain)):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
