"""One HTML file of a training that needs no network: curves, scores, confusions, pictures, facts.

    python tools/report.py RUN [--out RUN/report.html] [--images N] [--gpu N|--cpu]
    python tools/report.py RUN --against RUN2 [RUN3 ...]      # what differs, and nets side by side
    python tools/report.py RUN --weights W --scores SCORES.json

RUN is the folder that `make train` or solve.py has left: nets, metrics.jsonl, receipt.json,
task.toml, snapshots. The net runs over its val split once, then over the images that are shown.
What is not there is left out, and the page says so.
"""

from __future__ import annotations

import os

import numpy as np

from prototxt import skeleton
from tools.common.arguments import Parser
from tools.common.cli import (
    Failure,
    Progress,
    UserError,
    add_device_arguments,
    run,
    select_device,
    warn,
)
from tools.common.files import check_target, write
from tools.common.inputs import check_input
from tools.common.metrics import cautions, fast_hist, metrics
from tools.common.missing import check_weights
from tools.common.nets import (
    class_count,
    class_names,
    data_tops,
    find_task,
    keep,
    lean,
    load,
    read_net,
)
from tools.common.pictures import colours_of
from tools.common.predictions import segmented
from tools.common.score_tables import distinct, percent, report
from tools.compare import read as read_scores
from tools.reporting import page, runs, thumbnails
from tools.reporting.behind import Behind, chosen
from tools.reporting.content import Content, Picture, Scored
from tools.score import check_classes, count_pixels, ids_of, mean_of
from tools.scoring.calibration import confidence
from tools.scoring.images import row
from tools.scoring.overlap import overlap
from tools.show import Split, enlarged, feed

IMAGES = 6


def parser():
    p = Parser(prog="report.py", description="One HTML file of a training.")
    p.add_argument("run", metavar="RUN", help="the folder of a training's snapshots")
    p.add_argument(
        "--against", nargs="+", default=[], metavar="RUN", help="runs to compare it with"
    )
    p.add_argument("--out", metavar="HTML", help="the file to write (default: RUN/report.html)")
    p.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help="show the N worst, the N best and up to 3 N behind the largest confusions; 0: none "
        "(default: %(default)s)",
    )
    p.add_argument("--net", metavar="PROTOTXT", help="RUN's net (default: RUN/val.prototxt)")
    p.add_argument(
        "--weights",
        metavar="W",
        help="RUN's snapshot (default: the best of the scored ones, else the newest)",
    )
    p.add_argument(
        "--scores",
        metavar="JSON",
        help="RUN's scores as score.py --json --per-image wrote them, instead of running the net "
        "over the split",
    )
    p.add_argument("--task", help="a task's name or TOML file (default: as score.py)")
    p.add_argument("--layer", default="score", help="blob of scores (default: score)")
    p.add_argument("--label", default="label", help="blob of labels (default: label)")
    add_device_arguments(p)
    return p


class Candidate:
    """A run's net with its weights, checked before anything is run; its images."""

    def __init__(self, args, run, weights, why):
        self.args, self.weights, self.why = args, weights, why
        self.path = run.net
        check_input(self.path, "net")
        check_input(weights, "weights")
        self.proto = read_net(self.path)
        check_weights(self.proto, self.path, weights)
        self.split = Split(self.proto, self.path)
        self.ids = ids_of(self.proto, self.path)
        self.task = find_task(args.task, self.path)

    def net(self):
        """The net over its split."""
        made = load(self.path, self.weights, self.proto)
        check_classes(self.proto, self.path, made, self.args.layer)
        return made

    def names(self, net):
        """The names of the classes that a net's scores have."""
        named = type(self.args)(**{**vars(self.args), "net": self.path})
        return class_names(named, self.task, class_count(named, net), "class {}")

    def looking(self):
        """The net for single images: (net, names of its inputs)."""

        def build(part):
            return load(part, self.weights, self.proto, self.path)

        net = skeleton.build(self.proto, self.path, build)
        keep(net, self.args.layer)
        return net, data_tops(self.proto)


def candidate(args, run, first):
    """A run's Candidate, or None where it has no net or no snapshot; a note of it is added."""
    if first and args.net:
        run.net = args.net
    found = run.best()
    if first and args.weights:
        found = args.weights, "given by --weights"
    if run.net is None:
        run.missing.append(f"no {runs.NET}: no scores and no pictures (--net names another)")
    if found is None or run.net is None:
        return None
    return Candidate(args, run, *found)


def score(made, label):
    """(Scored, names of the classes): the net run over its split."""
    net, behind = made.net(), Behind()
    names = made.names(net)
    with Progress(len(made.ids), f"scoring {label}", "images") as bar:
        hist, losses = count_pixels(
            net, None, made.ids, made.args.layer, made.args.label, bar.update, more=behind
        )
    if not hist.sum():
        raise UserError(
            f"{made.path}: every labelled pixel of its {len(made.ids)} images is void (255): there "
            "is nothing to report"
        )
    about = {"net": made.path, "weights": made.weights, "images": made.ids}
    told = report(metrics(hist), hist, mean_of(losses), names, **about)
    return Scored(made.weights, made.why, with_overlap(told), behind.rows, behind), names


def with_overlap(told):
    """A report with the Dice, precision and recall of each class."""
    classes = [dict(one) for one in told["classes"]]
    for measure, values in overlap(np.array(told["hist"])).items():
        for one, value in zip(classes, values):
            one[measure] = float(value) if np.isfinite(value) else None
    return {**told, "classes": classes}


def scores_of(path, made):
    """(Scored, names) of the snapshot in a JSON of score.py. UserError where it is of others."""
    check_input(path, "text")
    found = [one for one in read_scores(path) if _same(one["weights"], made.weights)]
    if not found:
        name = os.path.basename(made.weights)
        raise UserError(f"--scores {path}: has no scores of {name}; score that snapshot again")
    told = found[0]
    names = [one["name"] for one in told["classes"]]
    hist = np.array(told.get("hist"))
    if hist.shape != (len(names),) * 2 or hist.dtype.kind != "i" or hist.min() < 0:
        raise UserError(f"--scores {path}: 'hist': expected a matrix of counts, as score.py writes")
    if told["images"] != made.ids:
        raise UserError(
            f"--scores {path}: is of {len(told['images'])} other images than the "
            f"{len(made.ids)} of {made.path}; score them again"
        )
    rows = _rows(told.get("per_image", []), set(made.ids), len(names), f"--scores {path}")
    return Scored(made.weights, made.why, with_overlap(told), rows, source=path), names


def _same(one, other):
    if os.path.exists(one) and os.path.samefile(one, other):
        return True
    return os.path.basename(one) == os.path.basename(other) and not os.path.exists(one)


def _rows(rows, ids, classes, where):
    """The rows by image of a JSON of scores, as they should be. UserError."""

    def is_number(value):
        return value is None or type(value) in (int, float)

    try:
        right = all(
            one["id"] in ids
            and all(is_number(one[key]) for key in ("mean_iu", "pixel_accuracy", "loss"))
            and len(one["iu"]) == classes
            and all(map(is_number, one["iu"]))
            for one in rows
        )
    except (TypeError, KeyError):
        right = False
    if not right:
        raise UserError(f"{where}: 'per_image': is not as score.py --per-image writes it")
    return rows


def look(made, ids, label):
    """(id, arrays, truth, prediction, confidence, confusion matrix) of each image.

    arrays: of the data layer's `read_item`; truth, prediction, confidence: H x W, of its size; the
    matrix counts what the net sees, which a data layer may have made smaller.
    """
    net, inputs = made.looking()
    split, layer = made.split, made.args.layer
    with Progress(len(ids), f"looking with {label}", "images") as bar:
        for name in ids:
            arrays = split.layer.read_item(split.params, split.source, name)
            truth = np.asarray(arrays["label"])
            blobs = split.layer.tops_of(split.params, arrays)
            feed(net, blobs, inputs)
            ((_, guess, found),) = segmented(net, layer, [layer], [name])
            sure = confidence(np.asarray(found[layer][0]))
            seen = np.asarray(dict(zip(inputs, blobs))["label"]).ravel()
            hist = fast_hist(seen, guess.ravel(), len(found[layer][0]))
            size = truth.shape
            yield name, arrays, truth, enlarged(guess, size), enlarged(sure, size), hist
            bar.update()


def pictures(content, candidates, ids):
    """{id: Picture} of the images, as all nets see them."""
    colours, made = content.colours, candidates[0]
    rows = {one["id"]: one for one in content.scored[0].rows}
    found = {}
    for name, arrays, truth, guess, sure, hist in look(made, ids, content.labels[0]):
        found[name] = Picture(
            name,
            thumbnails.photograph(made.split.photograph(arrays)),
            thumbnails.mask(truth, colours),
            [thumbnails.mask(guess, colours)],
            thumbnails.confidence(sure),
            hist,
            rows.get(name) or row(name, hist, None),
        )
    for other, label in zip(candidates[1:], content.labels[1:]):
        there = set(other.split.source.ids) if other is not None else set()
        seen = {}
        if there & set(ids):
            for name, _, _, guess, _, _ in look(other, [i for i in ids if i in there], label):
                seen[name] = thumbnails.mask(guess, colours)
        for name in ids:
            found[name].guesses.append(seen.get(name, ""))
    return found


def show(content, candidates, count):
    """Fill in the content's pictures."""
    one = content.scored[0]
    if not count:
        return
    parts = chosen(one.rows, one.behind, one.report["hist"], count)
    if not one.rows:
        content.runs[0].missing.append("its scores are not by image: pictures are spread over all")
        parts = {"behind": candidates[0].split.chosen([], 3 * count)}
    ids = [name for part in parts.values() for name in part]
    found = pictures(content, candidates, ids)
    content.pictures = {part: [found[name] for name in names] for part, names in parts.items()}


def check_same(content, names):
    """UserError where a run that is compared has other classes; a note where it has other images.

    names: of the classes, of each run that was scored, or None.
    """
    first = names[0]
    for label, found in zip(content.labels[1:], names[1:]):
        if found is not None and first is not None and found != first:
            raise UserError(
                f"--against: {label} has other classes ({len(found)}: {', '.join(found[:3])}, …) "
                f"than {content.labels[0]} ({len(first)}); compare runs of one task"
            )


def note_images(content):
    """Say where runs were scored on other images than the first."""
    first = content.scored[0]
    for run_, one in zip(content.runs[1:], content.scored[1:]):
        if one and first and one.report["images"] != first.report["images"]:
            run_.missing.append("scored on other images: not like with like")


def main(argv):
    args = parser().parse_args(argv)
    if args.images < 0:
        raise UserError("--images must be 0 or more")
    folders = [args.run, *args.against]
    if len({os.path.realpath(folder) for folder in folders}) < len(folders):
        raise UserError("--against: a run is given twice")
    found = [runs.read(folder) for folder in folders]
    out = args.out or os.path.join(args.run, "report.html")
    check_target(out, page.WRITTEN)
    select_device(args)
    lean()
    content = Content(found, distinct(folders), [])
    candidates = [candidate(args, one, number == 0) for number, one in enumerate(found)]
    if args.scores and candidates[0] is None:
        raise UserError(f"--scores {args.scores}: {args.run} has no net and snapshot to go with it")
    score_all(args, content, candidates)
    text = page.build(content)
    write(out, text, page.WRITTEN)
    print(f"{out}: {told(content)}, {len(text.encode()) / 1e6:.2f} MB")
    return 0


def score_all(args, content, candidates):
    """Fill in the content's scores, names, colours and pictures."""
    names = []
    for number, (made, label) in enumerate(zip(candidates, content.labels)):
        one, own = None, None
        try:
            if made is not None:
                given = args.scores and number == 0
                one, own = scores_of(args.scores, made) if given else score(made, label)
        except Failure as error:
            if number == 0:
                raise
            warn(f"{made.weights}: {error}")
            content.runs[number].missing.append(str(error))
            candidates[number] = None
        content.scored.append(one)
        names.append(own)
        check_same(content, names)
    if content.scored[0] is None:
        return
    content.names, content.colours = names[0], colours_of(candidates[0].task)
    note_images(content)
    for line in cautions(np.array(content.scored[0].report["hist"]), content.names):
        warn(line)
        content.runs[0].missing.append(line)
    show(content, candidates, args.images)


def told(content):
    """What the page shows, in short."""
    one = content.scored[0]
    if one is None:
        return "curves and facts, no scores"
    return f"mean IU {percent(one.report['mean_iu'])}, {len(content.shown())} images shown"


if __name__ == "__main__":
    run(main)
