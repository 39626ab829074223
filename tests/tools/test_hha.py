"""tools/hha.py from the command line to the files it writes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.helpers import depth_rooms as rooms
from tests.helpers.processes import environment, gone, wait_until
from tools import hha
from tools.common import cli
from tools.datasets.depth_geometry import CAMERAS

CAMERA_TEXT = ",".join(map(repr, rooms.CAMERA))


def save(path, values):
    """A depth PNG (uint16), or what Pillow makes of another array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def load(path):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.array(image)


def run(*argv):
    """The exit code of hha.py in this process."""
    with pytest.raises(SystemExit) as caught:
        cli.run(hha.main, [str(a) for a in argv])
    return caught.value.code


def said(capsys):
    """The lines on stderr but for those of progress."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if not line.startswith("encoding")]


def small(seed=0):
    """A small depth image of a room, 60 x 80."""
    camera = rooms.Camera(*(value / 4 for value in rooms.CAMERA))
    return rooms.render(25, 2, 9 * seed, camera=camera, shape=(60, 80)).depth


SMALL_CAMERA = ",".join(repr(value / 4) for value in rooms.CAMERA)


@pytest.fixture
def folder(tmp_path):
    """Three depth images in a folder."""
    for seed in range(3):
        save(tmp_path / "depth" / f"img_{seed}.png", small(seed))
    return tmp_path / "depth"


@pytest.mark.slow
def test_script_writes_an_rgb_png_of_the_same_name_with_the_kinects_camera(tmp_path):
    camera = CAMERAS[425, 560]
    depth = rooms.render(20, camera=camera, shape=(425, 560)).depth
    save(tmp_path / "d" / "img_5001.png", depth)
    assert run(tmp_path / "d", "--out", tmp_path / "deep/hha") == 0
    assert os.listdir(tmp_path / "deep/hha") == ["img_5001.png"]
    got = load(tmp_path / "deep/hha/img_5001.png")
    np.testing.assert_array_equal(got, hha.encode(depth, camera))


def test_script_takes_raw_depth_from_a_folder_or_a_file(tmp_path):
    depth = small()
    raw = depth.copy()
    raw[20:40, 20:40] = 0
    save(tmp_path / "d/a.png", depth)
    save(tmp_path / "r/a.png", raw)
    camera = rooms.Camera(*map(float, SMALL_CAMERA.split(",")))
    for place in (tmp_path / "r", tmp_path / "r/a.png"):
        out = tmp_path / f"out-{place.name}"
        argv = (tmp_path / "d/a.png", "--raw-depth", place, "--camera", SMALL_CAMERA)
        assert run(*argv, "--out", out) == 0
        np.testing.assert_array_equal(load(out / "a.png"), hha.encode(depth, camera, raw))


@pytest.mark.slow
def test_floor_and_unit_reach_the_encoding(tmp_path):
    room, depth = rooms.noisy_room()
    save(tmp_path / "d/a.png", (depth * 5).astype(np.uint16))
    argv = (tmp_path / "d", "--camera", CAMERA_TEXT, "--unit", 0.2, "--floor", "lowest")
    assert run(*argv, "--out", tmp_path / "o") == 0
    want = hha.encode(depth, rooms.CAMERA, floor="lowest")
    np.testing.assert_allclose(load(tmp_path / "o/a.png").astype(int), want, atol=1)


@pytest.mark.slow
def test_parallel_run_writes_the_same_bytes(folder, tmp_path):
    for jobs in (1, 2):
        argv = (folder, "--out", tmp_path / f"out{jobs}", "--camera", SMALL_CAMERA)
        assert run(*argv, "--jobs", jobs) == 0
    names = sorted(os.listdir(folder))
    assert sorted(os.listdir(tmp_path / "out1")) == sorted(os.listdir(tmp_path / "out2")) == names
    for name in names:
        one, two = ((tmp_path / out / name).read_bytes() for out in ("out1", "out2"))
        assert one == two


def test_images_that_are_there_are_left_alone_unless_told(folder, tmp_path, capsys):
    out = tmp_path / "out"
    save(out / "img_1.png", np.zeros((60, 80, 3), np.uint8))
    argv = (folder, "--out", out, "--camera", SMALL_CAMERA, "--jobs", 1)
    assert run(*argv) == 0
    assert not load(out / "img_1.png").any() and load(out / "img_0.png").any()
    assert "1 of 3 frames are in" in capsys.readouterr().out
    assert run(*argv) == 0
    assert "3 of 3 frames are in" in capsys.readouterr().out
    assert run(*argv, "--overwrite") == 0
    assert load(out / "img_1.png").any()


def cut(path, keep=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def noise(path):
    """Noise does not compress: half of the file is half of the picture."""
    save(path, np.random.RandomState(0).randint(1000, 5000, (60, 80)).astype(np.uint16))


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda p: save(p, np.zeros((60, 80), np.uint16)), "no depth: every pixel is 0"),
        (lambda p: save(p, np.eye(60, 80, dtype=np.uint16) * 900), "too few measured pixels"),
        (
            lambda p: save(p, np.ones((60, 80), np.uint8)),
            "depth in L pixels; expected a 16-bit gray PNG",
        ),
        (lambda p: save(p, np.ones((60, 80, 3), np.uint8)), "depth in RGB pixels"),
        (lambda p: (noise(p), cut(p)), "cannot be read (image file is truncated"),
        (lambda p: cut(p, 0.01), "not a PNG picture, or damaged at its head"),
        (lambda p: p.write_bytes(b""), "the file is empty"),
        (
            lambda p: Image.fromarray(np.ones((9, 9), np.uint8)).save(p, "JPEG"),
            ", not a PNG picture",
        ),
        (lambda p: Image.new("1", (10**4, 10**4)).save(p), "10000x10000 pixels are more than"),
        (lambda p: (p.unlink(), p.mkdir()), "Is a directory"),
    ],
)
def test_frame_that_cannot_be_encoded_is_named_and_skipped(folder, tmp_path, capsys, spoil, words):
    spoil(folder / "img_1.png")
    out = tmp_path / "out"
    assert run(folder, "--out", out, "--camera", SMALL_CAMERA, "--jobs", 1) == 1
    (line,) = said(capsys)
    assert line.startswith("warning: skipped: ") and "img_1.png: " in line and words in line
    assert sorted(os.listdir(out)) == ["img_0.png", "img_2.png"]


@pytest.mark.slow
def test_bad_frame_is_named_in_a_parallel_run_too(folder, tmp_path, capsys):
    cut(folder / "img_1.png", 0.01)
    assert run(folder, "--out", tmp_path / "o", "--camera", SMALL_CAMERA, "--jobs", 2) == 1
    (line,) = said(capsys)
    assert "img_1.png: not a PNG picture" in line
    assert sorted(os.listdir(tmp_path / "o")) == ["img_0.png", "img_2.png"]


def test_a_frame_that_kills_its_worker_is_named_and_the_others_are_encoded(
    folder, tmp_path, capsys, monkeypatch
):
    def each(work, jobs, count):
        assert count == 2
        for job in jobs:
            died = job.depth.endswith("img_1.png")
            yield job, hha.workers.DIED if died else work(job)

    monkeypatch.setattr(hha.workers, "each", each)
    assert run(folder, "--out", tmp_path / "o", "--camera", SMALL_CAMERA, "--jobs", 2) == 1
    (line,) = said(capsys)
    assert "img_1.png: its process was killed" in line
    assert sorted(os.listdir(tmp_path / "o")) == ["img_0.png", "img_2.png"]


@pytest.mark.parametrize(
    "raw, words",
    [
        (np.ones((60, 79), np.uint16), r"79 x 60 pixels, but .*a.png has 80 x 60"),
        (np.ones((60, 80), np.uint8), "depth in L pixels"),
        (np.zeros((60, 80), np.uint16), "a.png with .*a.png: no depth"),
        (None, "a.png: no such file"),
    ],
)
def test_wrong_raw_depth_is_reported(tmp_path, capsys, raw, words):
    save(tmp_path / "d/a.png", small())
    (tmp_path / "r").mkdir()
    if raw is not None:
        save(tmp_path / "r/a.png", raw)
    argv = (tmp_path / "d", "--raw-depth", tmp_path / "r", "--camera", SMALL_CAMERA)
    assert run(*argv, "--out", tmp_path / "o") == 1
    (line,) = said(capsys)
    assert re.search(words, line), line
    assert not os.listdir(tmp_path / "o")


def test_size_without_a_known_camera_is_reported(folder, tmp_path, capsys):
    assert run(folder / "img_0.png", "--out", tmp_path / "o") == 1
    (line,) = said(capsys)
    assert "img_0.png: 80 x 60 pixels" in line and "--camera FX,FY,CX,CY" in line


def test_wrong_calls_are_one_line_and_exit_2(folder, tmp_path, capsys):
    other = save(tmp_path / "other/img_0.png", small())
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "o")
    for argv, words in (
        ((folder, *out, "--camera", "1,2,3"), "expected four numbers FX,FY,CX,CY"),
        ((folder, *out, "--jobs", 0), "--jobs 0: at least 1"),
        ((folder, *out, "--unit", 0), "--unit 0.0"),
        ((folder, *out, "--unit", "nan"), "--unit nan"),
        ((folder, *out, "--color", folder), "--panel"),
        ((tmp_path / "nowhere", *out), "nowhere: no such depth image or folder"),
        ((tmp_path / "empty", *out), "empty: holds no .png"),
        ((folder, *out, "--raw-depth", tmp_path / "none"), "none: no such folder or file"),
        ((folder, *out, "--raw-depth", other), "one file for 3 frames"),
        ((folder, other, *out), "img_0.png: would be written for"),
        ((folder, "--out", folder), "img_0.png: is an input"),
        ((folder, *out, "--panel", folder), "img_0.png: is an input"),
        ((folder, *out, "--panel", tmp_path / "o"), "img_0.png: would be written for"),
        ((folder, "--out", other), "is a file; name a folder"),
    ):
        assert run(*argv) == 2, argv
        (line,) = said(capsys)
        assert line.startswith("error: ") and words in line, line
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_panel_shows_the_photograph_and_the_three_channels(folder, tmp_path):
    photo = np.full((60, 80, 3), (10, 200, 30), np.uint8)
    save(tmp_path / "photo.png", photo)
    argv = (folder / "img_0.png", "--out", tmp_path / "o", "--camera", SMALL_CAMERA)
    assert run(*argv, "--panel", tmp_path / "p", "--color", tmp_path / "photo.png") == 0
    sheet = load(tmp_path / "p/img_0.png")
    image = load(tmp_path / "o/img_0.png")
    assert (sheet == (10, 200, 30)).all(-1).sum() == photo.shape[0] * photo.shape[1]
    shown = [image[..., channel] for channel in range(3)]
    windows = np.lib.stride_tricks.as_strided(
        sheet[..., 0],
        (sheet.shape[0] - 59, sheet.shape[1] - 79, 60, 80),
        sheet[..., 0].strides * 2,
        writeable=False,
    )
    for channel in shown:
        assert (windows == channel).all((-2, -1)).any()


def test_panel_is_drawn_later_from_the_image_that_is_there(folder, tmp_path, capsys):
    argv = (folder / "img_0.png", "--out", tmp_path / "o", "--camera", SMALL_CAMERA)
    assert run(*argv) == 0
    before = (tmp_path / "o/img_0.png").stat()
    assert run(*argv, "--panel", tmp_path / "p") == 0
    assert (tmp_path / "p/img_0.png").exists()
    assert (tmp_path / "o/img_0.png").stat().st_mtime_ns == before.st_mtime_ns
    cut(tmp_path / "o/img_0.png")
    (tmp_path / "p/img_0.png").unlink()
    capsys.readouterr()
    assert run(*argv, "--panel", tmp_path / "p") == 1
    assert "o/img_0.png: cannot be read" in said(capsys)[0]


def start(root, *argv):
    """hha.py as a process of its own."""
    call = [sys.executable, str(root / "tools/hha.py"), *map(str, argv)]
    pipe = subprocess.PIPE
    return subprocess.Popen(call, env=environment(root), stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
def test_script_runs_from_the_checkout(folder, tmp_path, root):
    argv = (folder, "--out", tmp_path / "o", "--camera", SMALL_CAMERA, "--jobs", 2)
    process = start(root, *argv)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "3 of 3 frames encoded" in out
    assert len(os.listdir(tmp_path / "o")) == 3


@pytest.mark.slow
def test_no_process_stays_behind_a_run_that_is_terminated(tmp_path, root):
    depth = rooms.render(20, shape=(480, 640)).depth
    for number in range(40):
        save(tmp_path / f"d/{number}.png", depth)
    process = start(root, tmp_path / "d", "--out", tmp_path / "o", "--jobs", 2)
    place = f"/proc/{process.pid}/task/{process.pid}/children"
    if not os.path.exists(place):
        process.kill()
        pytest.skip("needs /proc with the children of processes")
    wait_until(lambda: (tmp_path / "o").is_dir() and os.listdir(tmp_path / "o"))
    with open(place) as file:
        children = [int(text) for text in file.read().split()]
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert len(children) >= 2 and all(map(gone, children))


def test_depth_in_metres_is_refused_with_the_unit_as_remedy(tmp_path, capsys):
    depth = np.full((425, 560), 3, np.uint16)
    Image.fromarray(depth).save(tmp_path / "metres.png")
    with pytest.raises(SystemExit) as ended:
        cli.run(hha.main, [str(tmp_path / "metres.png"), "--out", str(tmp_path / "o")])
    assert ended.value.code == 1
    assert "metres.png: a median depth of 0.003 m; --unit" in capsys.readouterr().err
