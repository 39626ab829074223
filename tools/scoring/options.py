"""The options of score.py that ask for more than the four scores."""

from __future__ import annotations

import argparse
import os

from tools.common import plots
from tools.common.cli import UserError
from tools.common.files import check_target
from tools.common.written import PICTURE
from tools.scoring import averaging, images
from tools.scoring.boundaries import WIDTHS

MOST = 10000
"""Pixels on one side of a boundary, of the widest trimap."""


def widths(text: str) -> list[int]:
    """`1,2,5` as whole numbers, which rise."""
    words = text.split(",")
    found = [int(word) if word.strip().isdecimal() else 0 for word in words]
    if found != sorted(set(found)) or not all(0 < width <= MOST for width in found):
        raise argparse.ArgumentTypeError(
            f"expected rising whole numbers of pixels with commas between them, not {text!r}"
        )
    return found


def add_arguments(parser) -> None:
    """Add the options."""
    more = parser.add_argument_group("more scores (docs/scores.md)")
    more.add_argument(
        "--more", action="store_true", help="print Dice, precision and recall of each class"
    )
    more.add_argument(
        "--boundary",
        action="store_true",
        help="score the boundaries: trimap mean IU, boundary F, boundary IoU",
    )
    more.add_argument(
        "--widths",
        type=widths,
        metavar="N,N,…",
        help="of the trimaps, in pixels on each side of a boundary (default: "
        + ",".join(map(str, WIDTHS))
        + ")",
    )
    more.add_argument("--plot", metavar="PNG", help="draw trimap mean IU over the widths")
    more.add_argument(
        "--calibration",
        nargs="?",
        const="",
        metavar="PNG",
        help="print the expected calibration error, and draw accuracy over confidence",
    )
    more.add_argument(
        "--per-image",
        nargs="?",
        const="",
        metavar="FILE",
        help="print the worst and best images; write all as FILE.csv or FILE.json",
    )
    averaging.add_arguments(more)


def settle(args) -> None:
    """Make `args` whole: --widths and --plot ask for --boundary. UserError where two outputs are
    one file."""
    args.boundary = bool(args.boundary or args.plot or args.widths)
    args.widths = args.widths or list(WIDTHS)
    taken: dict[str, str] = {}
    for option in ("json", "plot", "calibration", "per_image"):
        path = getattr(args, option)
        if path:
            name = "--" + option.replace("_", "-")
            other = taken.setdefault(os.path.realpath(path), name)
            if other != name:
                raise UserError(f"{name} {path}: is the file of {other} too; name another")


def check_targets(args) -> None:
    """Raise UserError where something is in the place of an output that score.py has not made."""
    for path in (args.plot, args.calibration):
        if path:
            plots.pyplot()  # told before the work where it is not there
            check_target(path, PICTURE)
    if args.per_image:
        check_target(args.per_image, images.kind(args.per_image))
