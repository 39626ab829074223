"""The files: committed ones are fresh, text is readable and exact, solvers follow the paper."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, strategies as st

from caffe.proto import caffe_pb2
from prototxt import generate
from prototxt.build import NETS, net_proto, net_text
from prototxt.tasks import TASKS
from prototxt.text import float_text, text
from tests.helpers.data_sets import TRAIN, VAL, write_toml, write_voc

ROOT = Path(__file__).parents[2]


def solver(task, net="dilated-fcn2s-vgg16"):
    path = f"prototxt/nets/{task}/{net}/solver.prototxt"
    made = generate.task_files([task], [net])[path]
    return text_format.Parse(made, caffe_pb2.SolverParameter())


def test_committed_net_files_are_what_the_generator_makes():
    made = generate.task_files()
    stale = [p for p, text in made.items() if not (ROOT / p).is_file()
             or (ROOT / p).read_bytes() != text.encode()]  # fmt: skip
    assert not stale, "run: make generate-nets"


def test_no_committed_net_file_is_left_from_a_former_table():
    committed = {p.relative_to(ROOT).as_posix() for p in (ROOT / "prototxt/nets").rglob("*.*")}
    assert committed == set(generate.task_files())


@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("phase", ["train", "deploy"])
def test_the_text_of_a_net_reads_back_as_the_net(net, phase):
    read = text_format.Parse(net_text(TASKS["voc"], net, phase), caffe_pb2.NetParameter())
    assert read == net_proto(TASKS["voc"], net, phase)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_is_written_so_that_it_reads_back_exactly(value):
    assert np.float32(float_text(value)) == np.float32(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [(1.0, "1"), (0.0, "0"), (0.01, "0.01"), (1e-4, "0.0001"), (1e-6, "1e-06"),
     (1e-8, "1e-08"), (1e-10, "1e-10"), (0.99, "0.99"), (104.00698793, "104.00699")],
)  # fmt: skip
def test_a_float_is_written_in_its_shortest_form(value, written):
    assert float_text(float(np.float32(value))) == written


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_any_string_survives_the_text_format(value):
    layer = caffe_pb2.LayerParameter()
    layer.name = value
    assert text_format.Parse(text(layer), caffe_pb2.LayerParameter()) == layer


@pytest.mark.parametrize(("task", "iterations"), [("voc", 100000), ("sbd", 200000)])
def test_the_solver_follows_the_published_schedule(task, iterations):
    made = solver(task)
    folder = f"prototxt/nets/{task}/dilated-fcn2s-vgg16"
    assert made.train_net == f"{folder}/train.prototxt"
    assert list(made.test_net) == [f"{folder}/val.prototxt"]
    assert list(made.test_iter) == [346]
    assert made.test_interval == 999999999 and not made.test_initialization
    assert made.HasField("test_initialization")
    assert np.float32(made.base_lr) == np.float32(1e-10)
    assert np.float32(made.momentum) == np.float32(0.99)
    assert np.float32(made.weight_decay) == np.float32(0.0005)
    assert (made.lr_policy, made.iter_size, made.max_iter) == ("fixed", 1, iterations)
    assert (made.display, made.average_loss, made.snapshot) == (20, 20, 5000)
    assert made.snapshot_prefix == f"runs/{task}/dilated-fcn2s-vgg16/train"


def test_the_solver_leaves_the_mode_to_the_script():
    assert not solver("voc").HasField("solver_mode")


@pytest.mark.slow
def test_another_data_root_changes_only_the_data_folders():
    plain, moved = generate.task_files(), generate.task_files(data="/big/disk")
    assert plain.keys() == moved.keys()
    for path in plain:
        assert moved[path].replace("/big/disk/", "data/") == plain[path]
    assert "'/big/disk/sbd'" in moved["prototxt/nets/sbd/dilated-fcn2s-vgg19/train.prototxt"]


def test_the_command_writes_the_chosen_net_and_names_its_folder(tmp_path, capsys):
    out = tmp_path / "nets"
    assert generate.main(["--task", "voc", "--net", "dilated-fcn2s-vgg16", "--out", str(out)]) == 0
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == [
        f"voc/dilated-fcn2s-vgg16/{name}.prototxt" for name in ("deploy", "solver", "train", "val")
    ]
    assert capsys.readouterr().out == f"{out}/voc/dilated-fcn2s-vgg16\n"


def test_a_file_that_is_already_right_is_not_rewritten(tmp_path):
    path = tmp_path / "net" / "train.prototxt"
    made = "# a net\n# Made by `make generate-nets`\nlayer {}\n"
    generate.write({str(path): made})
    before = path.stat().st_mtime_ns, path.stat().st_ino
    generate.write({str(path): made})
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    generate.write({str(path): made + "layer { }\n"})
    assert path.read_text() == made + "layer { }\n"
    assert [p.name for p in path.parent.iterdir()] == ["train.prototxt"]


@pytest.mark.parametrize("name", ["deploy.prototxt", "task.toml"])
def test_a_file_that_no_generator_has_written_is_kept_and_nothing_is_written(
    tmp_path, capsys, name
):
    data = write_voc(tmp_path / "data", train=TRAIN, val=VAL)
    toml = write_toml(tmp_path / "my.toml", data)
    folder = tmp_path / "out" / "fcn32s-vgg16"
    folder.mkdir(parents=True)
    (folder / name).write_text("# my net\n# by hand\n")
    call = ["--own", str(toml), "--net", "fcn32s-vgg16", "--out", str(tmp_path / "out")]
    assert generate.main(call) == 2
    assert f"{name}: the file that is there is not a generated one" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [name]
    (folder / name).unlink()
    assert generate.main(call) == generate.main(call) == 0


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, capsys, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert generate.main(["--task", "voc", "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert re.fullmatch(r"error: .*/voc/.*\.prototxt: No space left on device\n", err)


def test_an_output_folder_that_cannot_be_made_is_one_line_and_exit_1(tmp_path, capsys):
    (tmp_path / "nets").write_text("a file")
    assert generate.main(["--task", "voc", "--out", str(tmp_path / "nets" / "here")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "nets" in err and err.count("\n") == 1
