"""Make the reduced VOC2012 validation list: val less every train and val image of SBD.

    python tools/seg12val.py [--voc data/voc] [--sbd data/sbd] [--out FILE]

Nets trained on SBD are scored on it: SBD's 11,355 images hold most of VOC's val. FILE is
<voc>/ImageSets/Segmentation/seg12val.txt if not given; the ids stand in val's order, one a line.
A FILE that is there with other ids stays, unless --force is given.
"""

from __future__ import annotations

import os

from segmentation.lists import read_split, split_file

from prototxt.files import write_atomic
from prototxt.tasks import TASKS
from tools.common.arguments import Parser
from tools.common.cli import UserError, run, warn
from tools.common.files import check_target
from tools.common.tables import table
from tools.common.written import ANY

VAL = 1449
"""Images of VOC2012's segmentation val."""


def reduced(val, sbd):
    """The ids of `val`, in its order, that are not in `sbd`."""
    held = set(sbd)
    return [name for name in val if name not in held]


def sbd_lists(root):
    """The lists in SBD's folder that name its images: train.txt and val.txt, trainval.txt."""
    train, val, both = (split_file(root, split) for split in ("train", "val", "trainval"))
    if os.path.exists(both):
        return [path for path in (train, val) if os.path.exists(path)] + [both]
    return [train, val]


def unusual(val, sbd, left):
    """Where other than 346 ids are left: what is not as in the published data, else ""."""
    wanted, images = TASKS["voc"].val.images, TASKS["sbd"].train.images
    if left == wanted:
        return ""
    odd = [f"VOC2012's val has {val} ids, not {VAL}"] * (val != VAL)
    odd += [f"SBD's train and val together have {sbd}, not {images}"] * (sbd != images)
    odd = odd or ["VOC2012's val and SBD have as many ids as they should, but not the same ones"]
    return f"{left} ids are left, not {wanted}: " + "; ".join(odd)


def write_list(path, ids, force):
    """Write a split file; returns False where it holds these ids already.

    Raises UserError if it holds others and `force` is False.
    """
    check_target(path, ANY)
    if os.path.lexists(path):
        try:
            there = read_split(path)
        except ValueError:
            there = None
        if there == ids:
            return False
        if not force:
            what = f"{len(there)} ids" if there else "something else"
            raise UserError(
                f"{path}: exists and holds {what}, not these {len(ids)}; "
                "--out names another file, --force replaces it"
            )
    write_atomic(path, "".join(name + "\n" for name in ids))
    return True


def parser():
    p = Parser(
        prog="seg12val.py", description="Make the reduced VOC2012 validation list (346 images)."
    )
    p.add_argument("--voc", default="data/voc", help="VOC2012's folder (default: %(default)s)")
    p.add_argument("--sbd", default="data/sbd", help="SBD's `dataset` (default: %(default)s)")
    p.add_argument(
        "--out", metavar="FILE", help="the list to write (default: seg12val.txt among VOC's lists)"
    )
    p.add_argument("--force", action="store_true", help="replace a FILE that holds other ids")
    return p


def main(argv):
    args = parser().parse_args(argv)
    splits = os.path.join(args.voc, "ImageSets", "Segmentation")
    val_path, sbd_paths = split_file(splits, "val"), sbd_lists(args.sbd)
    out = args.out or split_file(splits, "seg12val")
    val = read_split(val_path)
    sbd = set().union(*map(read_split, sbd_paths))
    if os.path.exists(out) and any(os.path.samefile(out, p) for p in (val_path, *sbd_paths)):
        raise UserError(f"{out}: is one of the lists that are read; choose another --out")
    left = reduced(val, sbd)
    if not left:
        raise UserError(f"{val_path}: SBD holds all its {len(val)} ids; is it VOC2012's val?")
    written = write_list(out, left, args.force)
    rows = (
        ("VOC2012 val", str(len(val)), val_path),
        ("SBD", str(len(sbd)), ", ".join(sbd_paths)),
        ("val in SBD", str(len(val) - len(left)), ""),
        ("left", str(len(left)), out if written else f"{out} (was there already)"),
    )
    print("\n".join(table(None, rows, left=(0, 2))))
    odd = unusual(len(val), len(sbd), len(left))
    if odd:
        warn(odd)
    return 0


if __name__ == "__main__":
    run(main)
