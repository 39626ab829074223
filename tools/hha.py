"""HHA encoding of depth images: horizontal disparity, height above ground, angle with gravity.

    python tools/hha.py DEPTH.png|FOLDER... --out DIR [--raw-depth FOLDER] \
        [--camera FX,FY,CX,CY] [--jobs N] [--floor lowest] [--panel DIR] [--overwrite]

Takes 16-bit depth PNGs in millimetres and writes 8-bit RGB PNGs of the same names, encoded as
Gupta et al. do (ECCV 2014; saveHHA.m of s-gupta/rcnn-depth):

    R  31000 / max(depth, 100), depth in cm
    G  height above the ground in cm
    B  angle between the surface normal and gravity in degrees, + 38: floors and table tops 38,
       walls 128, ceilings and surfaces seen from below 218; 218 too where no normal is known

each rounded as MATLAB's uint8() does, to the nearest and into 0 .. 255. Pixels whose depth (or
whose raw depth, where --raw-depth gives the depth before holes were filled in) is 0 have no part
in normals and gravity.

The ground is, by default, the lowest surface seen. --floor lowest is Gupta's rule to the letter,
the lowest point, which noise puts some centimetres below the floor (4.6 cm in a frame of NYUDv2:
G is then 4 to 5 more everywhere).

Frames that cannot be encoded are named and skipped; the exit code is then 1. Images that are
there already are left alone, so a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections import namedtuple

import numpy as np
from PIL import Image
from segmentation.params import DataError
from segmentation.pictures import read_millimetres, read_rgb

from tools.common import workers
from tools.common.arguments import Parser
from tools.common.cli import Failure, Progress, UserError, error_line, processors, run, warn
from tools.common.files import make_folder
from tools.common.pictures import panel, save_png
from tools.datasets import depth_geometry as geometry
from tools.datasets.depth_geometry import camera_for, parse_camera

DETAIL, COARSE = 3, 10  # window radius of the normals that are encoded; of those for gravity
MAX_PIXELS = 10_000_000  # beyond any depth camera; encoding takes about 300 bytes a pixel
CAPTIONS = ("horizontal disparity", "height above ground", "angle with gravity")
FLOORS = ("robust", "lowest")

Job = namedtuple("Job", "depth raw color hha panel")
Job.__doc__ = """Paths of one frame; raw, color and panel are None where they are not wanted."""

Settings = namedtuple("Settings", "camera unit floor overwrite")
Settings.__doc__ = """What holds for all frames; `camera` None: by size, `unit` in millimetres."""


def channels(depth, camera, raw=None, floor="robust"):
    """The three HHA channels before rounding, H x W x 3 float64, and gravity, a unit vector.

    `depth` is H x W in millimetres, 0 where missing; `raw`, of the same shape, is the depth
    before in-filling: what is 0 there is missing too. `camera` is a depth_geometry.Camera.
    `floor` is "robust" (depth_geometry.robust_level) or "lowest" (Gupta's own rule). A missing
    pixel has the disparity and height of what `depth` holds there: with 0, those of the camera
    itself. Raises Failure where no surface is seen.
    """
    cm = np.asarray(depth, np.float64) / 1000 * 100  # rounded as in Gupta's arithmetic
    measured = cm > 0 if raw is None else (cm > 0) & (np.asarray(raw) > 0)
    if not measured.any():
        raise Failure("no depth: every pixel is 0 (missing)")
    coarse = geometry.normals(cm, measured, COARSE, camera)
    down = geometry.gravity(coarse)
    up = geometry.heights(cm, camera, down)
    if floor == "lowest":
        level = geometry.lowest_level(up)
    else:
        level = geometry.robust_level(up, coarse, down, measured)
    detail = geometry.normals(cm, measured, DETAIL, camera)
    cosine = detail[..., 0] * down[0] + detail[..., 1] * down[1] + detail[..., 2] * down[2]
    out = np.empty(cm.shape + (3,))
    out[..., 0] = 31000 / np.maximum(cm, 100)
    out[..., 1] = up - level
    out[..., 2] = np.degrees(np.arccos(np.where(np.isnan(cosine), -1, np.clip(cosine, -1, 1))))
    out[..., 2] += 128 - 90
    return out, down


def encode(depth, camera, raw=None, floor="robust"):
    """The HHA image of a depth image, H x W x 3 uint8; arguments and errors as channels()."""
    values = channels(depth, camera, raw, floor)[0]
    # MATLAB's uint8(): halves away from zero, and nothing beyond 0 .. 255.
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def check_unit(path, depth, settings):
    """Raise Failure for depth that no room has: a median below 5 cm or above 100 m."""
    measured = depth[depth > 0]
    metres = float(np.median(measured)) * settings.unit / 1000 if measured.size else 1
    if not 0.05 <= metres <= 100:
        raise Failure(
            f"{path}: a median depth of {metres:g} m; --unit says how many "
            "millimetres one step of the file is"
        )


def encode_file(job, settings):
    """Encode one frame, and draw its panel, where these are not there yet.

    Raises Failure or DataError.
    """
    if settings.overwrite or not os.path.lexists(job.hha):
        depth = read_millimetres(job.depth, MAX_PIXELS)
        camera = settings.camera or camera_for(depth.shape, job.depth)
        check_unit(job.depth, depth, settings)
        raw = read_millimetres(job.raw, MAX_PIXELS) if job.raw else None
        if raw is not None and raw.shape != depth.shape:
            raise Failure(
                f"{job.raw}: {raw.shape[1]} x {raw.shape[0]} pixels, but {job.depth} has "
                f"{depth.shape[1]} x {depth.shape[0]}; they are not of one frame"
            )
        try:
            image = encode(depth * settings.unit, camera, raw, settings.floor)
        except Failure as error:
            names = f"{job.depth} with {job.raw}" if job.raw else job.depth
            raise Failure(f"{names}: {error}") from None
        save_png(job.hha, image, settings.overwrite)
    if job.panel and (settings.overwrite or not os.path.lexists(job.panel)):
        save_png(job.panel, draw_panel(job), settings.overwrite)


def draw_panel(job):
    """The photograph (or the HHA image in false colours) and the three channels, as one picture.

    Reads what was written, `job.hha`. Returns a Pillow image. Raises DataError.
    """
    image = read_rgb(job.hha)
    first = read_rgb(job.color) if job.color else image
    captions = ["colour" if job.color else "R, G, B: the channels", *CAPTIONS]
    return panel([first, *np.moveaxis(image, -1, 0)], captions, columns=2)


def attempt(settings, job):
    """encode_file(); returns None, or what went wrong as one line."""
    try:
        with warnings.catch_warnings():  # a huge picture is refused in any case
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            encode_file(job, settings)
    except (DataError, Failure, OSError, MemoryError) as error:
        text = error_line(error)
        return text if job.depth in text else f"{job.depth}: {text}"
    return None


def encode_all(jobs, settings, count=1):
    """Encode frames in `count` processes; yields what attempt() returns, as frames are done."""
    work = functools.partial(attempt, settings)
    if count == 1:
        yield from map(work, jobs)
        return
    for job, problem in workers.each(work, jobs, count):
        if problem is workers.DIED:
            problem = f"{job.depth}: its process was killed (out of memory?)"
        yield problem


def find_depth(paths):
    """Depth images: files as given, and the PNGs of folders, sorted. Raises UserError."""
    found = []
    for path in paths:
        if os.path.isdir(path):
            names = sorted(os.listdir(path))
            inside = [n for n in names if n.lower().endswith(".png") and not n.startswith(".")]
            if not inside:
                raise UserError(f"{path}: holds no .png files")
            found += [os.path.join(path, name) for name in inside]
        elif os.path.isfile(path):
            found.append(path)
        else:
            raise UserError(f"{path}: no such depth image or folder")
    return found


def frame_jobs(depth, out, raw=None, color=None, panels=None):
    """A Job per depth image. `raw` and `color` are a folder, a file (for one frame) or None.

    Raises UserError where two would be written to one file, or one over an input.
    """
    jobs, written = [], {}
    for path in depth:
        name = os.path.basename(path)
        jobs.append(
            Job(
                path,
                _partner(raw, name, len(depth), "--raw-depth"),
                _partner(color, name, len(depth), "--color"),
                os.path.join(out, os.path.splitext(name)[0] + ".png"),
                os.path.join(panels, os.path.splitext(name)[0] + ".png") if panels else None,
            )
        )
    inputs = {os.path.realpath(p) for job in jobs for p in job[:3] if p}
    for job in jobs:
        for target in filter(None, job[3:]):
            place = os.path.realpath(target)
            if place in inputs:
                raise UserError(f"{target}: is an input; choose another folder to write to")
            if place in written:
                raise UserError(f"{target}: would be written for {written[place]} and {job.depth}")
            written[place] = job.depth
    return jobs


def _partner(place, name, count, option):
    if place is None or os.path.isdir(place):
        return place and os.path.join(place, name)
    if not os.path.isfile(place):
        raise UserError(f"{option} {place}: no such folder or file")
    if count != 1:
        raise UserError(f"{option} {place}: is one file for {count} frames; name a folder")
    return place


def parser():
    p = Parser(
        prog="hha.py", description="Encode depth images as HHA images (Gupta et al., ECCV 2014)."
    )
    p.add_argument("depth", nargs="+", metavar="DEPTH.png|FOLDER", help="16-bit depth in mm")
    p.add_argument("--out", required=True, metavar="DIR", help="where the HHA images go")
    p.add_argument(
        "--raw-depth",
        metavar="FOLDER",
        help="depth before holes were filled, in files of the same names (one frame: a file)",
    )
    p.add_argument(
        "--camera",
        metavar="FX,FY,CX,CY",
        help="focal lengths and principal point in pixels, the first pixel being 1 (add 1 to CX "
        "and CY of OpenCV's or ROS's); default: NYUDv2's Kinect for 640 x 480 and 560 x 425",
    )
    p.add_argument(
        "--unit",
        type=float,
        default=1.0,
        metavar="MM",
        help="millimetres in one step of the depth images (default: 1)",
    )
    p.add_argument(
        "--floor",
        choices=FLOORS,
        default=FLOORS[0],
        help="where height is 0: robust (default): at the lowest surface; lowest: at the lowest "
        "point, as in Gupta's code",
    )
    p.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per processor)")
    p.add_argument(
        "--panel", metavar="DIR", help="also write pictures of the channels side by side"
    )
    p.add_argument("--color", metavar="FOLDER", help="photographs for --panel, of the same names")
    p.add_argument(
        "--overwrite", action="store_true", help="also encode images whose HHA file exists"
    )
    return p


def main(argv):
    args = parser().parse_args(argv)
    camera = None if args.camera is None else parse_camera(args.camera)
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: at least 1")
    if not 0 < args.unit <= 1000:
        raise UserError(f"--unit {args.unit}: expected millimetres, above 0 and at most 1000")
    if args.color and not args.panel:
        raise UserError("--color: photographs are shown only by --panel; give it too")
    jobs = frame_jobs(find_depth(args.depth), args.out, args.raw_depth, args.color, args.panel)
    for folder in filter(None, (args.out, args.panel)):
        make_folder(folder)
    todo = [
        job for job in jobs if args.overwrite or not all(os.path.lexists(p) for p in job[3:] if p)
    ]
    if len(todo) < len(jobs):
        kept = len(jobs) - len(todo)
        print(
            f"{kept} of {len(jobs)} frames are in {args.out} already: left alone (--overwrite "
            "makes them anew)"
        )
    if not todo:
        return 0
    failed = 0
    settings = Settings(camera, args.unit, args.floor, args.overwrite)
    outcomes = encode_all(todo, settings, min(args.jobs or processors(), len(todo)))
    with contextlib.closing(outcomes), Progress(len(todo), "encoding", "frames") as bar:
        for problem in outcomes:
            if problem:
                failed += 1
                bar.clear()
                warn(f"skipped: {problem}")
            bar.update()
    print(f"{len(todo) - failed} of {len(todo)} frames encoded, in {args.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
