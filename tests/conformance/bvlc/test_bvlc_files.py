"""A caffemodel or solverstate that one side writes, the other reads, equal to the bit."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.conformance import both, report
from tests.conformance.nets import CLASSIFIER, conv, data, ip, layer, net

SOLVER = [
    "base_lr: 0.05",
    'lr_policy: "step"',
    "gamma: 0.5",
    "stepsize: 6",
    "momentum: 0.9",
    "weight_decay: 0.01",
]
FORMATS = {"BINARYPROTO": [], "HDF5": ["snapshot_format: HDF5"]}
ENDINGS = {
    "BINARYPROTO": [".caffemodel", ".solverstate"],
    "HDF5": [".caffemodel.h5", ".solverstate.h5"],
}
STEPS = 10

# Parameters of one to five axes, and a layer that shares its own.
WEIGHTS = net(
    data(2, 3, 6, 6),
    conv("a", "data"),
    layer("s", "Scale", "a", more="scale_param { bias_term: true }"),
    layer("b", "Bias", "s"),
    conv("c", "b", 3, 1, 'param { name: "w" }'),
    conv("d", "c", 3, 1, 'param { name: "w" }'),
    ip("e", "d", 5),
)


def select(results, prefix):
    return {k: v for k, v in results.items() if k.startswith(prefix)}


def equal(theirs, ours):
    assert theirs and list(theirs) == list(ours)
    for name, value in theirs.items():
        assert np.array_equal(value, ours[name]), f"{name} differs"


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("writer", both.SIDES)
def test_a_snapshot_of_one_is_read_by_the_other(writer, format_name, tmp_path):
    reader = both.SIDES[1 - both.SIDES.index(writer)]
    args = {"prototxt": CLASSIFIER, "solver": SOLVER + FORMATS[format_name], "steps": STEPS}
    args["folder"] = str(tmp_path)
    written = both.run(writer, "train_and_snapshot", args)
    assert {"s_iter_10" + e for e in ENDINGS[format_name]} <= set(written["files"])
    own = both.run(writer, "restore_and_train", args)
    other = both.run(reader, "restore_and_train", args)
    equal(select(written, "at the snapshot"), select(other, "at the snapshot"))
    equal(select(written, "at the snapshot"), select(own, "at the snapshot"))
    assert other["iteration"] == own["iteration"] == STEPS
    # The history came over whole: training goes on as the writer's own does.
    equal(select(written, "after"), select(own, "after"))
    errors = both.compare(select(written, "after"), select(other, "after"), 1e-4)
    report.record("files", f"snapshot of {writer}, {format_name}: 10 iterations on", errors)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("writer", both.SIDES)
def test_a_restored_state_is_written_again_to_the_bit(writer, format_name, tmp_path):
    reader = both.SIDES[1 - both.SIDES.index(writer)]
    args = {"prototxt": CLASSIFIER, "solver": SOLVER + FORMATS[format_name], "steps": STEPS}
    args["folder"] = str(tmp_path)
    written = both.run(writer, "train_and_snapshot", args)
    again = both.run(reader, "restore_and_snapshot", args)
    equal(select(written, "state: "), select(again, "state: "))
    report.record("files", f"solverstate of {writer}, {format_name}: to the bit")


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5"])
@pytest.mark.parametrize("writer", both.SIDES)
def test_weights_of_one_are_read_by_the_other(writer, suffix, tmp_path):
    reader = both.SIDES[1 - both.SIDES.index(writer)]
    args = {"prototxt": WEIGHTS, "folder": str(tmp_path)}
    written = both.run(writer, "save_weights", args)
    args["weights_file"] = str(tmp_path / f"w{suffix}")
    equal(written, both.run(reader, "load_weights", args))
    if suffix.endswith("h5"):
        equal(written, both.run(reader, "load_weights", dict(args, load_hdf5=True)))
    report.record("files", f"weights of {writer}, {suffix}: to the bit")


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5"])
@pytest.mark.parametrize("name", ["w.weights", "w.h5", "w.caffemodel.copy"])
def test_weights_are_read_under_any_name_by_both(suffix, name, tmp_path):
    args = {"prototxt": WEIGHTS, "folder": str(tmp_path), "weights_file": str(tmp_path / name)}
    written = both.run("bvlc", "save_weights", args)
    os.replace(tmp_path / f"w{suffix}", args["weights_file"])
    for theirs_or_ours in both.run_both("load_weights", args):
        equal(written, theirs_or_ours)
    if suffix.endswith("h5"):
        for theirs_or_ours in both.run_both("load_weights", dict(args, load_hdf5=True)):
            equal(written, theirs_or_ours)
    else:
        assert both.both_or_neither("load_weights", dict(args, load_hdf5=True)) is None
    report.record("files", "weights under any name: to the bit")


def stacked(*names):
    """A net of InnerProducts of these names, one on another."""
    bottoms = ["data", *(f"top{i}" for i in range(len(names)))]
    tops = [ip(name, bottoms[i], 3 + i, top=f"top{i}") for i, name in enumerate(names)]
    return net(data(2, 3), *tops)


@pytest.mark.parametrize("names", [["a", "a/bn", "a/bn/scale"], ["a", "a/7"], ["a", "a//b"]])
def test_bvlc_caffes_hdf5_of_names_with_a_slash_is_read(names, tmp_path):
    """It writes them and cannot read them again."""
    args = {"prototxt": stacked(*names), "folder": str(tmp_path)}
    args["weights_file"] = str(tmp_path / "w.caffemodel.h5")
    written = both.run("bvlc", "save_weights", args)
    expected = {key.replace("//", "/"): value for key, value in written.items()}
    ours = dict(args, prototxt=stacked(*(name.replace("//", "/") for name in names)))
    equal(expected, both.run("engine", "load_weights", ours))
    if not both.BVLC_ON_BOTH_SIDES:
        with pytest.raises(both.ScenarioFailed, match="Incompatible number of blobs"):
            both.run("bvlc", "load_weights", args)
    report.record("files", "HDF5 of BVLC Caffe, a slash in a name: read by the engine")


@pytest.mark.parametrize(
    "names", [["a/b"], [""], ["a", "a/0"], ["b", "a", "a"], ["a/b", "a"], ["."]]
)
def test_bvlc_caffe_reads_the_layers_that_it_could_write_of_the_engines_hdf5(names, tmp_path):
    if both.BVLC_ON_BOTH_SIDES:
        pytest.skip("BVLC Caffe cannot write it")
    args = {"prototxt": stacked(*names), "folder": str(tmp_path)}
    with pytest.raises(both.ScenarioFailed, match="HDF5|Error saving"):
        both.run("bvlc", "save_weights", args)
    written = both.run("engine", "save_weights", args)
    args["weights_file"] = str(tmp_path / "w.caffemodel.h5")
    first = names[0]
    if first.isalpha():
        theirs = both.run("bvlc", "load_weights", dict(args, prototxt=stacked(first)))
        equal(select(written, f"param {first}["), theirs)
    report.record("files", "HDF5 of any names of layers: written by the engine alone")


def test_weights_of_another_shape_are_refused_by_both(tmp_path):
    args = {"prototxt": WEIGHTS, "folder": str(tmp_path)}
    both.run("bvlc", "save_weights", args)
    args = {"weights_file": str(tmp_path / "w.caffemodel")}
    args["prototxt"] = WEIGHTS.replace("num_output: 5", "num_output: 6")
    assert both.both_or_neither("load_weights", args) is None
    report.record("files", "weights of another shape: refused by both")


def test_weights_stored_as_float16_are_read_by_the_engine_and_not_by_bvlc_caffe(tmp_path):
    from caffe.proto.wire import read_weights, write_float16

    args = {"prototxt": WEIGHTS, "folder": str(tmp_path)}
    both.run("bvlc", "save_weights", args)
    stored = read_weights(tmp_path / "w.caffemodel")
    args["weights_file"] = str(tmp_path / "half.caffemodel")
    write_float16(args["weights_file"], {name: [b for _, b in blobs] for name, _, blobs in stored})
    whole = both.run(
        "engine", "load_weights", dict(args, weights_file=str(tmp_path / "w.caffemodel"))
    )
    halves = both.run("engine", "load_weights", args)
    for name, values in whole.items():
        assert abs(halves[name] - values).max(initial=0) <= abs(values).max(initial=0) * 2.0**-11
    if not both.BVLC_ON_BOTH_SIDES:
        with pytest.raises(both.ScenarioFailed, match=r"count_ == proto.data_size\(\)"):
            both.run("bvlc", "load_weights", args)
    report.record("files", "weights of float16: read by the engine, refused by BVLC Caffe")
