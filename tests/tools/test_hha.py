from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import zlib
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import rooms
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tools import cli, hha
from tools.depth_geometry import CAMERAS

CAMERA_TEXT = ",".join(map(repr, rooms.CAMERA))
DISPARITY, HEIGHT, ANGLE = range(3)


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


@settings(deadline=None, max_examples=15)
@given(
    pitch=st.floats(8, 35),
    roll=st.floats(-10, 10),
    yaw=st.floats(-180, 180),
    height=st.floats(1.0, 2.0),
    box=st.floats(0.2, 0.8),
)
def test_a_room_is_encoded_as_it_is(pitch, roll, yaw, height, box):
    room = rooms.render(pitch, roll, yaw, height, box)
    floor = room.surface == rooms.FLOOR
    assume(floor.mean() > 0.05)
    values, down = hha.channels(room.depth, rooms.CAMERA)
    assert np.degrees(np.arccos(np.clip(down @ room.down, -1, 1))) < 2
    assert abs(np.median(values[floor, HEIGHT])) < 2
    top = rooms.inside(room.surface, rooms.TOP)
    if top.any():
        assert np.median(values[top, HEIGHT]) == pytest.approx(100 * box, abs=2)
    for surface, code in ((rooms.FLOOR, 38), (rooms.TOP, 38), (rooms.WALL, 128), (rooms.SIDE, 128)):
        seen = rooms.inside(room.surface, surface)
        if seen.any():
            assert np.median(values[seen, ANGLE]) == pytest.approx(code, abs=2)
    image = hha.encode(room.depth, rooms.CAMERA)
    millimetres = room.depth.ravel().tolist()
    want = [min(255, int(310000 / max(z, 1000) + 0.5)) for z in millimetres]
    np.testing.assert_array_equal(image[..., DISPARITY].ravel(), want)


def test_the_underside_of_a_ceiling_is_218():
    room = rooms.render(pitch=-25, height=1.2)
    values, down = hha.channels(room.depth, rooms.CAMERA)
    ceiling = rooms.inside(room.surface, rooms.ABOVE)
    assert np.degrees(np.arccos(down @ room.down)) < 2
    assert np.median(values[ceiling, ANGLE]) == pytest.approx(218, abs=2)


def test_channels_are_rounded_and_saturated_as_by_matlab():
    wall = np.full((21, 21), 4960, np.uint16)  # 31000 / 496 = 62.5: to 63, not to the even 62
    wall[0, :3] = [500, 1000, 1240]
    image = hha.encode(wall, rooms.CAMERA)
    assert image.dtype == np.uint8 and image[10, 10, DISPARITY] == 63
    assert image[0, :3, DISPARITY].tolist() == [255, 255, 250]


def test_floor_that_is_not_seen_is_130_cm_below_the_camera():
    camera = rooms.Camera(100.0, 100.0, 11.0, 11.0)
    image = hha.encode(np.full((21, 21), 2000, np.uint16), camera)
    assert image[10, 10].tolist() == [155, 130, 128]
    assert image[0, 10, HEIGHT] == 150 and image[20, 10, HEIGHT] == 110


def noisy_room():
    """A room with a Kinect's noise (1.2 mm, more with the square of depth) and stray points."""
    room = rooms.render(25, 3, 10)
    rng = np.random.RandomState(0)
    metres = room.depth / 1000
    depth = room.depth + rng.normal(size=metres.shape) * (1.2 + 1.9 * (metres - 0.4) ** 2)
    rows, columns = np.nonzero(room.surface == rooms.FLOOR)
    chosen = rng.choice(rows.size, 50, replace=False)
    depth[rows[chosen], columns[chosen]] *= 1.25
    return room, depth.astype(np.uint16)


def test_noise_and_stray_points_do_not_lift_the_floor():
    room, depth = noisy_room()
    floor = room.surface == rooms.FLOOR
    values, down = hha.channels(depth, rooms.CAMERA)
    assert abs(np.median(values[floor, HEIGHT])) < 2
    assert np.degrees(np.arccos(down @ room.down)) < 2
    lowest = hha.channels(depth, rooms.CAMERA, floor="lowest")[0]
    assert lowest[..., HEIGHT].min() == 0
    assert np.median(lowest[floor, HEIGHT]) > 10


def test_in_filled_pixels_have_no_part_in_normals_and_gravity():
    room, depth = noisy_room()
    raw = depth.copy()
    raw[60:90, 100:160] = raw[150:170, 30:50] = raw[:, 200:202] = 0
    raw[np.random.RandomState(1).rand(*raw.shape) < 0.1] = 0
    guess = np.where(raw == 0, 1900, depth).astype(np.uint16)
    want, down = hha.channels(depth, rooms.CAMERA, raw)
    got, same = hha.channels(guess, rooms.CAMERA, raw)
    np.testing.assert_array_equal(same, down)
    np.testing.assert_array_equal(got[..., ANGLE], want[..., ANGLE])
    np.testing.assert_array_equal(got[raw > 0], want[raw > 0])
    assert (got[70:80, 110:150, ANGLE] == 218).all()  # no measured pixel near: nothing known
    assert np.degrees(np.arccos(down @ room.down)) < 2


def test_zeros_in_the_depth_itself_are_missing_too():
    room, depth = noisy_room()
    raw = np.where(np.random.RandomState(1).rand(*depth.shape) < 0.1, 0, depth).astype(np.uint16)
    np.testing.assert_array_equal(
        hha.encode(raw, rooms.CAMERA)[..., ANGLE], hha.encode(depth, rooms.CAMERA, raw)[..., ANGLE]
    )


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


def test_floor_and_unit_reach_the_encoding(tmp_path):
    room, depth = noisy_room()
    save(tmp_path / "d/a.png", (depth * 5).astype(np.uint16))
    argv = (tmp_path / "d", "--camera", CAMERA_TEXT, "--unit", 0.2, "--floor", "lowest")
    assert run(*argv, "--out", tmp_path / "o") == 0
    want = hha.encode(depth, rooms.CAMERA, floor="lowest")
    np.testing.assert_allclose(load(tmp_path / "o/a.png").astype(int), want, atol=1)


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


def png_header(width, height):
    """A PNG that says it is 16-bit gray of that size, and holds nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def cut(path, keep=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def noise(path):
    """Noise does not compress: half of the file is half of the picture."""
    save(path, np.random.RandomState(0).randint(1000, 5000, (60, 80)).astype(np.uint16))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda p: save(p, np.zeros((60, 80), np.uint16)), "no depth: every pixel is 0"),
        (lambda p: save(p, np.eye(60, 80, dtype=np.uint16) * 900), "too few measured pixels"),
        (
            lambda p: save(p, np.ones((60, 80), np.uint8)),
            "not a 16-bit depth image, but 8-bit",
        ),
        (lambda p: save(p, np.ones((60, 80, 3), np.uint8)), "but RGB colour"),
        (lambda p: (noise(p), cut(p)), "damaged or cut off"),
        (lambda p: cut(p, 0.01), "not a PNG image, or cut off at the start"),
        (lambda p: p.write_bytes(b""), "not a PNG image"),
        (lambda p: Image.fromarray(np.ones((9, 9), np.uint8)).save(p, "JPEG"), "not a PNG image"),
        (lambda p: p.write_bytes(png_header(5000, 4000)), "5000 x 4000 pixels; at most"),
        (lambda p: p.write_bytes(png_header(10**5, 10**5)), "more than"),
        (lambda p: p.write_bytes(png_header(80, 60)), "damaged or cut off"),
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


def test_bad_frame_is_named_in_a_parallel_run_too(folder, tmp_path, capsys):
    cut(folder / "img_1.png", 0.01)
    assert run(folder, "--out", tmp_path / "o", "--camera", SMALL_CAMERA, "--jobs", 2) == 1
    (line,) = said(capsys)
    assert "img_1.png: not a PNG" in line
    assert sorted(os.listdir(tmp_path / "o")) == ["img_0.png", "img_2.png"]


@pytest.mark.parametrize("before", [0, 1])
def test_worker_that_dies_is_reported_and_none_at_all_is_made_up_for(
    folder, tmp_path, capsys, monkeypatch, before
):
    class Pool:
        def __init__(self, *args, **kwargs):
            self.left = before

        def submit(self, work, *args):
            future = Future()
            if self.left > 0:
                future.set_result(work(*args))
            else:
                future.set_exception(BrokenProcessPool())
            self.left -= 1
            return future

        def shutdown(self, **kwargs):
            pass

    monkeypatch.setattr(hha, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(hha, "as_completed", list)
    argv = (folder, "--out", tmp_path / "o", "--camera", SMALL_CAMERA, "--jobs", 3)
    assert run(*argv) == before
    (line,) = said(capsys)
    assert ("a worker process was killed" if before else "no worker process came up") in line
    assert len(os.listdir(tmp_path / "o")) == (1 if before else 3)


@pytest.mark.parametrize(
    "raw, words",
    [
        (np.ones((60, 79), np.uint16), r"79 x 60 pixels, but .*a.png has 80 x 60"),
        (np.ones((60, 80), np.uint8), "not a 16-bit depth image"),
        (np.zeros((60, 80), np.uint16), "a.png with .*a.png: no depth"),
        (None, "a.png: No such file"),
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
        ((folder, "--out", other), "cannot be made a folder"),
    ):
        assert run(*argv) == 2, argv
        (line,) = said(capsys)
        assert line.startswith("error: ") and words in line, line
    assert not (tmp_path / "o").exists()


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
    assert "img_0.png: not a readable PNG" in said(capsys)[0]


def test_script_runs_from_the_checkout(folder, tmp_path, root):
    argv = (folder, "--out", tmp_path / "o", "--camera", SMALL_CAMERA, "--jobs", "2")
    done = subprocess.run(
        [sys.executable, "tools/hha.py", *map(str, argv)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 3 frames encoded" in done.stdout
    assert len(os.listdir(tmp_path / "o")) == 3


# Tiles of the floor, hand-chosen in color.png of the frame (rows, columns): left, and in front.
TILES = ((slice(230, 420), slice(25, 170)), (slice(360, 424), slice(5, 555)))


def plane(points):
    """(a point, the normal) of the plane through most of N x 3 points (RANSAC, 2 cm)."""
    rng = np.random.RandomState(0)
    best = np.zeros(len(points), bool)
    for _ in range(200):
        a, b, c = points[rng.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length:
            near = np.abs((points - a) @ (normal / length)) < 2
            best = near if near.sum() > best.sum() else best
    middle = points[best].mean(0)
    normal = np.linalg.eigh(np.cov((points[best] - middle).T))[1][:, 0]
    return middle, normal * np.sign(normal[1])


@pytest.mark.parametrize("with_raw", [True, False])
def test_floor_of_a_real_frame_is_at_0_and_gravity_is_its_normal(shared, with_raw):
    place = shared / "data/nyud-frame"
    if not place.is_dir():
        pytest.skip("the shared data folder has no NYUDv2 frame")
    depth, raw = (hha.read_depth(str(place / name)) for name in ("depth.png", "rawdepth.png"))
    camera = CAMERAS[depth.shape]
    values, down = hha.channels(depth, camera, raw if with_raw else None)
    y, x = np.mgrid[1:426, 1:561]
    z = depth / 10
    points = np.stack([(x - camera.cx) * z / camera.fx, (y - camera.cy) * z / camera.fy, z], -1)
    chosen = np.zeros(depth.shape, bool)
    for tiles in TILES:
        chosen[tiles] = True
    chosen &= raw > 0
    middle, normal = plane(points[chosen])
    assert np.degrees(np.arccos(normal @ down)) < 2
    for tiles in TILES:
        height = values[tiles][..., HEIGHT]
        assert abs(np.median(height)) < 2 and np.percentile(np.abs(height), 90) < 2
    # Noise only ever adds to the angle of a small window's normal.
    assert 38 <= np.median(values[chosen][:, ANGLE]) < 50
    camera_above_ground = np.median(values[..., HEIGHT] + points @ down)
    assert abs(camera_above_ground - middle @ down) < 2


def test_depth_is_read_as_it_was_written(tmp_path):
    values = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    got = hha.read_depth(str(save(tmp_path / "a.png", values)))
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, values)
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.int32)).convert("I;16").save(stream, "PNG")
    (tmp_path / "b.png").write_bytes(stream.getvalue())
    np.testing.assert_array_equal(hha.read_depth(str(tmp_path / "b.png")), values)
