"""Make the initial weights of a net from a pretrained one.

python surgery/make_init.py --net prototxt/nets/voc/dilated-fcn2s-vgg16/train.prototxt \\
    --from VGG_ILSVRC_16_layers.caffemodel --out init.caffemodel

Layers are copied by name; VGG's fc6 becomes the net's smaller, dilated kernel; deconvolutions
with `up` in their name upsample bilinearly; nets of other channels start from the 3-channel layer
and its mean; score layers start at 0. The data set is not needed.
"""

import argparse
import os
import shutil
import sys

import caffe
from prototxt.skeleton import build, data_mean, read_prototxt
from prototxt.tasks import VOC_MEAN
from surgery import channels, fc6
from surgery.importers import FORMATS, check_source, read_source
from surgery.initial import initialise
from tools.common.arguments import Parser
from tools.common.cli import UserError, run
from tools.common.files import check_target, replacing
from tools.common.inputs import check_input
from tools.common.tables import table
from tools.common.written import WEIGHTS, sign_weights


def arguments(argv):
    parser = Parser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--net", required=True, help="the net's train.prototxt")
    parser.add_argument(
        "--from",
        dest="sources",
        metavar="SOURCE",
        action="append",
        required=True,
        help="pretrained weights: " + FORMATS.replace(", X.pth", ",\nX.pth"),
    )
    parser.add_argument("--out", required=True, help="the .caffemodel to write")
    parser.add_argument(
        "--fc6",
        choices=list(fc6.MODES),
        default="decimate",
        help="decimate (default): rows and columns 0, 3, 6 of VGG's 7x7\n"
        "flat: the first numbers in memory order, as the published nets were made",
    )
    parser.add_argument(
        "--fill-missing",
        choices=["msra"],
        help="fill layers that have no source and that would never learn from 0",
    )
    parser.add_argument(
        "--new-channels",
        choices=list(channels.NEW),
        default=channels.NEW[0],
        help="weights of input channels that are none of red, green, blue\n"
        "(default: the mean of those of the colours)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the fillers (default 0)")
    parser.add_argument(
        "--suffix",
        action="append",
        default=[],
        help="copy layer x to layer x + SUFFIX (nets of two streams: once per stream,\n"
        "with one --from for all or one for each, in the same order)",
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="LAYER",
        help="do not copy this layer (a score layer of other classes)",
    )
    return parser.parse_args(argv)


def pair(suffixes, sources):
    """[(suffix, source)]: one source for every suffix, or as many sources as suffixes."""
    suffixes = suffixes or [""]
    if len(sources) == 1:
        sources = sources * len(suffixes)
    if len(sources) != len(suffixes):
        raise UserError(
            f"{len(sources)} times --from and {len(suffixes)} times --suffix: "
            "give one --from, or one for each --suffix"
        )
    return list(zip(suffixes, sources))


def save(net, path):
    """Write the net's weights to `path`, which is never there half-written."""
    folder = os.path.dirname(os.path.abspath(path))
    need = sum(blob.data.nbytes for blobs in net.params.values() for blob in blobs)
    free = shutil.disk_usage(folder).free
    need += 10**6  # names, shapes and settings
    if free < need:
        # BVLC Caffe would abort in the middle of the file.
        raise OSError(f"{path}: needs {need / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB free")
    with replacing(path, WEIGHTS) as part:
        net.save(part)
        sign_weights(part)


def main(argv):
    args = arguments(argv)
    check_input(args.net, "net", "--net")
    for source in args.sources:
        if os.path.realpath(check_source(source, "--from")[0]) == os.path.realpath(args.out):
            raise UserError(f"--out {args.out}: is the source itself; name another file")
    pairs = pair(args.suffix, args.sources)
    if not args.out.endswith(".caffemodel"):
        raise UserError(f"--out {args.out}: the name must end in .caffemodel")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: a seed is 0 or more")
    check_target(args.out, WEIGHTS)
    proto = read_prototxt(args.net)
    mean = channels.colours_of(data_mean(proto), channels.names_of(proto))
    mean = mean if mean is not None and len(mean) == 3 else VOC_MEAN
    read = {source: read_source(source, mean) for source in args.sources}
    caffe.set_mode_cpu()
    caffe.set_random_seed(args.seed)
    net = build(proto, args.net)
    rows, dropped = initialise(
        net,
        proto,
        [(source, suffix, read[source]) for suffix, source in pairs],
        fc6_mode=args.fc6,
        fill=args.fill_missing,
        seed=args.seed,
        drop=args.drop,
        new_channels=args.new_channels,
    )
    save(net, args.out)
    print("\n".join(table(("layer", "shape", "from"), rows, left=3)))
    if dropped:
        print("dropped: " + ", ".join(dropped))
    print(f"{args.out}: {os.path.getsize(args.out) / 1e6:.1f} MB")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    run(main)
