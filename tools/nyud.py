"""NYUDv2's labelled file as the folders that the NYUDv2 data layer reads.

    python tools/nyud.py nyu_depth_v2_labeled.mat --out data/nyud --splits splits.mat \
        [--train train.txt --val val.txt] [--jobs N] [--overwrite]

Written are, for id = 5001 ... 6449 as in the release of Gupta et al. (2013):

    data/images/img_<id>.png     RGB
    data/depth/img_<id>.png      depth in millimetres, 16 bits, filled in
    data/rawdepth/img_<id>.png   the same as sensed, 0 where nothing was (for tools/hha.py)
    segmentation/img_<id>.mat    `segmentation`: classes 1 to 40, 0 void
    trainval.txt, test.txt       from --splits (trainNdxs, testNdxs: 795 and 654)
    train.txt, val.txt           copies of --train and --val, lists of ids (Gupta's: 381 and 414)

All are cut to rows 46-470 and columns 41-600, Gupta's frame, where the depth camera sees
(--no-crop: all of 480 x 640). The 894 classes become 40 by tools/datasets/nyud_classes.tsv, name by
name, or by --mapping, Gupta's classMapping40.mat. Gupta's own release differs a little: its labels
had their double outlines removed.

Files that are there and whole are kept, so that a call that was cut short goes on where it
stopped; --overwrite makes all anew. Label files made otherwise, with another --mapping, are
neither kept nor replaced unasked: the call ends there.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from segmentation.lists import read_split
from segmentation.mat import read_mat

from prototxt.files import write_atomic
from prototxt.opening import open_regular
from prototxt.tasks import NYUD_CLASSES
from tools.common.arguments import Parser
from tools.common.cli import Progress, UserError, processors, run
from tools.common.files import make_folder
from tools.common.tables import table
from tools.datasets.nyud_file import (
    HEIGHT,
    WIDTH,
    frame_count,
    open_labelled,
    read_frame,
    read_labels,
    read_names,
)

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "datasets", "nyud_classes.tsv")
CLASSES = len(NYUD_CLASSES)
FIRST_ID = 5001
ROWS, COLUMNS = slice(45, 470), slice(40, 600)
CROPPED = (425, 560)
LISTS = ("train", "val", "trainval", "test")
# Folder, extension and PNG modes of what a frame becomes, in Frame's order.
OUTPUTS = (
    ("data/images", ".png", ("RGB",)),
    ("data/depth", ".png", ("I;16", "I")),
    ("data/rawdepth", ".png", ("I;16", "I")),
    ("segmentation", ".mat", ()),
)


PNG_HEAD = b"\x89PNG\r\n\x1a\n"
# A MATLAB file's head tells the time: fixed, so that the same frame makes the same file.
MAT_HEAD = b"MATLAB 5.0 MAT-file".ljust(116)


def key(name):
    """A class name as it is compared: small letters and digits only."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def class_table(path=TABLE):
    """[(name, class 1 to 40)] of NYUDv2's 894 classes, in the order of the labelled file."""
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["name"], int(row["class"])) for row in csv.DictReader(file, delimiter="\t")]


def by_name(path, names):
    """uint8 array: [i] is the class of label i, that is of names[i - 1]; [0] is 0. UserError."""
    known = {key(name): number for name, number in class_table()}
    strange = [name for name in names if key(name) not in known]
    if strange:
        raise UserError(
            f"{path}: names {len(strange)} classes that tools/datasets/nyud_classes.tsv lacks: "
            f"{', '.join(repr(name) for name in strange[:5])}{', ...' * (len(strange) > 5)}; give "
            "--mapping classMapping40.mat"
        )
    return np.array([0, *(known[key(name)] for name in names)], np.uint8)


def by_mapping(path, names):
    """The same from the variable `mapClass` of a MATLAB 5 file (1 x 894, 0 void). UserError."""
    classes = read_mat(path, "mapClass").ravel()
    if len(classes) != len(names):
        raise UserError(f"{path}: maps {len(classes)} classes, but there are {len(names)} names")
    if classes.min() < 0 or classes.max() > CLASSES:
        raise UserError(
            f"{path}: mapClass goes from {classes.min():g} to {classes.max():g}; expected 0 (void) "
            f"to {CLASSES}"
        )
    return np.concatenate([[0], classes]).astype(np.uint8)


def split_lists(path, count):
    """{"trainval": ids, "test": ids} of the toolbox's splits.mat (indices from 1). UserError."""
    lists = {}
    for name, variable in (("trainval", "trainNdxs"), ("test", "testNdxs")):
        indices = read_mat(path, variable).ravel()
        if indices.min() < 1 or indices.max() > count:
            raise UserError(
                f"{path}: {variable} goes from {indices.min():g} to {indices.max():g}, but there "
                f"are {count} frames"
            )
        lists[name] = [str(FIRST_ID - 1 + int(i)) for i in indices]
        _no_repeats(f"{path}: {variable}", lists[name])
    _disjoint(f"{path}: trainNdxs", lists["trainval"], "testNdxs", lists["test"])
    return lists


def user_list(path, count):
    """The ids in a user's list, one a line, `5003` or `img_5003`. Raises UserError, DataError."""
    ids = [name[4:] if name.startswith("img_") else name for name in read_split(path)]
    last = FIRST_ID - 1 + count
    for name in ids:
        if not (name.isascii() and name.isdigit() and FIRST_ID <= int(name[:9]) <= last):
            raise UserError(f"{path}: {name!r} is not an id; expected {FIRST_ID} to {last}")
    _no_repeats(path, ids)
    return ids


def _no_repeats(what, ids):
    name, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise UserError(f"{what}: holds {name} {times} times")


def _disjoint(what, ids, other, others):
    both = sorted(set(ids) & set(others))
    if both:
        raise UserError(f"{what} and {other} share {len(both)} ids, the first {both[0]}")


def all_lists(args, count):
    """{list name: ids} as far as the call gives them, checked against each other. UserError."""
    lists = split_lists(args.splits, count) if args.splits else {}
    for name in ("train", "val"):
        path = getattr(args, name)
        if path:
            lists[name] = user_list(path, count)
            _disjoint(path, lists[name], f"{args.splits}: testNdxs", lists.get("test", ()))
    if "train" in lists and "val" in lists:
        _disjoint(args.train, lists["train"], args.val, lists["val"])
    for name, ids in lists.items():
        path = os.path.join(args.out, name + ".txt")
        if not args.overwrite and os.path.exists(path) and read_split(path) != ids:
            raise UserError(f"{path}: holds other ids; --overwrite replaces it")
    return lists


def paths_of(out, number):
    """The four files of frame `number` (from 0)."""
    stem = f"img_{FIRST_ID + number}"
    return [os.path.join(out, *folder.split("/"), stem + end) for folder, end, _ in OUTPUTS]


def stored(path, modes, shape):
    """What the file `path` holds, an array; None where it is not there, is empty, or is one of
    these files that is damaged.

    Raises UserError for another file, and for one that is not of `shape` (rows, columns).
    """
    if not os.path.isfile(path):
        return None
    try:
        if path.endswith(".mat"):
            array, right = read_mat(path, "segmentation"), True
        else:
            with Image.open(path, formats=["PNG"]) as image:
                image.load()
                array, right = np.asarray(image), image.mode in modes
    except Exception:  # Pillow's decoders raise nearly every kind
        _check_begins(path, MAT_HEAD if path.endswith(".mat") else PNG_HEAD)
        return None  # damaged, so made anew
    if array.shape[:2] != shape or not right:
        raise UserError(
            f"{path}: exists, but is {array.shape[1]}x{array.shape[0]} or of another kind; "
            f"expected {shape[1]}x{shape[0]}. --overwrite replaces it, or choose another --out"
        )
    return array


def _check_begins(path, head):
    """Raise UserError for a file that does not begin as those of its name that are written here."""
    with open_regular(path) as file:
        found = file.read(len(head))
    if not head.startswith(found):
        raise UserError(
            f"{path}: exists, and is none of this tool's files; --overwrite replaces it, or choose "
            "another --out"
        )


def classes(mat, number, labels, lut):
    """The classes of frame `number`'s labels. Raises UserError for a label without a name."""
    if labels.max() >= len(lut):
        raise UserError(
            f"{mat}: frame {number + 1} has label {labels.max()}, but there are {len(lut) - 1} "
            "names"
        )
    return lut[labels]


def check_same(path, found, wanted):
    """Raise UserError unless a label file holds what would be written: no mixing of mappings."""
    if not np.array_equal(found, wanted):
        raise UserError(
            f"{path}: holds other classes than this call makes (of another --mapping, or another "
            "release); --overwrite replaces it, or choose another --out"
        )


def encode(frame, crop):
    """The bytes of a frame's four files, in the order of OUTPUTS; its labels are classes."""
    from scipy.io import savemat

    rgb, depth, rawdepth, labels = (array[crop] for array in frame)
    stream = io.BytesIO()
    savemat(stream, {"segmentation": labels}, do_compression=True)
    mat = MAT_HEAD + stream.getvalue()[len(MAT_HEAD) :]
    return [*(_png(picture) for picture in (rgb, depth, rawdepth)), mat]


def _png(array):
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(stream, "PNG")
    return stream.getvalue()


def save(frame, crop, paths, missing):
    """Write those of a frame's files that are `missing`."""
    for path, data in zip(paths, encode(frame, crop)):
        if path in missing:
            write_atomic(path, data)


def convert(args, file, lut):
    """Write all frames; returns {folder: [files written, files kept]}. Raises UserError."""
    crop = (slice(None), slice(None)) if args.no_crop else (ROWS, COLUMNS)
    shape = (HEIGHT, WIDTH) if args.no_crop else CROPPED
    count = frame_count(file)
    tally = {folder: [0, 0] for folder, _, _ in OUTPUTS}
    with Progress(count, "frames") as bar, ThreadPoolExecutor(args.jobs) as pool:
        waiting = deque()
        for number in range(count):
            paths = paths_of(args.out, number)
            found = [None] * len(paths)
            if not args.overwrite:
                found = [stored(p, modes, shape) for p, (_, _, modes) in zip(paths, OUTPUTS)]
            for array, (folder, _, _) in zip(found, OUTPUTS):
                tally[folder][array is not None] += 1
            if found[-1] is not None:
                labels = classes(args.mat, number, read_labels(args.mat, file, number), lut)
                check_same(paths[-1], found[-1], labels[crop])
            missing = {path for path, array in zip(paths, found) if array is None}
            if not missing:
                bar.update()
                continue
            frame = read_frame(args.mat, file, number)
            frame = frame._replace(labels=classes(args.mat, number, frame.labels, lut))
            waiting.append(pool.submit(save, frame, crop, paths, missing))
            while len(waiting) > 2 * args.jobs:
                waiting.popleft().result()
                bar.update()
        for job in waiting:
            job.result()
            bar.update()
    return tally


def summary(tally, lists):
    """What was written, as lines of text."""
    rows = [[folder, str(made), str(kept)] for folder, (made, kept) in tally.items()]
    rows += [[f"{n}.txt", f"{len(lists[n])} ids", ""] for n in LISTS if n in lists]
    lines = table(["", "written", "kept"], rows)
    absent = [name for name in LISTS if name not in lists]
    if absent:
        needed = ("--splits", "--train", "--val")
        wanted = (("trainval", "test"), ("train",), ("val",))
        options = [o for o, names in zip(needed, wanted) if set(names) & set(absent)]
        names = ", ".join(name + ".txt" for name in absent)
        lines.append(f"not written: {names}; they need {', '.join(options)}")
    return lines


def jobs(text):
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= value <= 64:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 64, not {text!r}")
    return value


def parser():
    p = Parser(
        prog="nyud.py", description="NYUDv2's labelled file as the folders of its data layer."
    )
    p.add_argument("mat", metavar="MAT", help="nyu_depth_v2_labeled.mat")
    p.add_argument("--out", required=True, metavar="DIR", help="the data layer's nyud_dir")
    p.add_argument("--splits", metavar="MAT", help="the toolbox's splits.mat")
    p.add_argument("--train", metavar="LIST", help="ids to train on, one a line")
    p.add_argument("--val", metavar="LIST", help="ids to validate on, one a line")
    p.add_argument(
        "--mapping", metavar="MAT", help="classMapping40.mat, instead of the built-in table"
    )
    p.add_argument("--no-crop", action="store_true", help="keep 640x480")
    p.add_argument("--overwrite", action="store_true", help="replace files that exist")
    default = min(4, processors())
    p.add_argument(
        "--jobs", type=jobs, default=default, metavar="N", help=f"threads (default: {default})"
    )
    return p


def main(argv):
    args = parser().parse_args(argv)
    with open_labelled(args.mat) as file:
        names = read_names(args.mat, file)
        lut = by_mapping(args.mapping, names) if args.mapping else by_name(args.mat, names)
        lists = all_lists(args, frame_count(file))
        for folder, _, _ in OUTPUTS:
            make_folder(os.path.join(args.out, *folder.split("/")))
        tally = convert(args, file, lut)
    for name, ids in lists.items():
        write_atomic(os.path.join(args.out, name + ".txt"), "".join(f"{i}\n" for i in ids))
    print("\n".join(summary(tally, lists)), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
