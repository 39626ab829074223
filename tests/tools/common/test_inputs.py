"""What a file is that an option names, and what is said where it is not what is wanted."""

from __future__ import annotations

import io
import os

import h5py
import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers import tiny_run
from tools.common.cli import UserError
from tools.common.inputs import check_input, kind_of

NET = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 3, 2, 2] } } }\n' + (
    'layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param '
    '{ num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }\n'
    'layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "c" top: "l" }\n'
)
SOLVER = 'train_net: "net.prototxt"\nbase_lr: 1e-3\nlr_policy: "fixed"\nsnapshot_prefix: "x"\n'


def picture(form):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(stream, form)
    return stream.getvalue()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A folder with a file of each kind, named after it."""
    folder = tmp_path_factory.mktemp("kinds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, content in {
            "net.prototxt": NET,
            "old.prototxt": 'name: "old"\nlayers { name: "d" type: DATA top: "d" }',
            "typo.prototxt": NET + "layer { nmae: 'x' }",
            "solver.prototxt": SOLVER,
            "badsolver.prototxt": SOLVER.replace("base_lr", "bse_lr"),
            "notes.txt": "0001TP_006690\n0001TP_006720\n",
            "page.caffemodel": "<!DOCTYPE html><title>404</title>",
            "lfs.caffemodel": "version https://git-lfs.github.com/spec/v1\nsize 5\n",
        }.items():
            (folder / name).write_text(content)
        (folder / "gbk.prototxt").write_bytes("# 卷积\n".encode("gbk") + NET.encode())
        (folder / "photo.jpg").write_bytes(picture("JPEG"))
        (folder / "photo.png").write_bytes(picture("PNG"))
        caffe.set_mode_cpu()
        for form in ("BINARYPROTO", "HDF5"):
            (folder / "solver.tmp").write_text(SOLVER + f"snapshot_format: {form}\n")
            caffe.get_solver("solver.tmp").snapshot()
        (folder / "solver.tmp").unlink()
        with h5py.File("other.h5", "w") as file:
            file["block1"] = np.zeros(3)
        (folder / "empty.caffemodel").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("net.prototxt", "net"),
        ("old.prototxt", "net"),
        ("typo.prototxt", "net"),
        ("gbk.prototxt", "net"),
        ("solver.prototxt", "solver"),
        ("badsolver.prototxt", "solver"),
        ("x_iter_0.caffemodel", "weights"),
        ("x_iter_0.caffemodel.h5", "weights"),
        ("x_iter_0.solverstate", "state"),
        ("x_iter_0.solverstate.h5", "state"),
        ("other.h5", ""),
        ("photo.jpg", ""),
        ("photo.png", ""),
        ("notes.txt", "a text file"),
        ("empty.caffemodel", "empty"),
    ],
)
def test_a_file_is_what_its_content_says(kinds, name, kind):
    assert kind_of(kinds / name) == kind


@pytest.mark.parametrize(
    ("wanted", "name", "said"),
    [
        ("solver", "net.prototxt", "is a net's prototxt, not a solver's prototxt; did"),
        ("solver", "x_iter_0.caffemodel", "is a caffemodel, not a solver's prototxt"),
        ("solver", "notes.txt", "it is a text that begins '0001TP_006690', not a solver's"),
        ("net", "solver.prototxt", "is a solver's prototxt, not a net's prototxt; its nets"),
        ("net", "photo.jpg", r"it is a picture \(JPEG\), not a net's prototxt"),
        ("weights", "photo.png", r"it is a picture \(PNG\), not a caffemodel"),
        ("weights", "solver.prototxt", "is a solver's prototxt, not a caffemodel"),
        ("weights", "x_iter_0.solverstate", "did you mean {}/x_iter_0.caffemodel?"),
        ("weights", "x_iter_0.position.json", "did you mean {}/x_iter_0.caffemodel?"),
        ("weights", "lfs.caffemodel", "a Git LFS pointer, .*`git lfs pull`"),
        ("weights", "empty.caffemodel", "the file is empty"),
        ("state", "x_iter_0.caffemodel", "did you mean {}/x_iter_0.solverstate?"),
        ("state", "x_iter_0.caffemodel.h5", "is a caffemodel, not a solverstate"),
        ("state", "net.prototxt", "is a net's prototxt, not a solverstate"),
        ("text", "x_iter_0.caffemodel", "is a caffemodel, not a text file"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_as_what_it_is(kinds, wanted, name, said):
    said = said.format(kinds)
    with pytest.raises(UserError, match=f"^--option {kinds}/{name}: .*{said}"):
        check_input(str(kinds / name), wanted, "--option")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("solver", ["solver.prototxt", "badsolver.prototxt"]),
        ("net", ["net.prototxt", "old.prototxt", "typo.prototxt", "gbk.prototxt"]),
        ("weights", ["x_iter_0.caffemodel", "x_iter_0.caffemodel.h5", "other.h5"]),
        ("state", ["x_iter_0.solverstate", "x_iter_0.solverstate.h5"]),
        ("text", ["notes.txt", "net.prototxt"]),
        ("", ["photo.jpg", "notes.txt"]),
    ],
)
def test_a_file_of_the_kind_passes_also_with_a_mistake_in_it(kinds, wanted, names):
    for name in names:
        check_input(kinds / name, wanted, "--option")


def test_a_state_that_has_no_sibling_names_what_to_do_with_weights(kinds, tmp_path):
    alone = tmp_path / "init.caffemodel"
    alone.write_bytes((kinds / "x_iter_0.caffemodel").read_bytes())
    with pytest.raises(UserError, match="start from it with --weights"):
        check_input(alone, "state", "--resume")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("solvr.prototxt", r"no such file; did you mean solver\.prototxt\?"),
        ("SOLVER.prototxt", r"no such file; did you mean solver\.prototxt\?"),
        ("voc/JPEGImage/p0.jpg", r"no folder voc/JPEGImage; did you mean voc/JPEGImages\?"),
        ("vocs/x/y.txt", r"there is no folder vocs; did you mean voc\?"),
        ("elsewhere/y.txt", r"there is no folder elsewhere \(relative paths start from .*/run\)"),
        ("vocs", r"no such file \(relative paths start from .*/run\)"),
        ("init.prototxt", r"no such file \(relative paths start from .*/run\)"),
        ("train.txt", r"no such file; did you mean train\.prototxt\?"),
        ("unlike.xyz", r"no such file \(relative paths start from .*/run\)"),
        ("solver.prototxt/x", "solver.prototxt is a file, not a folder"),
        ("out/train_iter_*.caffemodel", "nothing has a name of this pattern"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_told_with_what_may_be_meant(tmp_path, monkeypatch, path, said):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    tiny_run.lay_out(tmp_path / "run")
    with pytest.raises(UserError, match=f"^--option {path.replace('*', '.')}: .*{said}"):
        check_input(path, "", "--option")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("solver", r"name a file in it: .*{}/solver\.prototxt"),
        ("weights", r"name a file in it: .*{}/x_iter_0\.caffemodel"),
        ("state", r"name a file in it: .*{}/x_iter_0\.solverstate"),
        ("", "name a file"),
    ],
)
def test_a_folder_is_told_with_a_file_in_it(kinds, wanted, said):
    with pytest.raises(UserError, match="is a folder; " + said.format(kinds)):
        check_input(kinds, wanted, "--option")


def test_of_a_folders_snapshots_the_newest_are_named(tmp_path):
    for at in (5, 100, 20, 3):
        (tmp_path / f"train_iter_{at}.caffemodel").touch()
    with pytest.raises(UserError, match="train_iter_5.*train_iter_20.*train_iter_100.caffemodel$"):
        check_input(tmp_path, "weights")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="--net .*pipe: cannot be read .it is a pipe"):
        check_input(tmp_path / "pipe", "net", "--net")


def test_a_kind_that_the_engine_alone_knows_is_left_to_the_reader_elsewhere(tmp_path, monkeypatch):
    path = tmp_path / "weights.caffemodel"
    path.write_bytes(b"\xfd7zXZ\0 packed")
    with pytest.raises(UserError, match="--weights .*: it is an xz archive.*; unpack it first$"):
        check_input(path, "weights", "--weights")
    monkeypatch.delattr(caffe, "engine")
    check_input(path, "weights", "--weights")


def test_nets_solvers_and_snapshots_are_told_apart_without_the_engine_too(kinds, monkeypatch):
    monkeypatch.delattr(caffe, "engine")
    for wanted, name in (("solver", "net.prototxt"), ("weights", "x_iter_0.solverstate"),
                         ("state", "x_iter_0.caffemodel.h5"), ("net", "notes.txt")):  # fmt: skip
        with pytest.raises(UserError, match="it is a"):
            check_input(kinds / name, wanted)
