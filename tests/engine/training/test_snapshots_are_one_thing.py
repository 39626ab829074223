"""A snapshot's files belong together: what is of another snapshot, run or net is not taken."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import caffe
from caffe.engine import Error, InputError
from tests.helpers import no_files
from tests.helpers.net_texts import SNAPSHOTS, data, fill, ip, losses, params

TWO = data(4, 3) + data(4, name="label") + ip("low", "data", 5) + ip("high", "low") + losses("high")

FORMS = pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])


def ending(form):
    return ".h5" if form == "HDF5" else ""


def snapshot(make_solver, form, net=TWO, steps=2, seed=0):
    solver = make_solver(net, SNAPSHOTS + f"snapshot_format: {form}", seed)
    solver.net.blobs["data"].data[...] = np.arange(12).reshape(4, 3) / 10
    solver.step(steps)
    return solver, solver.snapshot()


@FORMS
@pytest.mark.parametrize("other", ["iteration", "run"])
def test_a_caffemodel_of_another_iteration_or_run_is_refused(make_solver, form, other):
    solver, path = snapshot(make_solver, form)
    model = f"s_iter_2.caffemodel{ending(form)}"
    if other == "iteration":
        solver.step(1)
    else:
        fill(solver.net, 9)
    save = solver.net.save_hdf5 if form == "HDF5" else solver.net.save
    save(model)
    fresh = make_solver(TWO, SNAPSHOTS, seed=4)
    before = params(fresh.net)
    with pytest.raises(InputError, match=f"{model}: is not the caffemodel that {path} was written"):
        fresh.restore(path)
    assert all(np.array_equal(a, b) for a, b in zip(before, params(fresh.net)))


@FORMS
@pytest.mark.parametrize("with_position", [True, False])
def test_a_caffemodel_that_lacks_a_layer_is_refused(make_solver, form, with_position):
    """Also where nothing but the solverstate says what belongs to it, as of BVLC Caffe's."""
    _, path = snapshot(make_solver, form)
    small = caffe.get_solver("solver.prototxt").net
    small.layer_dict["low"].layer_param.name = "renamed"
    small._layer_names[small._layer_names.index("low")] = "renamed"
    (small.save_hdf5 if form == "HDF5" else small.save)(f"s_iter_2.caffemodel{ending(form)}")
    if not with_position:
        os.unlink("s_iter_2.position.json")
    with pytest.raises(InputError, match="has no parameter 0 of layer 'low'"):
        make_solver(TWO, SNAPSHOTS).restore(path)


@FORMS
def test_a_copied_folder_is_resumed_from_its_own_caffemodel(
    make_solver, tmp_path, monkeypatch, form
):
    place = tmp_path / "first"
    place.mkdir()
    absolute = SNAPSHOTS.replace('"s"', f'"{place}/s"') + f"snapshot_format: {form}"
    solver = make_solver(TWO, absolute)
    solver.step(2)
    path = solver.snapshot()
    whole = params(solver.net)
    copy = tmp_path / "second"
    shutil.copytree(place, copy)
    fill(solver.net, 9)
    solver.snapshot()  # the original's caffemodel is another now
    fresh = make_solver(TWO, absolute, seed=4)
    fresh.restore(str(copy / os.path.basename(path)))
    assert all(np.array_equal(a, b) for a, b in zip(whole, params(fresh.net)))


def test_a_caffemodel_at_the_path_in_the_solverstate_serves_where_none_lies_beside(
    make_solver, tmp_path
):
    solver, path = snapshot(make_solver, "BINARYPROTO")
    (tmp_path / "moved").mkdir()
    for name in (path, "s_iter_2.position.json"):
        shutil.move(name, tmp_path / "moved")
    fresh = make_solver(TWO, SNAPSHOTS, seed=4)
    fresh.restore(f"moved/{path}")
    assert all(np.array_equal(a, b) for a, b in zip(params(solver.net), params(fresh.net)))


@FORMS
@pytest.mark.parametrize("step", range(4))
def test_a_kill_between_the_renames_leaves_no_mixture(
    make_solver, tmp_path, monkeypatch, form, step
):
    """Written over another snapshot of its iteration: the old one whole, or none, or the new."""
    first, path = snapshot(make_solver, form, seed=1)
    second, _ = snapshot(make_solver, form, steps=1, seed=2)
    second.step(1)
    steps = []
    unlink, replace = os.unlink, os.replace

    class Killed(BaseException):
        pass

    def counted(function):
        def call(*args):
            if str(args[-1]).startswith(str(tmp_path / "s_iter")):
                if len(steps) == step:
                    raise Killed
                steps.append(args)
            return function(*args)

        return call

    monkeypatch.setattr("os.unlink", counted(unlink))
    monkeypatch.setattr("os.replace", counted(replace))
    with pytest.raises(Killed):
        second.snapshot()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    fresh = make_solver(TWO, SNAPSHOTS, seed=4)
    if step == 0:
        fresh.restore(path)
        assert all(np.array_equal(a, b) for a, b in zip(params(first.net), params(fresh.net)))
    else:
        assert not os.path.exists(path)


def test_a_position_of_an_older_engine_is_read_without_ids_and_fingerprints(make_solver, tmp_path):
    solver, path = snapshot(make_solver, "BINARYPROTO")
    place = tmp_path / "s_iter_2.position.json"
    stored = json.loads(place.read_text())
    for key in ("weights_crc32", "run", "lineage"):
        del stored[key]
    place.write_text(json.dumps(stored))
    fresh = make_solver(TWO, SNAPSHOTS, seed=4)
    fresh.restore(path)
    assert fresh.iter == 2 and fresh._run.lineage == [(None, 2)]


@pytest.mark.parametrize("kind", no_files.KINDS)
@pytest.mark.parametrize("name", ["s_iter_2.position.json", "s.run.json"])
def test_what_is_no_file_beside_a_solverstate_is_not_waited_for(make_solver, kind, name):
    solver, path = snapshot(make_solver, "BINARYPROTO")
    os.unlink(name)
    no_files.put(kind, os.path.abspath(name))
    with no_files.in_time():
        if name.startswith("s.run"):
            assert [found for _, found, _ in caffe.engine.snapshots("s")] == [path]
        else:
            with pytest.raises(InputError, match=f"{name}: it is .*, not a regular file"):
                solver.restore(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_written(make_solver, tmp_path, value):
    solver, _ = snapshot(make_solver, "BINARYPROTO")
    solver.step(1)
    solver.net.params["high"][0].data[0, 0] = value
    with pytest.raises(Error, match=r"weights of high\[0\] are not finite") as raised:
        solver.snapshot()
    assert raised.value.exit_code == 1
    assert not list(tmp_path.glob("s_iter_3*"))


def test_large_weights_whose_sum_is_beyond_a_float32_are_written(make_solver, tmp_path):
    solver, _ = snapshot(make_solver, "BINARYPROTO")
    solver.net.params["high"][0].data[...] = 3e38
    solver.snapshot()


class Failing(caffe.Layer):
    """Fails in the pass that `at` names, `part` of it."""

    at, part = 0, "forward"
    calls = 0

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def _fail(self, part):
        if part == Failing.part:
            Failing.calls += 1
            if Failing.calls == Failing.at:
                raise MemoryError("no memory is left")

    def forward(self, bottom, top):
        self._fail("forward")
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self._fail("backward")
        bottom[0].diff[...] = top[0].diff


def failing_net(voc, bottom, reader):
    """`voc` with a Failing layer between the blob `bottom` and the layer `reader`."""
    head, _, tail = voc.replace("'classes'", "'seed': 5, 'classes'").partition(
        f'layer {{ name: "{reader}"'
    )
    failing = (
        f'layer {{ name: "fail" type: "Python" bottom: "{bottom}" top: "late" python_param {{ '
        f'module: "{__name__}" layer: "Failing" }} }}\n'
    )
    return head + failing + f'layer {{ name: "{reader}"' + tail.replace(f'"{bottom}"', '"late"', 1)


@pytest.fixture
def fails_at():
    """fails_at(part, call): Failing's `part` raises MemoryError at its call of that number."""

    def set_failing(part, call):
        Failing.part, Failing.at, Failing.calls = part, call, 0

    yield set_failing
    set_failing("forward", 0)
    caffe.engine.set_lean(False)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("part", ["forward", "backward"])
@pytest.mark.parametrize("more", ["", "iter_size: 2 "])
def test_after_an_error_in_an_iteration_the_snapshot_is_of_the_last_whole_one(
    make_solver, voc, fails_at, lean, part, more
):
    """And goes on with the picture that the iteration failed at."""
    net, settings = failing_net(voc, "score", "loss"), SNAPSHOTS + more
    caffe.engine.set_lean(lean)
    through = make_solver(net, settings)
    through.step(5)
    fails_at(part, 8 if more else 4)
    solver = make_solver(net, settings)
    with pytest.raises(MemoryError):
        solver.step(5)
    assert solver.iter == 3
    path = solver.snapshot()
    other = make_solver(net, settings, seed=7)
    other.restore(path)
    other.step(2)
    assert all(np.array_equal(a, b) for a, b in zip(params(through.net), params(other.net)))


def test_an_iteration_that_failed_between_two_updates_has_no_snapshot(
    make_solver, voc, fails_at, monkeypatch
):
    monkeypatch.setattr("caffe.run.early_updates._SMALL", 0)
    caffe.engine.set_lean(True)
    solver = make_solver(failing_net(voc, "conv", "score"), SNAPSHOTS)
    fails_at("backward", 2)
    with pytest.raises(MemoryError):
        solver.step(5)
    with pytest.raises(Error, match="iteration 1 ended between the updates of two parameters"):
        solver.snapshot()
    solver.step(1)
    solver.snapshot()
