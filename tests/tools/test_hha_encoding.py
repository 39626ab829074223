"""What the HHA channels hold: rooms whose surfaces are known, and a real frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from segmentation.pictures import read_millimetres

from tests.helpers import depth_rooms as rooms
from tools import hha
from tools.datasets.depth_geometry import CAMERAS

DISPARITY, HEIGHT, ANGLE = range(3)


@pytest.mark.slow
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


def test_noise_and_stray_points_do_not_lift_the_floor():
    room, depth = rooms.noisy_room()
    floor = room.surface == rooms.FLOOR
    values, down = hha.channels(depth, rooms.CAMERA)
    assert abs(np.median(values[floor, HEIGHT])) < 2
    assert np.degrees(np.arccos(down @ room.down)) < 2
    lowest = hha.channels(depth, rooms.CAMERA, floor="lowest")[0]
    assert lowest[..., HEIGHT].min() == 0
    assert np.median(lowest[floor, HEIGHT]) > 10


def test_in_filled_pixels_have_no_part_in_normals_and_gravity():
    room, depth = rooms.noisy_room()
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
    room, depth = rooms.noisy_room()
    raw = np.where(np.random.RandomState(1).rand(*depth.shape) < 0.1, 0, depth).astype(np.uint16)
    np.testing.assert_array_equal(
        hha.encode(raw, rooms.CAMERA)[..., ANGLE], hha.encode(depth, rooms.CAMERA, raw)[..., ANGLE]
    )


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


@pytest.mark.slow
@pytest.mark.parametrize("with_raw", [True, False])
def test_floor_of_a_real_frame_is_at_0_and_gravity_is_its_normal(shared, with_raw):
    place = shared / "data/nyud-frame"
    if not place.is_dir():
        pytest.skip("the shared data folder has no NYUDv2 frame")
    depth, raw = (read_millimetres(str(place / name)) for name in ("depth.png", "rawdepth.png"))
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
