"""Rooms with a box on the floor, rendered to depth for a camera of known pose."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from tools.datasets.depth_geometry import KINECT, Camera

SHAPE = (240, 320)
CAMERA = Camera(*(value / 2 for value in KINECT))
CEILING = 2.6  # metres above the floor
WALL, FLOOR, ABOVE, TOP, SIDE = range(5)

Room = namedtuple("Room", "depth surface down")
Room.__doc__ = """Depth (H x W uint16, mm), surfaces (H x W of the numbers above), gravity."""


def rotation(pitch, roll, yaw):
    """3 x 3: from the camera's axes (x right, y down, z ahead) to the room's; pitch is down."""
    (p, r, w) = np.radians([pitch, roll, yaw])
    tilt = [[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]]
    lean = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    turn = [[np.cos(w), 0, np.sin(w)], [0, 1, 0], [-np.sin(w), 0, np.cos(w)]]
    return np.array(turn) @ np.array(tilt) @ np.array(lean)


def render(pitch=20.0, roll=0.0, yaw=0.0, height=1.5, box=0.5, camera=CAMERA, shape=SHAPE):
    """A Room of 5 x 6 m seen from `height` m above its floor; a box of height `box` 2.2 m ahead."""
    turn = rotation(pitch, roll, yaw)
    y, x = np.mgrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, x * 0 + 1.0], -1)
    rays = rays @ turn.T
    rays[np.abs(rays) < 1e-9] = 1e-9

    room = np.array([[-2.7, height - CEILING, -2.8], [2.3, height, 3.2]])
    leave = np.max(room[:, None, None] / rays, axis=0)
    depth = leave.min(-1)
    axis = leave.argmin(-1)
    surface = np.where(axis == 1, np.where(rays[..., 1] > 0, FLOOR, ABOVE), WALL)

    ahead = 2.2 * turn[:, 2] / np.hypot(turn[0, 2], turn[2, 2])
    low = np.array([ahead[0] - 0.5, height - box, ahead[2] - 0.4])
    sides = np.array([low, [ahead[0] + 0.5, height, ahead[2] + 0.4]])[:, None, None] / rays
    enter, leave = sides.min(0), sides.max(0).min(-1)
    hit = (enter.max(-1) < leave) & (enter.max(-1) > 0) & (enter.max(-1) < depth)
    depth = np.where(hit, enter.max(-1), depth)
    surface[hit] = np.where(enter.argmax(-1) == 1, TOP, SIDE)[hit]
    return Room(np.rint(depth * 1000).astype(np.uint16), surface, turn[1])


def inside(surface, which, margin=4):
    """Where a window of radius `margin` shows nothing but the surface `which`."""
    same = surface == which
    out = np.zeros_like(same)
    rows, columns = (slice(margin, n - margin) for n in surface.shape)
    out[rows, columns] = True
    for dy in range(-margin, margin + 1):
        for dx in range(-margin, margin + 1):
            out &= np.roll(same, (dy, dx), (0, 1))
    return out


def noisy_room():
    """A room with a Kinect's noise (1.2 mm, more with the square of depth) and stray points."""
    room = render(25, 3, 10)
    rng = np.random.RandomState(0)
    metres = room.depth / 1000
    depth = room.depth + rng.normal(size=metres.shape) * (1.2 + 1.9 * (metres - 0.4) ** 2)
    rows, columns = np.nonzero(room.surface == FLOOR)
    chosen = rng.choice(rows.size, 50, replace=False)
    depth[rows[chosen], columns[chosen]] *= 1.25
    return room, depth.astype(np.uint16)
