"""What a net gets from its data layer: images as they are scaled, cut and coloured at random, with
their labels.

    python tools/samples.py --net NET/train.prototxt --out samples.png [--images N] [--first K]

The images are those of the training's items K, K + 1, …, with the data layer's seed; where it has
none, every call draws others. Void is left bare, and shown in white beside.
"""

from __future__ import annotations

import random

import numpy as np

import caffe
from tools.common.arguments import Parser
from tools.common.cli import Progress, UserError, run
from tools.common.files import check_target
from tools.common.inputs import check_input
from tools.common.nets import background_of, class_names, data_layers, find_task, read_net
from tools.common.pictures import (
    colours_of,
    indexed,
    overlay,
    panel,
    save_png,
    to_look_at,
    with_legend,
)
from tools.common.written import PICTURE

IMAGES = 12
COLUMNS = 3
"""Images side by side, each with its label."""
PHASES = {"train": caffe.TRAIN, "test": caffe.TEST}


def parser():
    p = Parser(prog="samples.py", description="What a net gets from its data layer, as a picture.")
    p.add_argument("--net", required=True, metavar="PROTOTXT", help="the net: NET/train.prototxt")
    p.add_argument("--out", required=True, metavar="PNG", help="the picture to write")
    p.add_argument("--images", type=int, default=IMAGES, metavar="N", help="default: %(default)s")
    p.add_argument("--first", type=int, default=0, metavar="K", help="the first item, from 0 on")
    p.add_argument("--phase", choices=PHASES, default="train", help="default: %(default)s")
    p.add_argument(
        "--task",
        help="a task's name or TOML file, for class names and palette (default: as score.py)",
    )
    return p


def layer_of(proto, path, phase):
    """(The net's data layer's class, its parameters). Raises UserError."""
    for layer, params in data_layers(proto, path, PHASES[phase]):
        if not hasattr(layer, "loader"):
            raise UserError(
                f"{path}: data layer {layer.__name__} cannot give single images; only layers made "
                "on segmentation.SegmentationLayer can"
            )
        return layer, layer.parse(params)
    raise UserError(f"{path}: has no Python data layer in phase {phase.upper()}")


def seen(layer, params, tops):
    """(H x W x 3 uint8 to look at, H x W class numbers or None) of what the tops hold."""
    names, means = layer.top_names(params), layer.means(params)
    top = next((name for name in names if name in means), None)
    if top is None:
        raise UserError(f"{layer.__name__}: none of its tops is an image")
    blob = tops[names.index(top)][0] + np.reshape(means[top], (-1, 1, 1))
    wanted = params.get("channels")
    plain = len(blob) == 1 and wanted is None
    image = blob[0] if plain else blob.round().clip(0, 255).astype(np.uint8)
    label = tops[names.index("label")][0, 0].astype(np.uint8) if "label" in names else None
    image = image if image.ndim == 2 else image.transpose(1, 2, 0)
    return to_look_at(image, top, wanted), label


def main(argv):
    args = parser().parse_args(argv)
    check_input(args.net, "net", "--net")
    if args.images < 1 or args.first < 0:
        raise UserError("--images must be 1 or more, and --first 0 or more")
    proto = read_net(args.net)
    layer, params = layer_of(proto, args.net, args.phase)
    check_target(args.out, PICTURE)
    task = find_task(args.task, args.net)
    count = layer.class_count(params) or params.get("classes") or len(task.classes if task else ())
    names, colours = class_names(args, task, count, "class {}"), colours_of(task)
    seed = params["seed"] if params["seed"] is not None else random.SystemRandom().getrandbits(32)
    load = layer.loader(params, layer.open_source(params), seed)
    pictures, texts, classes = [], [], set()
    with Progress(args.images, "reading", "images") as bar:
        for k in range(args.first, args.first + args.images):
            name, tops = load(k)
            rgb, label = seen(layer, params, tops)
            texts.append(f"{k}: {name}, {rgb.shape[1]}x{rgb.shape[0]}")
            pictures.append(rgb)
            if label is not None:
                background = background_of(names) if names else None
                pictures[-1] = overlay(rgb, label, background=background, colours=colours)
                pictures.append(np.array(indexed(label, colours).convert("RGB")))
                texts.append("label")
                classes.update(np.unique(label).tolist())
            bar.update()
    beside = len(pictures) // args.images
    sheet = panel(pictures, texts, columns=beside * min(COLUMNS, args.images))
    save_png(args.out, with_legend(sheet, names, sorted(classes), colours))
    print(f"{args.out}: items {args.first} to {args.first + args.images - 1}")
    return 0


if __name__ == "__main__":
    run(main)
