from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from tests.helpers import depth_rooms as rooms
from tools.common.cli import Failure, UserError
from tools.datasets import depth_geometry as geometry

SMALL = st.tuples(st.integers(1, 8), st.integers(1, 8))


def angle(a, b):
    """Degrees between two unit vectors."""
    return float(np.degrees(np.arccos(np.clip(np.dot(a, b), -1, 1))))


@given(arrays.arrays(np.int64, SMALL, elements=st.integers(-99, 99)), st.integers(0, 10))
def test_box_sum_adds_up_every_window(values, radius):
    want = [
        [
            values[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].sum()
            for x in range(values.shape[1])
        ]
        for y in range(values.shape[0])
    ]
    got = geometry.box_sum(values, radius)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, want)


@pytest.mark.slow
@settings(deadline=None)
@given(
    SMALL.flatmap(
        lambda shape: st.tuples(
            arrays.arrays(np.float64, shape, elements=st.integers(50, 900).map(float)),
            arrays.arrays(np.bool_, shape),
        )
    ),
    st.integers(1, 3),
    st.tuples(st.floats(20, 600), st.floats(20, 600), st.floats(-50, 400), st.floats(-50, 400)),
)
def test_normals_are_least_squares_planes_of_the_measured_pixels(frame, radius, camera):
    """n . (X, Y, Z) = 1, divided by Z, window by window and by another solver."""
    depth, measured = frame
    camera = geometry.Camera(*camera)
    got = geometry.normals(depth, measured, radius, camera)
    ys, xs = np.nonzero(measured)
    for y, x in np.ndindex(*depth.shape):
        near = (abs(ys - y) <= radius) & (abs(xs - x) <= radius)
        py, px = ys[near], xs[near]
        places = np.stack([px - x, py - y, np.ones_like(px)], -1)
        if np.linalg.matrix_rank(places) < 3:
            assert np.isnan(got[y, x]).all()
            continue
        # Columns about the centre's ray, for a well-conditioned system; then back.
        slope = np.linalg.lstsq(places * [1 / camera.fx, 1 / camera.fy, 1], 1 / depth[py, px], None)
        normal = slope[0]
        u, v = (x + 1 - camera.cx) / camera.fx, (y + 1 - camera.cy) / camera.fy
        normal[2] -= normal[0] * u + normal[1] * v
        seen = normal @ [u, v, 1]
        assume(abs(seen) > 1e-9)  # seen edge-on, either sign will do
        np.testing.assert_allclose(
            got[y, x], normal / np.linalg.norm(normal) * np.sign(seen), atol=1e-6
        )


@pytest.mark.parametrize("radius", [3, 10])
def test_normals_of_a_plane_are_its_normal_also_at_640_x_480(radius):
    want = np.array([0.2, 0.9, -0.3]) / np.linalg.norm([0.2, 0.9, -0.3])
    camera, (height, width) = geometry.KINECT, (480, 640)
    y, x = np.mgrid[1 : height + 1, 1 : width + 1]
    ray = (x - camera.cx) / camera.fx * want[0] + (y - camera.cy) / camera.fy * want[1] + want[2]
    measured = ray > 0.05
    depth = np.where(measured, 150 / np.where(measured, ray, 1), 0)
    got = geometry.normals(depth, measured, radius, camera)
    known = ~np.isnan(got[..., 0])
    assert measured.any() and known[measured].mean() > 0.999
    np.testing.assert_allclose(got[known], np.broadcast_to(want, got[known].shape), atol=1e-8)


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(
    st.floats(8, 35), st.floats(-10, 10), st.floats(-180, 180), st.floats(1.0, 2.0)
)  # fmt: skip
def test_gravity_of_a_room_is_found_within_two_degrees(pitch, roll, yaw, height):
    room = rooms.render(pitch, roll, yaw, height)
    depth = room.depth / 10
    normals = geometry.normals(depth, depth > 0, 10, rooms.CAMERA)
    assert angle(geometry.gravity(normals), room.down) < 2


def test_gravity_of_one_bare_wall_is_the_images_downward_direction():
    normals = np.zeros((9, 9, 3))
    normals[..., 2] = 1
    np.testing.assert_allclose(geometry.gravity(normals), [0, 1, 0], atol=1e-12)


def test_gravity_is_upright_though_the_floors_normals_point_either_way():
    normals = np.array([[0, 1.0, 0], [0, -1.0, 0], [0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(geometry.gravity(normals), [0, 1, 0], atol=1e-12)


def test_gravity_needs_a_normal():
    with pytest.raises(Failure, match="too few measured pixels"):
        geometry.gravity(np.full((4, 4, 3), np.nan))


def floor_scene(level, strays=0, depth_of_strays=40.0):
    """Heights, normals, gravity and measured mask of a noisy floor with a wall behind it."""
    rng = np.random.RandomState(0)
    up = np.concatenate([rng.normal(level, 1.0, 6000), rng.uniform(level, level + 250, 4000)])
    normals = np.zeros((10000, 3))
    normals[:6000, 1] = normals[6000:, 2] = 1
    up[:strays] = level - depth_of_strays
    return up[None], normals[None], np.array([0, 1.0, 0]), np.ones((1, 10000), bool)


@pytest.mark.parametrize("strays", [0, 1, 60])
def test_stray_points_below_the_floor_do_not_move_it(strays):
    scene = floor_scene(-140.0, strays)
    assert geometry.robust_level(*scene) == pytest.approx(-140, abs=0.3)
    assert geometry.lowest_level(scene[0]) == scene[0].min() < -143


def test_a_far_floors_noise_does_not_move_it():
    up, normals, down, measured = floor_scene(-140.0)
    up[0, :3000] += 4 * (up[0, :3000] + 140)
    assert (up < -145).mean() > 0.02
    assert geometry.robust_level(up, normals, down, measured) == pytest.approx(-140, abs=0.5)


def test_what_more_than_strays_is_below_the_lowest_surface_is_the_floor():
    scene = floor_scene(-140.0, 200)
    scene[1][0, :200] = [0, 0, 1]
    assert geometry.robust_level(*scene) == geometry.lowest_level(scene[0]) == -180


def test_the_lowest_point_counts_where_no_surface_is_seen_from_above():
    up, normals, down, measured = floor_scene(-140.0)
    normals[...] = [0, 0, 1]
    assert geometry.robust_level(up, normals, down, measured) == up.min()


def test_the_floor_below_a_table_is_taken_not_the_larger_table():
    up, normals, down, measured = floor_scene(-140.0)
    up[0, 500:6000] += 75
    assert geometry.robust_level(up, normals, down, measured) == pytest.approx(-140, abs=0.3)


@pytest.mark.parametrize("lowest, level", [(-89.9, -130.0), (-90.1, -90.1), (-200.0, -200.0)])
def test_a_floor_that_is_not_seen_is_130_cm_below_the_camera(lowest, level):
    up = np.array([[lowest, 0.0, 80.0]])
    assert geometry.lowest_level(up) == level


def test_a_lowest_surface_that_is_too_high_is_not_the_floor():
    assert geometry.robust_level(*floor_scene(-60.0)) == -130


def test_camera_of_the_cropped_frame_sees_the_same_rays():
    full, crop = geometry.CAMERAS[480, 640], geometry.CAMERAS[425, 560]
    depth = np.full((480, 640), 200.0)
    down = np.array([0.6, 0.8, 0.0])
    np.testing.assert_allclose(
        geometry.heights(depth, full, down)[45:470, 40:600],
        geometry.heights(depth[:425, :560], crop, down),
    )


def test_camera_of_another_size_must_be_given():
    with pytest.raises(Failure, match="a.png: 320 x 240.*640 x 480.*--camera"):
        geometry.camera_for((240, 320), "a.png")


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "fx,2,3,4", "0,2,3,4", "5,-1,3,4", "nan,2,3,4", "5,5,inf,1"]
)
def test_camera_text_that_is_not_four_numbers_is_refused(text):
    with pytest.raises(UserError, match="FX,FY,CX,CY"):
        geometry.parse_camera(text)


def test_camera_text_is_four_numbers():
    assert geometry.parse_camera("518.8, 519,320.5,240") == (518.8, 519, 320.5, 240)
