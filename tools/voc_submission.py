"""Predictions for VOC2012's test images, checked and packed for the evaluation server.

    python tools/voc_submission.py --predictions DIR --voc data/voc --out results.tgz
    python tools/voc_submission.py --predictions DIR --split test.txt [--images JPEGImages] \
        --out results.tgz [--competition comp6|comp5]

DIR holds <id>.png of each id in the list, as `tools/score.py --save-dir` and `tools/infer.py
--out` write them: one channel, whose values are class numbers from 0 to 20. With --voc the list is
DIR/ImageSets/Segmentation/test.txt (--name NAME for another), the photographs DIR/JPEGImages.

In the archive lies results/VOC2012/Segmentation/comp6_test_cls/<id>.png (development kit of
VOC2012, section 5.3): comp6 is for nets trained on any data but the test images, comp5 for those
trained on VOC's train and val alone. Every PNG there has VOC's palette. Nothing is packed unless
every prediction is right. The same predictions make the same archive, byte for byte.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
from collections import Counter

import numpy as np
from segmentation.files import find
from segmentation.labels import VOID
from segmentation.lists import IMAGE_ENDINGS, read_split, split_file
from segmentation.params import DataError
from segmentation.pictures import MAX_PIXELS, read_picture, size

from prototxt.opening import LARGEST_PICTURE, read_regular
from prototxt.tasks import VOC_CLASSES
from tools.common.arguments import Parser
from tools.common.cli import Failure, Progress, UserError, run, warn
from tools.common.files import check_target, replacing
from tools.common.pictures import indexed, palette_kind
from tools.common.tables import table
from tools.common.written import archive_of

TEST_IMAGES = 1456
SUFFIXES = (".tar", ".tgz", ".tar.gz")
COMPETITIONS = ("comp6", "comp5")
FOLDER = "results/VOC2012/Segmentation/"
ARCHIVE = archive_of(FOLDER)


def read_prediction(path):
    """(H x W class numbers, palette or None) of a PNG of one channel.

    The palette is n x 3 uint8; None stands for gray, and for one with transparent colours.
    Raises DataError, also for values that are no class.
    """

    def decode(image):
        if image.mode not in ("P", "L", "1") and not image.mode.startswith("I"):
            raise DataError(
                f"{path}: {image.mode} pixels; expected one channel, whose values are class numbers"
            )
        palette = None
        if image.mode == "P" and "transparency" not in image.info:
            palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        return np.asarray(image), palette

    labels, palette = read_picture(path, ("PNG",), MAX_PIXELS, decode)
    labels = labels.astype(np.int64)
    void = labels == VOID
    if void.any():
        raise DataError(f"{path}: {void.sum()} pixels are void ({VOID}); every pixel needs a class")
    wrong = (labels < 0) | (labels >= len(VOC_CLASSES))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}: value {labels[row, column]} at row {row}, column {column}; classes are 0 to "
            f"{len(VOC_CLASSES) - 1}"
        )
    return labels.astype(np.uint8), palette


def packed(path, labels, palette):
    """The bytes of a prediction for the archive: as they are if their palette is VOC's."""
    if palette_kind(labels, palette) == "voc":
        return read_regular(path, LARGEST_PICTURE)
    stream = io.BytesIO()
    indexed(labels).save(stream, "PNG")
    return stream.getvalue()


def photograph_size(folder, name):
    """(height, width) of a photograph, or None where it is not there or cannot be read."""
    try:
        return size(find(folder, name, IMAGE_ENDINGS, "image"))
    except DataError:
        return None


@contextlib.contextmanager
def archive(path, name):
    """A tar file for `with`, to be written to `path`; compressed unless `name` ends in .tar.

    Its bytes depend on nothing but what is added.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "wb"))
        if not name.lower().endswith(".tar"):
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        yield stack.enter_context(tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT))


def add(tar, name, data):
    """Add a file to a tar file, without time or owner."""
    info = tarfile.TarInfo(name)  # of time 0 and owner 0
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def pack(args, ids, images):
    """Check all predictions and write the archive; returns a dict of what was found.

    Raises Failure, having printed what is wrong, one line a prediction; then nothing is written.
    """
    folder = f"{FOLDER}{args.competition}_test_cls"
    listed = Counter(ids)
    problems = [[name, f"listed {times} times"] for name, times in listed.items() if times > 1]
    pixels = np.zeros(len(VOC_CLASSES), np.int64)
    present = np.zeros(len(VOC_CLASSES), np.int64)
    rewritten, shuffled, unsized = 0, [], 0
    with replacing(args.out, ARCHIVE) as beside:
        with archive(beside, args.out) as tar, Progress(len(listed), "packing", "images") as bar:
            for name in sorted(listed):
                path = os.path.join(args.predictions, name + ".png")
                size = photograph_size(images, name) if images else None
                unsized += images is not None and size is None
                try:
                    labels, palette = read_prediction(path)
                    if size not in (None, labels.shape):
                        raise DataError(
                            f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, but its "
                            f"photograph has {size[1]}x{size[0]}"
                        )
                except DataError as error:
                    problems.append([name, _told(path, error)])
                else:
                    kind = palette_kind(labels, palette)
                    rewritten += kind != "voc"
                    shuffled += [name] * (kind == "shuffled")
                    counts = np.bincount(labels.ravel(), minlength=len(VOC_CLASSES))
                    pixels += counts
                    present += counts > 0
                    if not problems:
                        add(tar, f"{folder}/{name}.png", packed(path, labels, palette))
                bar.update()
        if problems:
            print("\n".join(table(["id", "problem"], problems, left=2)), flush=True)
            wrong = len({name for name, _ in problems})
            raise Failure(
                f"{args.predictions}: {wrong} of {len(listed)} predictions cannot be submitted "
                f"(see above); {args.out} was not written"
            )
    return {
        "count": len(listed), "pixels": pixels, "present": present, "rewritten": rewritten,
        "shuffled": shuffled, "unsized": unsized,
    }  # fmt: skip


def _told(path, error):
    """What is wrong with a prediction, without its path."""
    if not os.path.isfile(path):
        return "no prediction"
    return str(error).replace(f"{path}: ", "", 1).replace("; fetch it again", "")


def extras(folder, ids):
    """The names of PNGs that belong to no id, apart from infer.py's overlays and legend."""
    names = {file[:-4] for file in os.listdir(folder) if file.lower().endswith(".png")}
    known = {*ids, *(f"{name}_overlay" for name in ids), "legend"}
    return sorted(names - known)


def inputs(args):
    """(ids, folder of photographs or None) of the call. Raises UserError, DataError."""
    if args.voc:
        root = args.voc
        split = split_file(os.path.join(root, "ImageSets", "Segmentation"), args.name)
    else:
        split = args.split
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(split))))
    ids = read_split(split)
    images = args.images or os.path.join(root, "JPEGImages")
    if not os.path.isdir(images):
        if args.images:
            raise UserError(f"{images}: no such folder of photographs")
        warn("sizes are not checked: no photographs (--images names their folder)")
        images = None
    if not os.path.isdir(args.predictions):
        raise UserError(f"{args.predictions}: no such folder of predictions")
    if not any(os.path.isfile(os.path.join(args.predictions, f"{name}.png")) for name in ids):
        raise UserError(f"{args.predictions}: holds no <id>.png for any id in {split}")
    if len(ids) != TEST_IMAGES:
        warn(f"{split}: lists {len(ids)} ids; VOC2012's test list has {TEST_IMAGES}")
    return ids, images


def report(args, found):
    """The classes' shares and the archive, as lines of text."""
    total = found["pixels"].sum()
    rows = [
        [name, f"{100 * pixels / total:.2f}", str(images)]
        for name, pixels, images in zip(VOC_CLASSES, found["pixels"], found["present"])
    ]
    size = os.path.getsize(args.out)
    size = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
    text = f"{args.out}: {found['count']} predictions for {args.competition}, {size}"
    if found["rewritten"]:
        text += f"; {found['rewritten']} were given VOC's palette"
    return [*table(["class", "% of pixels", "images"], rows), "", text]


def parser():
    p = Parser(
        prog="voc_submission.py", description="Pack predictions for the VOC evaluation server."
    )
    p.add_argument(
        "--predictions", required=True, metavar="DIR", help="folder of the masks, <id>.png"
    )
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--voc", metavar="DIR", help="VOC2012's folder, with the test images' list")
    where.add_argument("--split", metavar="FILE", help="the list of ids, one a line")
    p.add_argument("--name", default="test", help="with --voc: the list's name (default: test)")
    p.add_argument("--images", metavar="DIR", help="the photographs, to check sizes")
    p.add_argument("--out", required=True, metavar="FILE", help="the archive: .tgz, .tar.gz, .tar")
    p.add_argument(
        "--competition",
        choices=COMPETITIONS,
        default=COMPETITIONS[0],
        help="comp6 (default): trained on any data; comp5: only on VOC's train and val",
    )
    return p


def main(argv):
    args = parser().parse_args(argv)
    if not args.out.lower().endswith(SUFFIXES):
        raise UserError(f"--out {args.out}: expected a name that ends in {', '.join(SUFFIXES)}")
    check_target(args.out, ARCHIVE)
    ids, images = inputs(args)
    more = extras(args.predictions, ids)
    if more:
        warn(
            f"{args.predictions}: {len(more)} PNGs are left out, since their ids are not listed, "
            f"such as {more[0]}.png"
        )
    found = pack(args, ids, images)
    if found["unsized"]:
        warn(
            f"{images}: the photographs of {found['unsized']} ids cannot be read; the sizes of "
            "their predictions are not checked"
        )
    if found["shuffled"]:
        warn(
            f"{len(found['shuffled'])} predictions have VOC's colours at other numbers, such as "
            f"{found['shuffled'][0]}.png; the numbers were taken, not the colours"
        )
    print("\n".join(report(args, found)), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
