"""Scores that `tools/score.py --json` has written, beside each other.

    python tools/compare.py A.json B.json ... [--names a,b] [--markdown] [--plot PNG]

Each file holds one snapshot's scores or a list of them, of one net or of several. `*` marks the
best of a column. Where all have the same classes, their IU follows class by class. Scores that
score.py was asked for besides (--boundary, --calibration) have a table of their own.
"""

from __future__ import annotations

import json
import os

from prototxt.opening import read_regular
from tools.common.arguments import Parser
from tools.common.cli import UserError, run
from tools.common.files import check_target
from tools.common.inputs import check_input
from tools.common.score_tables import COLUMNS, class_table, comparison, distinct
from tools.common.written import PICTURE
from tools.scoring import charts, tables

MAX_BYTES = 1 << 28
"""Of a file: a confusion matrix of 459 classes takes 2 MB."""

NUMBER = "a number or null"
LARGEST = 1e300


def read(path):
    """The reports in a file of `score.py --json`, as a list of dicts. Raises UserError."""
    try:
        found = json.loads(read_regular(path, MAX_BYTES).decode())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: is not JSON ({reason}); score.py --json writes it") from None
    reports = found if isinstance(found, list) else [found]
    if not reports:
        raise UserError(f"{path}: is an empty list; score.py --json writes at least one snapshot")
    for number, report in enumerate(reports):
        _check(report, f"{path}: " + (f"entry {number + 1}: " if isinstance(found, list) else ""))
    return reports


def _check(report, where):
    _want(isinstance(report, dict), where, "a dict of scores")
    for key in ("net", "weights"):
        _want(isinstance(_get(report, key, where), str), f"{where}{key!r}", "a text")
    _want(isinstance(_get(report, "images", where), list), f"{where}'images'", "a list of ids")
    for key in (*(key for _, key in COLUMNS), "loss"):
        _want(_is_number(_get(report, key, where)), f"{where}{key!r}", NUMBER)
    classes = _get(report, "classes", where)
    _want(isinstance(classes, list), f"{where}'classes'", "a list")
    for one in classes:
        _want(isinstance(one, dict), f"{where}'classes'", "a list of dicts")
        _want(isinstance(_get(one, "name", where), str), f"{where}a class's 'name'", "a text")
        _want(_is_number(_get(one, "iu", where)), f"{where}a class's 'iu'", NUMBER)

    _check_more(report, where)


def _check_more(report, where):
    """Raise UserError where what a report has besides is not as score.py writes it."""
    if "mean_dice" in report:
        _want(_is_number(report["mean_dice"]), f"{where}'mean_dice'", NUMBER)
    for part, keys in (("boundary", ("boundary_f", "boundary_iou")), ("calibration", ("ece",))):
        if part not in report:
            continue
        _want(isinstance(report[part], dict), f"{where}{part!r}", "a dict")
        for key in keys:
            _want(_is_number(_get(report[part], key, where)), f"{where}{key!r}", NUMBER)
    if "boundary" in report:
        widths, found = (_get(report["boundary"], k, where) for k in ("widths", "trimap_mean_iu"))
        right = isinstance(widths, list) and all(type(w) is int and 0 < w < 1e6 for w in widths)
        _want(right, f"{where}'widths'", "a list of whole numbers")
        right = isinstance(found, list) and all(map(_is_number, found))
        right = right and len(found) == len(widths)
        _want(right, f"{where}'trimap_mean_iu'", "a list of numbers or null, one for each width")


def _get(entry, key, where):
    if key not in entry:
        raise UserError(f"{where}has no {key!r}; score.py --json writes it")
    return entry[key]


def _want(right, what, expected):
    if not right:
        raise UserError(f"{what.rstrip(': ')}: expected {expected}; score.py --json writes it")


def _is_number(value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (number and abs(value) < LARGEST)  # false of NaN too


def names_of(reports):
    """A name for every report: its weights' file, after its net's folder where nets differ."""
    names = distinct([report["weights"] for report in reports])
    nets = sorted({os.path.dirname(os.path.abspath(report["net"])) for report in reports})
    if len(nets) > 1:
        short = dict(zip(nets, distinct(nets)))
        files = [os.path.basename(report["weights"]) for report in reports]
        folders = [short[os.path.dirname(os.path.abspath(r["net"]))] for r in reports]
        both = [f"{folder}: {file}" for folder, file in zip(folders, files)]
        names = both if len(set(both)) == len(both) else names
    return [
        name if names.count(name) == 1 else f"{name} ({number})"
        for number, name in enumerate(names, start=1)
    ]


def given_names(text, count):
    """`--names a,b` as a list of `count` names. Raises UserError."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != count or not all(names):
        raise UserError(f"--names {text}: {len(names)} names for {count} snapshots")
    return names


def notes(reports):
    """What keeps the reports from being compared in full, a line each."""
    found = []
    images = [report["images"] for report in reports]
    if any(ids != images[0] for ids in images):
        counts = ", ".join(str(len(ids)) for ids in images)
        found.append(f"note: scored on different images ({counts}): not like with like")
    if not same_classes(reports):
        found.append("note: the classes differ: no IU per class")
    return found


def same_classes(reports):
    """Whether all reports have one list of class names."""
    lists = [[one["name"] for one in report["classes"]] for report in reports]
    return all(names == lists[0] for names in lists)


def parser():
    p = Parser(
        prog="compare.py", description="Scores of several snapshots or nets beside each other."
    )
    p.add_argument("json", nargs="+", metavar="JSON", help="a file that score.py --json wrote")
    p.add_argument(
        "--names", metavar="A,B,...", help="a name for each (default: the weights' files)"
    )
    p.add_argument("--markdown", action="store_true", help="print Markdown tables")
    p.add_argument("--plot", metavar="PNG", help="draw trimap mean IU over the widths")
    return p


def main(argv):
    args = parser().parse_args(argv)
    for path in args.json:
        check_input(path, "text")
    reports = [report for path in args.json for report in read(path)]
    names = given_names(args.names, len(reports)) if args.names else names_of(reports)
    bounded = [one for one in zip(reports, names) if "boundary" in one[0]]
    if args.plot:
        if not bounded:
            raise UserError("--plot: no file has boundary scores; score.py --boundary makes them")
        check_target(args.plot, PICTURE)
    one_net = len({report["net"] for report in reports}) == 1
    lines = comparison(reports, names, args.markdown, compare_loss=one_net)
    if same_classes(reports):
        lines += ["", *class_table(reports, names, args.markdown)]
    for further in (
        tables.comparison(reports, names, args.markdown),
        tables.trimap_table(*zip(*bounded), args.markdown) if bounded else [],
    ):
        lines += ["", *further] if further else []
    if args.plot:
        charts.draw_trimaps(args.plot, reports, names)
    said = notes(reports)
    print("\n".join(lines + [""] * bool(said) + said))
    return 0


if __name__ == "__main__":
    run(main)
