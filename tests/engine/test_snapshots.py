from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from net_texts import CLASSIFIER, data, fill, ip, layer, losses, params
from PIL import Image

import caffe
from caffe import ranks, rng
from caffe.engine import Error, InputError, position_path
from caffe.proto import caffe_pb2
from caffe.snapshots import layer_states

MEAN = (104.0, 117.0, 123.0)
SETTINGS = (
    'net: "net.prototxt" base_lr: 1e-4 lr_policy: "multistep" gamma: 0.5 stepvalue: 2 '
    'stepvalue: 5 momentum: 0.9 weight_decay: 0.01 average_loss: 4 snapshot_prefix: "s" '
    "random_seed: 3 "
)


@pytest.fixture
def voc(tmp_path):
    """Five pictures of differing sizes in VOC's layout; the prototxt of a net that reads them."""
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    stream = np.random.RandomState(0)
    names = [f"p{i}" for i in range(5)]
    for i, name in enumerate(names):
        size = (6 + i, 9 - i)
        pixels = stream.randint(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        label = Image.fromarray(stream.randint(0, 3, size).astype(np.uint8))
        label.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))
    param = {"voc_dir": str(root), "split": "train", "mean": MEAN, "classes": 3}
    return f"""
        layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{
          module: "voc_layers" layer: "VOCSegDataLayer" param_str: "{param}" }} }}
        layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
          num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
        layer {{ name: "drop" type: "Dropout" bottom: "conv" top: "conv" }}
        layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param {{
          num_output: 3 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
        layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
          loss_param {{ ignore_label: 255 normalize: false }} }}"""


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
    settings = SETTINGS + f"snapshot_format: {form}"
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
    whole = make_solver(voc, SETTINGS)
    whole.step(5)
    solver = make_solver(voc, SETTINGS)
    solver.step(3)
    path = solver.snapshot()
    other = make_solver(voc, SETTINGS, seed=4)
    other.restore(path)
    other.step(2)
    assert list(other._losses) == list(whole._losses) and len(other._losses) == 4
    assert other._smoothed == whole._smoothed


def test_a_snapshot_is_three_files_and_the_state_names_the_model(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SETTINGS)
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
    solver = make_solver(CLASSIFIER, SETTINGS)
    order, replace = [], os.replace
    monkeypatch.setattr(
        "os.replace", lambda a, b: (order.append(b.rsplit(".", 1)[1]), replace(a, b))
    )
    solver.snapshot()
    assert order == ["caffemodel", "json", "solverstate"]


def test_current_step_is_stored_as_caffe_stores_it(make_solver, tmp_path):
    settings = SETTINGS.replace('"multistep"', '"step" stepsize: 2')
    solver = make_solver(CLASSIFIER, settings)
    solver.step(5)
    state = caffe_pb2.SolverState()
    state.ParseFromString((tmp_path / solver.snapshot()).read_bytes())
    assert state.current_step == 2  # of iteration 4, the last one done


def test_snapshot_diff_stores_the_gradients(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SETTINGS + "snapshot_diff: true")
    solver.step(1)
    solver.net.params["ip"][1].diff[...] = 7
    solver.snapshot()
    stored = caffe_pb2.NetParameter()
    stored.ParseFromString((tmp_path / "s_iter_1.caffemodel").read_bytes())
    blobs = next(layer.blobs for layer in stored.layer if layer.name == "ip")
    assert list(blobs[1].diff) == [7, 7, 7]


def test_the_model_is_found_beside_a_state_that_was_moved(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SETTINGS)
    solver.snapshot()
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in tmp_path.glob("s_*"):
        file.rename(moved / file.name)
    other = make_solver(CLASSIFIER, SETTINGS, seed=4)
    other.restore("moved/s_iter_0.solverstate")
    assert all(np.array_equal(x, y) for x, y in zip(params(solver.net), params(other.net)))


# -- restoring from what is broken


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
    solver = make_solver(CLASSIFIER, SETTINGS)
    solver.step(2)
    solver.snapshot()
    damage(tmp_path / name)
    other = make_solver(CLASSIFIER, SETTINGS, seed=4)
    before = params(other.net)
    with pytest.raises(InputError) as raised:
        other.restore("s_iter_2.solverstate")
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert other.iter == 0
    assert all(np.array_equal(x, y) for x, y in zip(before, params(other.net)))


def test_where_the_weights_are_broken_the_layers_keep_their_places(make_solver, voc, tmp_path):
    solver = make_solver(voc, SETTINGS)
    solver.step(2)
    solver.snapshot()
    damage_cut(tmp_path / "s_iter_2.caffemodel")
    other = make_solver(voc, SETTINGS)
    alone = make_solver(voc, SETTINGS)
    with pytest.raises(InputError, match="s_iter_2.caffemodel"):
        other.restore("s_iter_2.solverstate")
    states = [layer_states(each.net)["data"] for each in (other, alone)]
    assert states[0]["consumed"] == states[1]["consumed"] == 0
    assert states[0]["seed"] != layer_states(solver.net)["data"]["seed"]


def test_where_the_weights_are_broken_the_generators_go_on_as_they_were(make_solver, tmp_path):
    solver = make_solver(CLASSIFIER, SETTINGS)
    rng.draw_seed()
    solver.snapshot()
    damage_cut(tmp_path / "s_iter_0.caffemodel")
    drawn = []
    for broken in (True, False):
        other = make_solver(CLASSIFIER, SETTINGS)
        if broken:
            with pytest.raises(InputError):
                other.restore("s_iter_0.solverstate")
        drawn.append(rng.draw_seed())
    assert drawn[0] == drawn[1]


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
    settings = SETTINGS + "test_iter: 2 test_interval: 1 max_iter: 3 display: 1 snapshot: 2"
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
    solver = make_solver(CLASSIFIER, SETTINGS)
    solver.step(1)
    path = solver.snapshot()
    drawn = {}
    for rank in (0, 1, 2, 1):
        monkeypatch.setattr(ranks, "_state", {"count": 3, "rank": rank, "multiprocess": True})
        make_solver(CLASSIFIER, SETTINGS).restore(path)
        drawn.setdefault(rank, set()).add(rng.draw_seed())
    assert len(set.union(*drawn.values())) == len(drawn) == 3
    monkeypatch.setattr(ranks, "_state", {"count": 1, "rank": 0, "multiprocess": False})
    make_solver(CLASSIFIER, SETTINGS).restore(path)
    assert rng.draw_seed() in drawn[0]


def test_a_state_of_another_net_is_refused(make_solver):
    solver = make_solver(CLASSIFIER, SETTINGS)
    solver.snapshot()
    text = data(4, 3) + data(4, name="label")
    for net, words in (
        (text + ip("a", "data") + ip("ip", "a") + losses(), "2 history blobs.*4"),
        (text + ip("ip", "data", 5) + losses(), r"history of ip\[0\] has 9 values.*15"),
    ):
        with pytest.raises(InputError, match=f"s_iter_0.solverstate.*{words}"):
            make_solver(net, SETTINGS).restore("s_iter_0.solverstate")


def test_a_state_without_a_position_restores_with_a_warning(make_solver, tmp_path, capfd):
    """As BVLC Caffe's snapshots are."""
    solver = make_solver(CLASSIFIER, SETTINGS)
    solver.step(2)
    solver.snapshot()
    (tmp_path / "s_iter_2.position.json").unlink()
    caffe.log.set_min_level(1)
    try:
        other = make_solver(CLASSIFIER, SETTINGS, seed=4)
        other.restore("s_iter_2.solverstate")
    finally:
        caffe.log.set_min_level(None)
    assert other.iter == 2
    assert "s_iter_2.position.json is not there" in capfd.readouterr().err


def test_the_position_of_a_state_that_was_overwritten_is_left_out_with_a_warning(
    make_solver, tmp_path, capfd
):
    """BVLC Caffe writes over the solverstate and leaves the side file."""
    kept = make_solver(CLASSIFIER, SETTINGS)
    kept.step(2)
    kept.snapshot()
    position = (tmp_path / "s_iter_2.position.json").read_bytes()
    solver = make_solver(CLASSIFIER, SETTINGS)
    for blob in ("data", "label"):
        solver.net.blobs[blob].data[...] = 1
    solver.step(2)
    solver.snapshot()
    (tmp_path / "s_iter_2.position.json").write_bytes(position)
    caffe.log.set_min_level(1)
    try:
        make_solver(CLASSIFIER, SETTINGS).restore("s_iter_2.solverstate")
    finally:
        caffe.log.set_min_level(None)
    assert "s_iter_2.position.json is of another solverstate" in capfd.readouterr().err


def test_other_data_than_at_the_snapshot_are_refused_in_the_layers_own_words(
    make_solver, voc, tmp_path
):
    solver = make_solver(voc, SETTINGS)
    solver.step(1)
    solver.snapshot()
    (tmp_path / "voc/ImageSets/Segmentation/train.txt").write_text("p0\np1\n")
    with pytest.raises(ValueError, match="train.txt: holds other ids") as raised:
        make_solver(voc, SETTINGS).restore("s_iter_1.solverstate")
    assert raised.value.exit_code == 2


# -- a disk that is full


def files(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*") if p.name.startswith((".", "s_"))}


@pytest.mark.parametrize("call", [0, 1, 2])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_failing_write_leaves_earlier_snapshots_whole(
    make_solver, tmp_path, monkeypatch, call, form
):
    solver = make_solver(CLASSIFIER, SETTINGS + f"snapshot_format: {form}")
    solver.snapshot()
    before = files(tmp_path)
    solver.step(1)
    syncs, sync = [], os.fsync
    # fsync of files, of the folder behind each: the call-th file fails.

    def full(handle):
        syncs.append(handle)
        if len(syncs) == 2 * call + 1:
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


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_file_that_grows_too_large_leaves_earlier_snapshots_whole(write, tmp_path, root, form):
    write(data(4, 3) + data(4, name="label") + ip("ip", "data", 999) + losses())
    write(SETTINGS + f"snapshot_format: {form}", "solver.prototxt")
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


def test_the_position_holds_plain_json(make_solver, voc, tmp_path):
    solver = make_solver(voc, SETTINGS)
    solver.step(2)
    solver.snapshot()
    position = json.loads((tmp_path / "s_iter_2.position.json").read_text())
    assert position["iter"] == 2 and len(position["losses"]) == 2
    assert position["layers"]["data"]["consumed"] == 2
    assert "cpu" in position["generators"]


def test_the_data_of_the_test_nets_go_on_too(make_solver, voc):
    settings = SETTINGS + "test_iter: 2 test_interval: 1"
    solver = make_solver(voc, settings)
    solver.step(3)
    path = solver.snapshot()
    solver.step(1)
    other = make_solver(voc, settings, seed=4)
    other.restore(path)
    other.step(1)
    first, second = (s.test_nets[0].blobs["data"].data for s in (solver, other))
    np.testing.assert_array_equal(first, second)


def test_other_test_data_do_not_stop_a_restore(make_solver, voc, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "1")
    settings = SETTINGS + "test_iter: 2 test_interval: 1"
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
