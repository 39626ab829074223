"""Geometry of a depth image: camera, surface normals, direction of gravity, level of the floor.

The method of Gupta et al. (Learning Rich Features from RGB-D Images for Object Detection and
Segmentation, ECCV 2014; code: s-gupta/rgbdutils), on NumPy alone. Axes are the camera's:
x right, y down, z away from it. Depths and heights are in centimetres.

Pixels are counted from 1, as in the NYUDv2 toolbox, whose principal points are meant so: for a
calibration that counts from 0 (OpenCV, ROS) add 1 to cx and cy.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from tools.common.cli import Failure, UserError

Camera = namedtuple("Camera", "fx fy cx cy")
Camera.__doc__ = """Focal lengths and principal point, in pixels; the first pixel is (1, 1)."""

# The colour camera of NYUDv2's Kinect (its toolbox, camera_params.m), onto which the data set's
# depth is projected.
KINECT = Camera(518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)
# The usual 560 x 425 frames are rows 46 to 470 and columns 41 to 600 of the 640 x 480 ones.
CAMERAS = {
    (480, 640): KINECT,
    (425, 560): KINECT._replace(cx=KINECT.cx - 40, cy=KINECT.cy - 45),
}

GRAVITY_STEPS = ((45, 5), (15, 5))  # (threshold in degrees, iterations)
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
TIE = 1e-9  # eigenvalues closer than this, relative to the largest, are the same
UNSEEN_ABOVE = -90.0  # a lowest point less far below the camera than this is not the floor ...
UNSEEN_FLOOR = -130.0  # ... which is then taken to be this far below it

LAYER = 5.0  # cm: the thickness of the floor in a histogram of heights
FACING = 15.0  # degrees: how far a floor's normals may be off gravity
BELOW = 20.0  # cm: what is further below the floor is no longer its noise
SUPPORT = 0.01  # of the measured pixels: the least floor, and the most strays below it


def camera_for(shape, name):
    """The Camera of an H x W image of NYUDv2, by its size. Raises Failure, naming `name`."""
    if shape not in CAMERAS:
        sizes = " and ".join(f"{w} x {h}" for h, w in CAMERAS)
        raise Failure(
            f"{name}: {shape[1]} x {shape[0]} pixels; the camera is known for NYUDv2's {sizes} "
            "only: give --camera FX,FY,CX,CY"
        )
    return CAMERAS[shape]


def parse_camera(text):
    """`FX,FY,CX,CY` as a Camera. Raises UserError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not np.isfinite(values).all() or min(values[:2]) <= 0:
        raise UserError(
            f"--camera {text!r}: expected four numbers FX,FY,CX,CY in pixels, FX and FY above 0"
        )
    return Camera(*values)


def box_sum(values, radius):
    """Sums over the (2 radius + 1)^2 window around every pixel, zeros beyond the border.

    `values` is H x W; the dtype is kept, so that whole numbers are summed exactly.
    """
    width = 2 * radius + 1
    for _ in range(2):
        padded = np.pad(values, [(radius + 1, radius), (0, 0)], mode="constant")
        total = np.cumsum(padded, axis=0, dtype=values.dtype)
        values = (total[width:] - total[:-width]).T
    return values


def normals(depth, measured, radius, camera):
    """Surface normals by plane fits on square windows: H x W x 3 float64 of length 1.

    `depth` is H x W float64 (cm), `measured` H x W bool: pixels that count; `camera` a Camera.
    The fit is that of `computeNormalsSquareSupport` (s-gupta/rgbdutils), least squares in inverse
    depth: a plane n . (X, Y, Z) = 1 is n . (X/Z, Y/Z, 1) = 1/Z, so inverse depth is linear in the
    pixel's place. It is fitted in places relative to the window's centre, whose moments are whole
    numbers and hence exact. Normals point away from the camera (a floor's down).

    The normal is NaN where a window's measured pixels are all on one line, or none: there the
    method's formula is 0 / 0 (in floating point it may be rounding noise instead). Windows do
    cross the edges of objects, as they do in the method.
    """
    height, width = depth.shape
    x, y = np.arange(1, width + 1), np.arange(1, height + 1)[:, None]
    ones = measured.astype(np.int64)
    inverse = np.zeros(depth.shape)
    np.divide(1.0, depth, out=inverse, where=measured)

    n, sx, sy = (box_sum(v, radius) for v in (ones, ones * x, ones * y))
    sxx, sxy, syy = (box_sum(ones * v, radius) for v in (x * x, x * y, y * y))
    # The same about the window's centre; second moments first, they need the old first ones.
    sxx += x * (x * n - 2 * sx)
    syy += y * (y * n - 2 * sy)
    sxy += x * y * n - x * sy - y * sx
    sx -= x * n
    sy -= y * n
    d = box_sum(inverse, radius)
    dx, dy = (box_sum(inverse * v, radius) - v * d for v in (x, y))

    # Cramer's rule for inverse depth = a (x - centre) + b (y - centre) + c, times the determinant.
    xx, yy, nn = syy * n - sy * sy, sxx * n - sx * sx, sxx * syy - sxy * sxy
    xy, xn, yn = sx * sy - sxy * n, sxy * sy - syy * sx, sxy * sx - sxx * sy
    a = xx * dx + xy * dy + xn * d
    b = xy * dx + yy * dy + yn * d
    c = xn * dx + yn * dy + nn * d
    unknown = sxx * xx + sxy * xy + sx * xn == 0  # the determinant, in whole numbers

    out = np.empty(depth.shape + (3,))
    out[..., 0] = camera.fx * a
    out[..., 1] = camera.fy * b
    out[..., 2] = c - a * (x - camera.cx) - b * (y - camera.cy)
    length = np.sqrt(np.einsum("ijk,ijk->ij", out, out))
    length[unknown] = np.nan
    # n . (X, Y, Z) at the window's centre has the sign of c.
    out /= np.where(c < 0, -length, length)[..., None]
    return out


def gravity(normals, start=(0.0, 1.0, 0.0), steps=GRAVITY_STEPS):
    """The direction of gravity, a unit vector, from normals (... x 3, NaN where unknown).

    Each iteration takes the normals within a threshold of parallel to gravity (floors, tables,
    ceilings) and within it of perpendicular (walls); the new direction g is the one with the
    least sum over walls of (g . n)^2 minus sum over floors of (g . n)^2, an eigenvector (`getYDir`
    of rgbdutils), with the sign that stays with the old one. Where several are the least (one
    bare wall), it is the one nearest to the old. Raises Failure if no normal is known.
    """
    flat = normals.reshape(-1, 3)
    parts = np.ascontiguousarray(flat[~np.isnan(flat[:, 0])].T)
    if not parts.size:
        raise Failure("too few measured pixels: no surface to take gravity from")
    down = np.asarray(start, np.float64)
    products = np.array([parts[i] * parts[j] for i, j in PAIRS])
    matrix = np.empty((3, 3))
    for degrees, count in steps:
        parallel, across = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        for _ in range(count):
            along = np.abs(_dot(parts, down))
            weight = (along < across).astype(np.float64) - (along > parallel)
            # Summed without BLAS: the result does not depend on the number of threads.
            for (i, j), total in zip(PAIRS, np.einsum("kn,n->k", products, weight)):
                matrix[i, j] = matrix[j, i] = total
            if not matrix.any():
                break
            values, vectors = np.linalg.eigh(matrix)
            least = vectors[:, values - values[0] <= TIE * np.abs(values).max()]
            new = least @ (least.T @ down)
            if not np.linalg.norm(new) > TIE:
                break
            down = new / np.linalg.norm(new)
    return down


def _dot(first, second):
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def heights(depth, camera, down):
    """H x W heights above the camera (cm, negative below), along the unit vector `down`."""
    height, width = depth.shape
    x = (np.arange(1, width + 1) - camera.cx) / camera.fx
    y = (np.arange(1, height + 1)[:, None] - camera.cy) / camera.fy
    return -(x * down[0] + y * down[1] + down[2]) * depth


def lowest_level(up):
    """The floor's height above the camera (cm) by Gupta's rule: that of the lowest point.

    If that is less than 90 cm below the camera, the floor is not seen, and is taken to be 130 cm
    below it (`processDepthImage.m`). `up` is what heights() returns.
    """
    lowest = float(up.min())
    return UNSEEN_FLOOR if lowest > UNSEEN_ABOVE else lowest


def robust_level(up, normals, down, measured):
    """The floor's height above the camera (cm): Gupta's rule, with a lowest surface for a point.

    The lowest of 200,000 points of a real floor is 4 to 5 cm below it, for noise. So the heights
    of measured pixels whose normals are within 15 degrees of gravity (surfaces seen from above)
    are counted in layers of 5 cm; the lowest layer with 1 % of the measured pixels is followed
    up to where it is densest, and the median there is the floor; less than 90 cm below the camera
    it is no floor, as in lowest_level(). That rule is used where there is no such layer, or where
    more than 1 % of the measured pixels are over 20 cm below it. Both give the same for depth
    without noise, as far as gravity is exact.

    `up` is H x W (heights()), `normals` H x W x 3, `measured` H x W bool.
    """
    with np.errstate(invalid="ignore"):
        facing = _dot(np.moveaxis(normals, -1, 0), down) > np.cos(np.radians(FACING))
    total = np.count_nonzero(measured)
    surface = up[facing & measured]
    if not total or surface.size < SUPPORT * total:
        return lowest_level(up)
    base = np.floor(surface.min())
    counts = np.bincount((surface - base).astype(np.int64))  # by the centimetre
    layers = np.convolve(counts, np.ones(int(LAYER), np.int64))  # [k]: the k-th and those below
    enough = np.flatnonzero(layers >= SUPPORT * total)
    if not enough.size:
        return lowest_level(up)
    k, densest = -1, int(enough[0])
    while densest != k:
        k = densest
        densest = k + int(layers[k : k + int(LAYER) + 1].argmax())
    top = base + k + 1
    floor = float(np.median(surface[(surface >= top - LAYER) & (surface < top)]))
    if np.count_nonzero(measured & (up < floor - BELOW)) > SUPPORT * total:
        return lowest_level(up)
    return UNSEEN_FLOOR if floor > UNSEEN_ABOVE else floor
