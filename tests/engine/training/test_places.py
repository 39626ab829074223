"""Where snapshots go: tried before a training, and given up only when every place was tried."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from caffe.engine import Error, InputError
from caffe.proto import not_utf8
from caffe.training import places
from tests.helpers.net_texts import SNAPSHOTS, data, ip, losses
from tests.helpers.processes import environment

NET = data(4, 3) + data(4, name="label") + ip("ip", "data", 50) + losses()
FILES = {"_iter_5.caffemodel": 1000, "_iter_5.position.json": 0, "_iter_5.solverstate": 500}


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(".s"))


@pytest.mark.parametrize(
    "prefix, words",
    [
        ("none/s", "make the folder none"),
        ("file/s", "file is a file"),
        ("~/none-there/s", "make the folder "),
        ("a\0b", "NUL"),
        ("x" * 300, "too long for a file name"),
        ("x" * 235, "too long for a file name"),
        ("taken", "taken_iter_5.caffemodel is a folder"),
    ],
)
def test_a_prefix_under_which_nothing_can_be_written_is_refused(
    tmp_path, monkeypatch, prefix, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "taken_iter_5.caffemodel").mkdir()
    with pytest.raises(InputError) as raised:
        places.check_room(not_utf8.path(prefix), FILES)
    assert "~" not in str(raised.value)  # the home folder's name stands in its place
    assert words in str(raised.value) and "snapshot_prefix" in str(raised.value)
    assert len(str(raised.value)) < 400


def test_the_trial_leaves_nothing_behind(tmp_path):
    places.check_room(str(tmp_path / "s"), FILES)
    assert list(tmp_path.iterdir()) == []


def test_snapshots_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"takes 1e\+1\d MB and does not fit there"):
        places.check_room(str(tmp_path / "s"), {**FILES, "_iter_5.caffemodel": 10**17})
    assert leftovers(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 64 KiB; needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_training_on_a_disk_that_is_too_small_does_not_begin(make_solver, small_disk):
    (small_disk / "other").write_bytes(bytes(60 << 10))
    settings = SNAPSHOTS.replace('"s"', f'"{small_disk}/s"') + "snapshot: 1"
    solver = make_solver(data(4, 30) + data(4, name="label") + ip("ip", "data", 90) + losses(),
                         settings)  # fmt: skip
    with pytest.raises(InputError, match="does not fit there.*free space"):
        solver.step(1)
    assert solver.iter == 0


def test_a_training_goes_on_where_a_snapshot_within_it_cannot_be_written(
    make_solver, small_disk, capfd, monkeypatch
):
    settings = SNAPSHOTS.replace('"s"', f'"{small_disk}/s"') + "snapshot: 1"
    solver = make_solver(NET, settings)
    solver.step(1)
    full = small_disk / "other"
    full.write_bytes(b"")
    with open(full, "ab") as file, pytest.raises(OSError, match="No space"):
        while True:
            os.write(file.fileno(), bytes(512))
    monkeypatch.setenv("GLOG_minloglevel", "1")
    solver.step(1)
    assert solver.iter == 2
    assert "tries again at the next snapshot" in capfd.readouterr().err
    full.unlink()
    solver.step(1)
    states = sorted(p.name for p in small_disk.glob("*.solverstate"))
    assert states == ["s_iter_1.solverstate", "s_iter_3.solverstate"]


LAST = """
import resource, signal, sys
import caffe
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
solver = caffe.get_solver("solver.prototxt")
solver.reserve_snapshots()
solver.step(2)
full = sys.argv[1]
import caffe.proto.files as files
replace = files.os.replace
def only_elsewhere(part, target):
    if target.startswith(full):
        raise OSError(28, "No space left on device", target)
    replace(part, target)
files.os.replace = only_elsewhere
try:
    solver.last_snapshot()
except caffe.engine.Error as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_last_snapshot_goes_elsewhere_where_its_place_is_full_and_says_so(
    make_solver, tmp_path, root
):
    other = tmp_path / "elsewhere"
    other.mkdir()
    solver = make_solver(NET, SNAPSHOTS)
    run = subprocess.run(
        [sys.executable, "-c", LAST, str(tmp_path / "s_iter")],
        env=environment(root) | {"TMPDIR": str(other), "HOME": str(other)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stderr
    assert "No space left on device" in run.stdout and run.stdout.count("\n") == 1
    place = next(word for word in run.stdout.split() if word.endswith("s_iter_2.solverstate"))
    solver.restore(place)
    assert solver.iter == 2
    assert leftovers(tmp_path) == []


def test_a_last_snapshot_that_fits_nowhere_is_an_error_that_names_each_place(
    make_solver, tmp_path, monkeypatch
):
    solver = make_solver(NET, SNAPSHOTS)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    solver.reserve_snapshots()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        with pytest.raises(Error, match="could not be written anywhere") as raised:
            solver.last_snapshot()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(raised.value).count("File too large") >= 2
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("snapshot-")]


def test_no_room_for_the_position_alone_is_found_before_the_first_iteration(make_solver, tmp_path):
    solver = make_solver(NET, SNAPSHOTS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    model = solver.net.save(str(tmp_path / "x.caffemodel")) or (tmp_path / "x.caffemodel").stat()
    resource.setrlimit(resource.RLIMIT_FSIZE, (model.st_size + 1500, limits[1]))
    try:
        with pytest.raises(InputError, match="does not fit there"):
            solver.reserve_snapshots()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
