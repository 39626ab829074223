"""Photographs of a val split, their truth and what a net predicts, side by side in one picture.

    python tools/show.py --net NET/val.prototxt --weights W --out masks.png [--images N] \
        [--ids A,B,...] [--gpu N|--cpu]

A row holds the photograph, the truth, the prediction, and the prediction over the photograph; below
are the colours of the classes. Without --ids the images are N of the split, spread over it evenly.
"""

from __future__ import annotations

import numpy as np
from segmentation.layer import shrink_image, shrink_label

from prototxt import skeleton
from tools.common.arguments import Parser
from tools.common.cli import Progress, UserError, add_device_arguments, run, select_device
from tools.common.files import check_target
from tools.common.inputs import check_input
from tools.common.metrics import fast_hist, metrics
from tools.common.missing import check_weights
from tools.common.nets import (
    background_of,
    class_count,
    class_names,
    data_layer,
    data_tops,
    find_task,
    keep,
    lean,
    load,
    read_net,
)
from tools.common.pictures import (
    VIEWS,
    colours_of,
    panel,
    save_png,
    to_look_at,
    views,
    with_legend,
)
from tools.common.predictions import segment_once
from tools.common.written import PICTURE

IMAGES = 4
MAX_SIDE = 480


class Split:
    """The images of a val net's data layer, and what its tops hold of each."""

    def __init__(self, proto, path):
        self.layer, params = data_layer(proto, path)
        if not hasattr(self.layer, "tops_of"):
            raise UserError(
                f"{path}: data layer {self.layer.__name__} cannot give single images; only layers "
                "made on segmentation.SegmentationLayer can"
            )
        self.params = self.layer.parse(params)
        self.source = self.layer.open_source(self.params)
        self.tops = self.layer.top_names(self.params)
        if "label" not in self.tops:
            raise UserError(f"{path}: its data layer has no labels to compare with")

    def chosen(self, ids, count):
        """The ids to show: `ids`, or `count` spread over the split. Raises UserError."""
        there = self.source.ids
        for name in ids:
            if name not in there:
                raise UserError(f"--ids {name}: is not in {self.source.where}")
        places = np.linspace(0, len(there) - 1, min(count, len(there))).round().astype(int)
        return ids or [there[place] for place in places]

    def photograph(self, arrays):
        """The first top as H x W x 3 uint8 to look at."""
        image = np.asarray(arrays[self.tops[0]])
        return to_look_at(image, self.tops[0], self.params.get("channels"))


def predict(net, blobs, inputs, layer, size, name):
    """H x W class numbers, enlarged to `size` where the data layer shrinks its images."""
    feed(net, blobs, inputs)
    return enlarged(segment_once(net, layer, name), size)


def feed(net, blobs, inputs):
    """Put what `tops_of` gives of an image into the net's blobs `inputs`."""
    for top, array in zip(inputs, blobs):
        net.blobs[top].reshape(*array.shape)
        net.blobs[top].data[...] = array
    net.reshape()


def enlarged(labels, size):
    """An H x W array, each number repeated so that it has `size`, a whole factor above or less."""
    factors = [-(-whole // part) for whole, part in zip(size, labels.shape)]
    return labels.repeat(factors[0], 0).repeat(factors[1], 1)[: size[0], : size[1]]


def captions(name, truth, guess, classes):
    """What is written above the pictures of a row."""
    scores = metrics(fast_hist(truth.ravel(), guess.ravel(), classes))
    told = [100 * scores[key] for key in ("pixel_accuracy", "mean_iu")]
    known = (
        "pixel accuracy {:.1f} %, mean IU {:.1f} %".format(*told) if told[0] >= 0 else "all void"
    )
    return [f"{VIEWS[0]}: {name}", VIEWS[1], f"{VIEWS[2]}: {known}", VIEWS[3]]


def smaller(rgb, masks, side):
    """The photograph and the masks, made smaller by a whole factor to fit into `side`; 0: never."""
    factor = -(-max(rgb.shape[:2]) // side) if side else 1
    if factor == 1:
        return rgb, masks
    return shrink_image(rgb, factor).round().astype(np.uint8), [
        shrink_label(mask, factor) for mask in masks
    ]


def parser():
    p = Parser(
        prog="show.py", description="A split's photographs, truth and predictions side by side."
    )
    p.add_argument("--net", required=True, metavar="PROTOTXT", help="the net: NET/val.prototxt")
    p.add_argument("--weights", required=True, metavar="W", help="its .caffemodel or .h5")
    p.add_argument("--out", required=True, metavar="PNG", help="the picture to write")
    p.add_argument("--ids", metavar="A,B,...", default="", help="show these images of the split")
    p.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help="how many to show without --ids (default: %(default)s)",
    )
    p.add_argument(
        "--max-side",
        type=int,
        default=MAX_SIDE,
        metavar="N",
        help="draw larger images smaller, to fit this side; 0: never (default: %(default)s)",
    )
    p.add_argument(
        "--task",
        help="a task's name or TOML file, for class names and palette (default: as score.py)",
    )
    p.add_argument("--layer", default="score", help="blob of scores (default: score)")
    add_device_arguments(p)
    return p


def main(argv):
    args = parser().parse_args(argv)
    check_input(args.net, "net", "--net")
    check_input(args.weights, "weights", "--weights")
    if args.images < 1 or args.max_side < 0:
        raise UserError("--images must be 1 or more, and --max-side 0 or more")
    proto = read_net(args.net)
    check_weights(proto, args.net, args.weights)
    split = Split(proto, args.net)
    ids = split.chosen([name for name in args.ids.split(",") if name], args.images)
    task = find_task(args.task, args.net)
    check_target(args.out, PICTURE)
    select_device(args)
    lean()
    net = skeleton.build(proto, args.net, lambda part: load(part, args.weights, proto, args.net))
    count = class_count(args, net)
    names, colours = class_names(args, task, count, "class {}"), colours_of(task)
    background = background_of(names)
    keep(net, args.layer)
    inputs = data_tops(proto)
    pictures, texts, seen = [], [], set()
    with Progress(len(ids), "segmenting", "images") as bar:
        for name in ids:
            arrays = split.layer.read_item(split.params, split.source, name)
            truth, blobs = arrays["label"], split.layer.tops_of(split.params, arrays)
            guess = predict(net, blobs, inputs, args.layer, truth.shape, name)
            rgb, masks = smaller(split.photograph(arrays), [truth, guess], args.max_side)
            pictures += views(rgb, *masks, background=background, colours=colours)
            texts += captions(name, truth, guess, count)
            seen.update(np.unique(masks).tolist())
            bar.update()
    sheet = panel(pictures, texts, columns=2 if len(ids) == 1 else len(VIEWS))
    save_png(args.out, with_legend(sheet, names, sorted(seen), colours))
    print(f"{args.out}: {', '.join(ids)}")
    return 0


if __name__ == "__main__":
    run(main)
