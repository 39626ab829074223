"""Check every file of a data set before training on it.

    python tools/check_data.py --task voc [--data FOLDER]      a built-in task; FOLDER holds voc, …
    python tools/check_data.py --own my.toml [--data FOLDER]   your own; FOLDER is the data set's
    python tools/check_data.py --net NET/train.prototxt [--net NET/val.prototxt]
    … [--jobs N] [--all] [--json OUT]

Reads the train and the val split (with --net, those of the nets) and lists, one a line, all files
that are missing, cannot be decoded, or are not of their image's size, labels with values that are
no class, ids that are listed twice or are in both train and val, and pictures that have the same
bytes under two ids. Warns of what can be read and is hardly meant: classes that never occur, labels
that are mostly void, thumbnails, palettes that differ. Of problems of one kind the first few are
shown; --all and --json have all. Exit code 0: no problem (perhaps warnings), 1: some, 2: the list
of no split can be read.
"""

from __future__ import annotations

import collections
import json
import os
from dataclasses import dataclass, field

from segmentation.layer import COMMON

import caffe
from prototxt import build, own
from prototxt.tasks import TASKS
from tools.common import nets
from tools.common.arguments import Parser
from tools.common.cli import Progress, UserError, processors, run, warn
from tools.common.files import check_target, write
from tools.common.written import json_of
from tools.datasets.data_report import problems, report, report_json, unlisted
from tools.datasets.data_walk import Item, class_count, problem, walk
from tools.datasets.data_warnings import all_warnings

NEEDED = ("parse", "open_source", "top_names")
REPORT = json_of("a report of check_data.py", "splits", "problems", "in_no_split")
READ_ALIKE = {*COMMON, "mean"} - {"split"}
"""Parameters that change nothing in which files are read."""


@dataclass
class Split:
    """A split to check, and what is known of it."""

    name: str
    role: str
    """train or val"""
    layer: type
    params: dict
    """as the layer's parse() returns them"""
    classes: tuple = ()
    """class names; empty if they are not known"""
    expected: int = 0
    """images that the published split has; 0 if that is not known"""
    source: object = None
    """the layer's Source; None if the split's list cannot be read"""
    found: dict = field(default_factory=dict)
    """{id: Contents}, in the list's order; None until an id has been examined"""
    rows: dict = field(default_factory=lambda: collections.defaultdict(list))
    """{id, or "-" for the list itself: [(file, what is wrong)]}"""

    @property
    def ok(self):
        """ids that have been examined and have no problem"""
        done = (name for name, found in self.found.items() if found is not None)
        return sum(1 for name in done if not self.rows.get(name))

    @property
    def bad(self):
        """ids with a problem, and the list if it has one"""
        return sum(1 for name in ("-", *self.found) if self.rows.get(name))


def of_task(task, data):
    """The Splits of a Task whose data lie in the folder `data`."""
    splits = []
    for role, source in (("train", task.train), ("val", task.val)):
        layer = getattr(nets.layer_module(f"task {task.name}", source.module), source.layer)
        made = _split(f"task {task.name}", role, layer, build.param_str(source, data))
        made.classes, made.expected = task.classes, source.images
        splits.append(made)
    return splits


def of_nets(paths):
    """The Splits that the data layers of nets read, each once."""
    splits = []
    for path in paths:
        net = nets.read_net(path)
        train, test = (
            list(nets.data_layers(net, path, phase)) for phase in (caffe.TRAIN, caffe.TEST)
        )
        if not train + test:
            raise UserError(f"{path}: has no Python data layer; name a train or val net")
        task = nets.find_task(None, path)
        for layer, params in train + [found for found in test if found not in train]:
            made = _split(path, "train", layer, params)
            drawn = "train" in made.name and made.params.get("randomize", True)
            if (layer, params) not in train or ((layer, params) in test and not drawn):
                made.role = "val"
            if task is not None and len(task.classes) == class_count(layer, made.params):
                made.classes = task.classes
            if not any(_alike(made, other) for other in splits):
                splits.append(made)
    return splits


def _split(where, role, layer, params):
    if any(not hasattr(layer, name) for name in NEEDED):
        raise UserError(
            f"{where}: data layer {layer.__name__} cannot list its files; only layers made on "
            "segmentation.SegmentationLayer can be checked"
        )
    try:
        parsed = layer.parse(params)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return Split(parsed.get("split", layer.__name__), role, layer, parsed)


def _alike(a, b):
    files = [{k: v for k, v in s.params.items() if k not in READ_ALIKE} for s in (a, b)]
    return a.layer is b.layer and a.role == b.role and files[0] == files[1]


def open_splits(splits):
    """Read the splits' lists; one that cannot be read is a problem of its split.

    Raises UserError where none can be read: then it is the folder that is wrong.
    """
    names = collections.Counter()
    for split in splits:
        names[split.name] += 1
        if names[split.name] > 1:
            split.name += f" ({names[split.name]})"
        try:
            split.source = split.layer.open_source(split.params)
        except Exception as error:
            split.rows["-"].append(problem(error, "-"))
            continue
        split.found = dict.fromkeys(split.source.ids)
        if split.expected and len(split.source.ids) != split.expected:
            warn(
                f"{split.source.where}: {len(split.source.ids)} ids; the published split "
                f"{split.name} has {split.expected}"
            )
    if not any(split.source for split in splits):
        file, text = splits[0].rows["-"][0]
        others = "; the lists of the other splits cannot be read either" if len(splits) > 1 else ""
        raise UserError((text if file == "-" else f"{file}: {text}") + others)


def check_lists(splits):
    """Note the ids that are listed twice, or in both a train and a val split."""
    for split in splits:
        counts = collections.Counter(split.source.ids if split.source else ())
        for name, count in counts.items():
            if count > 1:
                split.rows[name].append((split.source.where, f"listed {count} times"))
        for other in splits:
            if split.role == "val" and other.role == "train":
                for name in counts:
                    if name in other.found:
                        text = f"is in {other.name} too, which is trained on"
                        split.rows[name].append((split.source.where, text))


def check_files(splits, jobs):
    """Examine every id of every split, and those with a problem more closely."""
    readable = [split for split in splits if split.source]
    items = [Item(i, name, None) for i, s in enumerate(readable) for name in s.found]
    _walk(readable, items, jobs, "checking")
    again = []
    for i, split in enumerate(readable):
        whole = [(name, found) for name, found in split.found.items() if found.whole]
        sound = next(((name, f.paths) for name, f in whole if not f.problems), None)
        broken = [name for name, found in split.found.items() if not found.whole]
        again += [Item(i, name, sound) for name in broken if sound]
    _walk(readable, again, jobs, "looking closer")


def _walk(splits, items, jobs, what):
    with Progress(len(items), what, "images", enabled=bool(items)) as bar:
        for item, found in walk([(s.layer, s.params) for s in splits], items, jobs):
            splits[item.split].found[item.id] = found
            bar.update()


def check_found(splits):
    """Note the problems that the ids' files have, and pictures that are there under two ids."""
    first = collections.defaultdict(dict)  # digest: {id: where it was first seen}
    for split in splits:
        for name, found in split.found.items():
            if found is None:
                continue
            split.rows[name] += found.problems
            if found.digest is None:
                continue
            picture, seen = found.paths[found.picture], first[found.digest]
            if seen and name not in seen:
                text = "same content as {}: {}".format(*next(iter(seen.values())))
                split.rows[name].append((picture, text))
            seen.setdefault(name, (f"{split.name} {name}", picture))


def parser():
    p = Parser(
        prog="check_data.py", description="Check every file of a data set before training on it."
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", choices=sorted(TASKS), help="the data of a built-in task")
    what.add_argument("--own", metavar="TOML", help="your own data set")
    what.add_argument(
        "--net",
        action="append",
        metavar="PROTOTXT",
        help="the data that this net reads; may be repeated",
    )
    p.add_argument(
        "--data", help="folder that holds voc, sbd, … (default: data); with --own: your data set's"
    )
    count = processors()
    p.add_argument("--jobs", type=int, default=count, help="processes (default: %(default)s)")
    p.add_argument(
        "--all", action="store_true", help="show every problem, not the first few of a kind"
    )
    p.add_argument("--json", metavar="OUT", help="also write everything to this file")
    return p


def chosen(args):
    """The Splits that the command line asks for. Raises UserError or another of exit code 2."""
    if args.data is not None and args.net:
        raise UserError("--data: the nets name their folders; leave it out with --net")
    if args.data is not None and not os.path.isdir(args.data):
        raise UserError(f"--data {args.data}: no such folder")
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: at least one process is needed")
    if args.net:
        return of_nets(args.net)
    if args.own:
        return of_task(own.load(args.own, args.data, counted=False), "")
    return of_task(TASKS[args.task], args.data or "data")


def main(argv):
    args = parser().parse_args(argv)
    splits = chosen(args)
    if args.json:
        check_target(args.json, REPORT)
    open_splits(splits)
    check_lists(splits)
    try:
        check_files(splits, args.jobs)
    except KeyboardInterrupt:
        check_found(splits)
        report(splits, {}, [], args.all)
        done = sum(1 for s in splits for found in s.found.values() if found is not None)
        warn(f"stopped after {done} of {sum(len(s.found) for s in splits)} images")
        raise
    check_found(splits)
    left, doubts = unlisted(splits), all_warnings(splits)
    report(splits, left, doubts, args.all)
    if args.json:
        write(args.json, json.dumps(report_json(splits, left, doubts), indent=1) + "\n", REPORT)
    return 1 if problems(splits) else 0


if __name__ == "__main__":
    run(main)
