from __future__ import annotations

import pytest
from google.protobuf import text_format

from solvers import settings
from tools.common.cli import UserError


@pytest.fixture
def solver(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text(
        'train_net: "t" base_lr: 1 test_iter: 3 stepvalue: 1 stepvalue: 2 snapshot_prefix: "a/b"'
    )
    return str(path)


@pytest.mark.parametrize(
    "change, field, value",
    [
        ("base_lr=1e-9", "base_lr", pytest.approx(1e-9)),
        ("max_iter = 7", "max_iter", 7),
        ("lr_policy=step", "lr_policy", "step"),
        ("snapshot_prefix=it's a \\ name", "snapshot_prefix", "it's a \\ name"),
        ("snapshot_format=HDF5", "snapshot_format", 0),
        ("test_initialization=false", "test_initialization", False),
        ("test_iter=5", "test_iter", [5]),
        ("stepvalue=4, 5,6", "stepvalue", [4, 5, 6]),
        ("snapshot_prefix=é", "snapshot_prefix", "é"),
    ],
)
def test_a_change_replaces_what_the_file_says(solver, change, field, value):
    assert getattr(settings.read_solver(solver, [change]), field) == value


@pytest.mark.parametrize(
    "change, words",
    [
        ("base_lr", "field=value"),
        ("=3", "field=value"),
        ("bas_lr=3", "did you mean 'base_lr'"),
        ("qqqqq=3", "no field 'qqqqq'"),
        ("base_lr=fast", "fast"),
        ("max_iter=1.5", "max_iter"),
        ("snapshot_format=TOML", "TOML"),
        ("train_state=x", "fields of its own"),
        ("base_lr=1 max_iter: 3", "base_lr"),
    ],
)
def test_a_wrong_change_is_refused_in_one_line(solver, change, words):
    with pytest.raises(UserError) as raised:
        settings.read_solver(solver, [change])
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_written_is_what_was_read(solver, tmp_path):
    param = settings.read_solver(solver, ["base_lr=0.1"])
    param.snapshot_prefix = str(tmp_path / "new" / "folder" / "train")
    with settings.in_force(param) as path:
        assert settings.read_solver(path) == param
    assert settings.read_solver(path) == param


def test_settings_of_a_training_that_did_not_begin_leave_those_in_force(solver, tmp_path):
    prefix = f"snapshot_prefix={tmp_path}/train"
    first = settings.read_solver(solver, ["base_lr=0.1", prefix])
    with settings.in_force(first) as path:
        pass
    with (
        pytest.raises(KeyError),
        settings.in_force(settings.read_solver(solver, ["base_lr=0.2", prefix])),
    ):
        raise KeyError
    assert settings.read_solver(path) == first


@pytest.mark.parametrize("text", ["my notes", "# mine\nbase_lr: 0.1\n", "base_lr:0.1"])
def test_settings_that_somebody_has_written_are_kept(solver, tmp_path, text):
    param = settings.read_solver(solver)
    param.snapshot_prefix = str(tmp_path / "train")
    path = tmp_path / "solver_in_force.prototxt"
    path.write_text(text)
    refused = "in_force.prototxt: the file that is there is not a s"
    with pytest.raises(UserError, match=refused):
        settings.check_effective(param)
    with pytest.raises(UserError, match=refused), settings.in_force(param):
        pass
    assert path.read_text() == text


def test_settings_that_an_earlier_version_wrote_are_replaced(solver, tmp_path):
    param = settings.read_solver(solver)
    param.snapshot_prefix = str(tmp_path / "train")
    (tmp_path / "solver_in_force.prototxt").write_text(text_format.MessageToString(param))
    with settings.in_force(param) as path:
        assert settings.read_solver(path) == param


def test_the_home_folder_may_stand_before_a_solvers_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    (tmp_path / "my.prototxt").write_text('train_net: "~/a" test_net: "~/b" snapshot_prefix: "~/c"')
    param = settings.read_solver("my.prototxt")
    assert (param.train_net, param.test_net[0]) == ("/somewhere/a", "/somewhere/b")
    assert param.snapshot_prefix == "/somewhere/c"


@pytest.mark.parametrize("prefix", ["snapshots/", "there"])
def test_a_prefix_that_is_a_folder_gets_the_solver_files_name(tmp_path, monkeypatch, prefix):
    """As Caffe has it; the folder may still have to be made if it ends in a slash."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "my.prototxt").write_text(f'snapshot_prefix: "{prefix}"')
    param = settings.read_solver("my.prototxt")
    assert param.snapshot_prefix == prefix.rstrip("/") + "/my"
