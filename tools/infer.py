"""Segment photographs: one palette PNG of class numbers per image, and an overlay if wanted.

    python tools/infer.py --net NET/deploy.prototxt --weights W IMAGE|FOLDER... --out DIR \
        [--overlay] [--classes FILE | --task voc] [--mean B,G,R] [--gpu N|--cpu] \
        [--flips] [--scales 0.75,1,1.25]
    torchrun --nproc-per-node N tools/infer.py [...]     # each process takes a part of the images

Folders are searched recursively, but for hidden files. A JPEG with an EXIF orientation is turned
upright, as it is in training; its mask has the size at which it is shown. Images that cannot be
read are named and skipped; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import namedtuple

import numpy as np
from nyud_layers import read_hha
from segmentation.channels import read_channels, to_look_at
from segmentation.files import images_in
from segmentation.layer import shrink_image, to_blob
from segmentation.lists import IMAGE_ENDINGS, hidden
from segmentation.pictures import read_rgb

from prototxt.opening import read_regular
from tools.common import computing
from tools.common.arguments import Parser
from tools.common.cli import Progress, UserError, add_device_arguments, run, select_device, warn
from tools.common.files import check_target, make_folder
from tools.common.inputs import check_input
from tools.common.missing import check_weights
from tools.common.nets import (
    background_of,
    class_count,
    class_names,
    find_task,
    input_settings,
    keep,
    lean,
    load,
    read_net,
)
from tools.common.pictures import colours_of, legend, overlay, save_indexed, save_png
from tools.common.predictions import segment_once
from tools.common.ranks import first, share, split_work
from tools.common.written import MASK, PICTURE
from tools.scoring import averaging

MAX_SIDE = 1280

Job = namedtuple("Job", "image mask overlay")
Job.__doc__ = """Paths: the image, the mask and the overlay to write."""


def find_images(paths, out):
    """(image path, name below `out` without extension) for files and, sorted, folders' files.

    What lies in `out` is left out. Raises UserError for a path that is not there, and for a
    folder without images.
    """
    found, out = [], os.path.realpath(out)
    for path in paths:
        if os.path.isfile(path):
            found.append((path, os.path.splitext(os.path.basename(path))[0]))
            continue
        if not os.path.isdir(path):
            raise UserError(f"{path}: no such image or folder")
        before = len(found)
        for folder, inner, files in os.walk(path):
            inner[:] = sorted(
                d for d in inner
                if not hidden(d) and os.path.realpath(os.path.join(folder, d)) != out
            )  # fmt: skip
            below = os.path.relpath(folder, path)
            for file in sorted(images_in(files)):
                stem = os.path.splitext(file)[0]
                name = stem if below == "." else os.path.join(below, stem)
                found.append((os.path.join(folder, file), name))
        if len(found) == before:
            raise UserError(f"{path}: holds no images ({', '.join(IMAGE_ENDINGS)})")
    return found


def image_jobs(images, out, with_overlay):
    """A Job per (image, name); names that would collide get -2, -3, ...

    Raises UserError if an output is one of the images.
    """
    inputs = {os.path.realpath(image) for image, _ in images}
    taken, jobs = set(), []
    for image, name in images:
        for number in range(1, len(images) * 2 + 2):
            stem = name if number == 1 else f"{name}-{number}"
            paths = [os.path.join(out, stem + ".png")]
            if with_overlay:
                paths.append(os.path.join(out, stem + "_overlay.png"))
            if not taken & {p.lower() for p in paths}:
                break
        for path in paths:
            if os.path.realpath(path) in inputs:
                raise UserError(f"{path}: is an image to segment; choose another --out")
        taken |= {p.lower() for p in paths}
        jobs.append(Job(image, paths[0], paths[1] if with_overlay else None))
    return jobs


def legend_of(args, jobs):
    """The path of the legend that goes with overlays, or None."""
    key = os.path.join(args.out, "legend.png")
    taken = any(key in (job.image, job.mask, job.overlay) for job in jobs)
    return key if args.overlay and not taken else None


def check_targets(jobs, key):
    """Raise UserError where something is in the place of a mask, an overlay or the legend that no
    command of this toolkit has written."""
    for job in jobs:
        check_target(job.mask, MASK)
        if job.overlay:
            check_target(job.overlay, PICTURE)
    if key:
        check_target(key, PICTURE)


def segment(net, rgb, mean, layer="score", max_side=0, shrink=1, reverse=True, views=()):
    """H x W x 3 uint8 RGB -> H x W class numbers, by a net with one image input.

    `reverse`: the net takes B, G, R; else the channels as they are (HHA, other bands). The image
    is box-averaged by the whole factor `shrink`, as the net saw its training images, or by a larger
    one if its longer side would exceed `max_side` (0: no limit); its mask is enlarged again. views:
    those of `scoring.averaging` over which probabilities are averaged; none: the net's scores
    decide.
    """
    height, width = rgb.shape[:2]
    factor = max(shrink, -(-max(height, width) // max_side) if max_side else 1)
    image = rgb[..., ::-1] if reverse else rgb
    data = to_blob(shrink_image(image, factor) if factor > 1 else image, mean)
    if views:
        asked = averaging.Views(net, [input_of(net)], layer)
        labels = averaging.class_numbers(asked, {input_of(net): data}, views, "the image")
        return enlarged(labels, factor, height, width)
    blob = net.blobs[input_of(net)]
    if blob.data.shape != data.shape:
        blob.reshape(*data.shape)
        net.reshape()
    blob.data[...] = data
    labels = segment_once(net, layer, "the image")
    if labels.shape != data.shape[2:]:
        found, wanted = ("x".join(map(str, shape)) for shape in (labels.shape, data.shape[2:]))
        raise UserError(f"blob {layer!r} has {found} scores, but the image {wanted} pixels")
    return enlarged(labels, factor, height, width)


def enlarged(labels, factor, height, width):
    """Each label as a square of `factor` pixels; cut to height and width."""
    return labels.repeat(factor, 0).repeat(factor, 1)[:height, :width]


def input_of(net):
    """The name of the net's one input."""
    return list(net.inputs)[0]


def one_input(net, path):
    """Raise UserError unless the NetParameter in the file `path` has one input."""
    inputs = [*net.input, *(t for layer in net.layer if layer.type == "Input" for t in layer.top)]
    if len(inputs) != 1:
        raise UserError(
            f"{path}: the net has {len(inputs)} inputs ({', '.join(inputs) or 'none'}); a deploy "
            "net with one image input is needed (score.py --save-dir segments a split of any data "
            "set)"
        )


def shares(labels, names):
    """The classes in a mask by area, as text: `person 21 %, background 79 %`."""
    counts = np.bincount(labels.ravel(), minlength=len(names)) * 100.0 / labels.size
    order = sorted(np.flatnonzero(counts), key=lambda c: -counts[c])[:5]
    return ", ".join(f"{names[c]} {counts[c]:.0f} %" for c in order)


def read_names(path, count):
    """Class names, one a line; there must be `count`. Raises UserError."""
    lines = read_regular(path).decode("utf-8-sig", "replace").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != count:
        raise UserError(f"{path}: names {len(names)} classes, but the net has {count}")
    return names


def channel_mean(text):
    """`B,G,R`, or a number for each channel, as floats."""
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        values = ()
    if not values or not np.isfinite(values).all():
        raise argparse.ArgumentTypeError(f"expected numbers B,G,R, not {text!r}")
    return values


def check_channels(args, net, settings):
    """Raise UserError unless the net takes as many channels as pictures have."""
    takes = net.blobs[input_of(net)].shape[1]
    wanted = settings.channels
    if wanted is None and takes != 3:
        raise UserError(
            f"{args.net}: takes {takes} channels; a photograph has 3 (the TOML's `channels`, or "
            "those of the val.prototxt beside the net, say what others are)"
        )
    if wanted is not None and takes != len(wanted.each):
        raise UserError(f"{args.net}: takes {takes} channels; `channels` are {len(wanted.each)}")


def read_image(path, settings):
    """(what the net takes, what is looked at) of a picture: H x W x C, and H x W x 3 uint8 RGB."""
    if settings.channels is None:
        rgb = read_rgb(path) if settings.reverse else read_hha(path)
        return rgb, rgb
    image = read_channels(path, settings.channels, settings.scale)
    return image, to_look_at(image, settings.channels)


def side(text):
    value = int(text) if text.isdigit() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of pixels or 0, not {text!r}")
    return value


def parser():
    p = Parser(
        prog="infer.py",
        description="Segment photographs. A JPEG is turned as its EXIF orientation says, and its "
        "mask with it.",
    )
    p.add_argument("images", nargs="+", metavar="IMAGE|FOLDER")
    p.add_argument("--net", required=True, metavar="PROTOTXT", help="NET/deploy.prototxt")
    p.add_argument("--weights", required=True, help="its .caffemodel or .h5")
    p.add_argument("--out", required=True, metavar="DIR", help="where the masks go")
    p.add_argument("--overlay", action="store_true", help="also write NAME_overlay.png")
    p.add_argument("--classes", metavar="FILE", help="class names, one a line")
    p.add_argument(
        "--task",
        help="a task's name or TOML file: class names, palette, mean, shrink (default: of the TOML "
        "that the net was made from, or by folder)",
    )
    p.add_argument(
        "--mean",
        type=channel_mean,
        metavar="B,G,R",
        help="mean to subtract (default: the task's, or VGG's)",
    )
    p.add_argument("--layer", default="score", help="blob of scores (default: score)")
    p.add_argument(
        "--max-side",
        type=side,
        default=MAX_SIDE,
        metavar="N",
        help=f"shrink larger images to this side; 0: never (default: {MAX_SIDE})",
    )
    averaging.add_arguments(p)
    computing.add_arguments(p)
    add_device_arguments(p)
    return p


def tell_all(ranks, failed, told):
    """In the first rank, say what the others have found, and return how many images failed in all
    ranks; in the others how many did in this one."""
    parts = [json.loads(part) for part in ranks.gather(json.dumps([failed, told]).encode())]
    for _, lines in parts[1:]:
        for kind, line in lines:
            (warn if kind == "warning" else print)(line)
    return sum(part[0] for part in parts) if parts else failed


def main(argv):
    return split_work(parser(), argv, work)


def work(args, ranks=None):
    """Segment as `args` say, as one of `ranks` where they are several; the exit code."""
    check_input(args.net, "net", "--net")
    check_input(args.weights, "weights", "--weights")
    if args.classes:
        check_input(args.classes, "text", "--classes")
    proto = read_net(args.net)
    one_input(proto, args.net)
    check_weights(proto, args.net, args.weights)
    jobs = image_jobs(find_images(args.images, args.out), args.out, args.overlay)
    key = legend_of(args, jobs)
    check_targets(jobs, key)
    task = find_task(args.task, args.net)
    settings = input_settings(task, args.net, asked=args.task is not None)
    mean = args.mean or settings.mean
    if len(mean) != len(settings.mean):
        raise UserError(f"--mean: expected {len(settings.mean)} numbers, not {len(mean)}")
    make_folder(args.out)
    computing.choose(args)
    select_device(args)
    lean()
    net = load(args.net, args.weights, proto)
    if args.layer in net.blobs:
        keep(net, args.layer)
    check_channels(args, net, settings)
    count = class_count(args, net)
    if args.classes:
        names = read_names(args.classes, count)
    else:
        names = class_names(args, task, count, "class {}")
    background = background_of(names)
    colours = colours_of(task)
    if key and first(ranks):
        save_png(key, legend(names, colours=colours))
    asked = averaging.additions(args.flips, args.scales)
    views = asked[-1].views if asked else ()
    failed, told = 0, []
    mine = share(len(jobs), ranks)
    with Progress(len(mine), "segmenting", "images") as bar:
        for job in jobs[mine.start : mine.stop]:
            try:
                image, rgb = read_image(job.image, settings)
                side, shrink, reverse = args.max_side, settings.shrink, settings.reverse
                labels = segment(net, image, mean, args.layer, side, shrink, reverse, views)
            except (ValueError, RuntimeError, MemoryError) as error:
                failed += 1
                text = str(error) or type(error).__name__
                bar.clear()
                said = f"skipped: {text if job.image in text else job.image + ': ' + text}"
                warn(said)
                told.append(["warning", said])
            else:
                save_indexed(job.mask, labels, colours)
                if job.overlay:
                    drawn = overlay(rgb, labels, background=background, colours=colours)
                    save_png(job.overlay, drawn)
                said = f"{job.image} -> {job.mask}: {shares(labels, names)}"
                bar.write(said)
                told.append(["line", said])
            bar.update()
    if ranks is not None:
        failed = tell_all(ranks, failed, told)
    if failed:
        print(f"{failed} of {len(jobs)} images could not be segmented")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
