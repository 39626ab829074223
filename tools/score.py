"""Score a net on a split: pixel accuracy, mean accuracy, mean IU, frequency-weighted IU.

    python tools/score.py --net NET/val.prototxt --weights W [--gpu N|--cpu] \
        [--save-dir DIR] [--json OUT]
    python tools/score.py --net NET/val.prototxt --weights W --more --boundary --calibration \
        --per-image --flips --scales 0.75,1,1.25
    python tools/score.py --net NET/val.prototxt --weights train_iter_*.caffemodel [...]
    torchrun --nproc-per-node N tools/score.py [...]     # each process takes a part of the images

The images are those of the net's own data layer, each once and in order. Predictions saved with
--save-dir are palette PNGs whose pixel values are class numbers. Several snapshots are scored one
after the other and compared; their predictions go to DIR/<snapshot>, their scores to one list.

FCN users' scripts call `seg_tests(solver, save_format, dataset)` and its kin; they are here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from tools.common import computing
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
from tools.common.files import check_target, make_folder, write
from tools.common.inputs import check_input
from tools.common.metrics import cautions, fast_hist, metrics
from tools.common.missing import check_weights
from tools.common.nets import (
    class_count,
    class_names,
    data_layer,
    find_task,
    keep,
    lean,
    load,
    read_net,
)
from tools.common.pictures import colours_of, save_indexed
from tools.common.predictions import segmented
from tools.common.ranks import first, share, split_work
from tools.common.score_tables import (
    class_table,
    comparison,
    distinct,
    percent,
    report,
    snapshot_table,
)
from tools.common.written import MASK, SCORES
from tools.receipts import scoring as receipt
from tools.scoring import charts, images, options, tables
from tools.scoring.collector import Collector, collector


def compute_hist(
    net,
    save_dir: str | None,
    dataset: Sequence[str],
    layer: str = "score",
    gt: str = "label",
    step: Callable[[], object] | None = None,
    colours: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Run the net once per id in `dataset`; returns (n x n confusion matrix, mean loss).

    Predictions go to `save_dir`/<id>.png, in `colours` (256 x 3 uint8; VOC's where not given),
    unless `save_dir` is empty. The loss is NaN if the net has no blob `loss`. `step()` is called
    after every image. Raises Failure if a score is not finite.
    """
    hist, losses = count_pixels(net, save_dir, dataset, layer, gt, step, colours)
    return hist, mean_of(losses)


def mean_of(losses: Sequence[float]) -> float:
    """The mean of the images' losses, added in their order; NaN where there are none."""
    total = 0.0
    for loss in losses:
        total += loss
    return total / len(losses) if losses else float("nan")


def count_pixels(
    net,
    save_dir: str | None,
    dataset: Sequence[str],
    layer: str,
    gt: str,
    step: Callable[[], object] | None = None,
    colours: np.ndarray | None = None,
    more: Collector | None = None,
    see: Callable[[str, np.ndarray], object] | None = None,
) -> tuple[np.ndarray, list[float]]:
    """As `compute_hist`, with each image's loss instead of their mean: [] without a blob `loss`.

    `more` collects further scores; `see(id, prediction)` is called with the H x W class numbers of
    every image.
    """
    for name in (layer, gt):
        if name not in net.blobs:
            raise UserError(f"the net has no blob {name!r}; it has {', '.join(list(net.blobs))}")
    blobs = [] if more is None else more.blobs
    keep(net, layer, gt, *blobs)
    classes = net.blobs[layer].shape[1]
    hist = np.zeros((classes, classes), np.int64)
    losses: list[float] = []
    names = [gt, "loss"] if "loss" in net.blobs else [gt]
    for name, prediction, found in segmented(net, layer, [*names, *blobs], dataset):
        if found[gt].size != prediction.size:
            raise UserError(
                f"blob {gt!r} has shape {found[gt].shape}, but {layer!r} one image of "
                f"{prediction.shape}; each pixel of the scores needs one label"
            )
        counts = fast_hist(found[gt].ravel(), prediction.ravel(), classes)
        hist += counts
        if save_dir:
            path = os.path.join(save_dir, f"{name}.png")
            save_indexed(path, prediction, colours)
        if "loss" in found:
            losses.append(float(found["loss"].flat[0]))
        if more is not None:
            loss = losses[-1] if "loss" in found else None
            more.add(name, found[gt], prediction, found, counts, loss)
        if see is not None:
            see(name, prediction)
        if step is not None:
            step()
    return hist, losses


def seg_tests(
    solver, save_format: str, dataset: Sequence[str], layer: str = "score", gt: str = "label"
) -> np.ndarray:
    """Score a solver's first test net with the weights of its training net.

    `save_format` is empty, or a folder in which `{}` stands for the iteration. Returns the
    confusion matrix, and prints the scores as the FCN reference does.
    """
    save_dir = save_format.format(solver.iter) if save_format else None
    return score_solver(solver, dataset, save_dir, layer, gt)[0]


def score_solver(
    solver,
    dataset: Sequence[str],
    save_dir: str | None = None,
    layer: str = "score",
    gt: str = "label",
    see: Callable[[str, np.ndarray], object] | None = None,
) -> tuple[np.ndarray, float]:
    """`seg_tests`, which returns the mean loss too; `see(id, prediction)` as of `count_pixels`."""
    print(">>>", datetime.now(), "Begin seg tests", flush=True)
    net = solver.test_nets[0]
    net.share_with(solver.net)
    hist, losses = count_pixels(net, save_dir, dataset, layer, gt, see=see)
    loss = mean_of(losses)
    print_scores(solver.iter, metrics(hist), loss)
    return hist, loss


def do_seg_tests(
    net,
    iter: int,
    save_format: str,
    dataset: Sequence[str],
    layer: str = "score",
    gt: str = "label",
) -> np.ndarray:
    """Score `net` on the ids in `dataset`, print the scores, return the confusion matrix."""
    save_dir = save_format.format(iter) if save_format else None
    hist, loss = compute_hist(net, save_dir, dataset, layer, gt)
    print_scores(iter, metrics(hist), loss)
    return hist


def print_scores(iter: int, scores: dict, loss: float) -> None:
    """Print the scores of `metrics.metrics` as the FCN reference does."""
    lines = (
        ("loss", loss),
        ("overall accuracy", scores["pixel_accuracy"]),
        ("mean accuracy", scores["mean_accuracy"]),
        ("mean IU", scores["mean_iu"]),
        ("fwavacc", scores["fw_iu"]),
    )
    for name, value in lines:
        print(">>>", datetime.now(), "Iteration", iter, name, value, flush=True)


def ids_of(proto, net_path):
    """The ids that a net's data layer reads, each once and in order; its files all exist.

    proto: the NetParameter in the prototxt `net_path`. Raises UserError or the data layer's own
    error (exit code 2).
    """
    layer, params = data_layer(proto, net_path)
    missing = [m for m in ("parse", "ids", "check") if not hasattr(layer, m)]
    if missing:
        raise UserError(
            f"{net_path}: its data layer {layer.__name__} does not say which images it reads (it "
            f"has no {', '.join(missing)}); those in data_layers/ do"
        )
    parsed = layer.parse(params)
    if parsed.get("randomize") and "train" in parsed.get("split", ""):
        raise UserError(
            f"{net_path}: its data layer draws training images at random; take the val.prototxt, "
            "or add 'randomize': False to its param_str"
        )
    layer.check(params)
    return layer.ids(params)


def check_classes(proto, net_path, net, layer):
    """Raise UserError where the labels' classes are not the channels of the score blob `layer`.

    proto: the NetParameter in the prototxt `net_path`, of which the caffe.Net `net` is made; its
    data layer's class says how many classes its labels have (classmethod `class_count`). A data
    layer that does not say passes.
    """
    try:
        made, params = data_layer(proto, net_path)
    except UserError:
        return  # fed by something else than a Python layer
    if not hasattr(made, "class_count") or layer not in net.blobs:
        return
    classes, channels = made.class_count(params), net.blobs[layer].shape[1]
    if classes is not None and classes != channels:
        raise UserError(
            f"{net_path}: {made.__name__}'s labels have {classes} classes but blob {layer!r} has "
            f"{channels} channels; use the net of this data set, or correct 'classes' in its "
            "param_str"
        )


def parser():
    p = Parser(prog="score.py", description="Score a net on the split that its data layer reads.")
    p.add_argument("--net", required=True, metavar="PROTOTXT", help="the net: NET/val.prototxt")
    p.add_argument(
        "--weights",
        required=True,
        nargs="+",
        metavar="W",
        help="one or more .caffemodel or .h5 files",
    )
    p.add_argument("--save-dir", metavar="DIR", help="save predictions there, as palette PNGs")
    p.add_argument("--json", metavar="OUT", help="write scores and confusion matrix there")
    p.add_argument(
        "--task",
        help="a task's name or TOML file, for class names and palette (default: of the TOML that "
        "the net was made from, or by folder)",
    )
    p.add_argument("--layer", default="score", help="blob of scores (default: score)")
    p.add_argument("--label", default="label", help="blob of labels (default: label)")
    options.add_arguments(p)
    computing.add_arguments(p)
    add_device_arguments(p)
    return p


def load_checked(args, proto, task, weights):
    """(net with `weights`, its class names), checked. Raises an error with exit code 2."""
    net = load(args.net, weights, proto)
    names = class_names(args, task, class_count(args, net), "{}")
    check_classes(proto, args.net, net, args.layer)
    return net, names


def go_to(net, first):
    """Let the net's data layer go on with the image of that number. UserError where it cannot."""
    layer = net.layers[0]
    if not hasattr(layer, "restore_state"):
        raise UserError(
            f"the data layer {type(layer).__name__} cannot begin within its images (it has no "
            "restore_state): score in one process"
        )
    layer.restore_state({**layer.state(), "consumed": first})


def score_net(args, net, ids, save_dir, what="scoring", ranks=None, more=None):
    """(scores, confusion matrix, mean loss) of the net on its images, of which each of several
    ranks takes its share; None in those that are not the first. `more` collects further scores."""
    mine = share(len(ids), ranks)
    if ranks is not None:
        go_to(net, mine.start)
    with Progress(len(mine), what, "images") as bar:
        colours = colours_of(find_task(args.task, args.net))
        names = ids[mine.start : mine.stop]
        found = count_pixels(
            net, save_dir, names, args.layer, args.label, bar.update, colours, more
        )
        hist, losses = found if ranks is None else gathered(ranks, *found, more)
    if hist is None:
        return None
    loss = mean_of(losses)
    if hist.sum() == 0:
        raise UserError(
            f"{args.net}: every labelled pixel of its {len(ids)} images is void (255): there is "
            "nothing to score"
        )
    return metrics(hist), hist, loss


def gathered(ranks, hist, losses, more=None):
    """The confusion matrix and the losses of all ranks' images, and in `more` their further scores;
    (None, None) in those that are not the first."""
    mine = json.dumps([hist.tolist(), losses, None if more is None else more.state()])
    parts = [json.loads(part) for part in ranks.gather(mine.encode())]
    if not parts:
        return None, None
    if more is not None:
        for part in parts[1:]:
            more.take(part[2])
    return sum(np.array(part[0], np.int64) for part in parts), [
        x for part in parts for x in part[1]
    ]


def warn_of(hist, names):
    """Print what keeps the scores of a confusion matrix from saying what they seem to."""
    for line in cautions(hist, names):
        warn(line)


def write_json(path, data):
    write(path, json.dumps(data, indent=1) + "\n", SCORES)


def write_more(args, reports, labels):
    """Write the charts and the table of images that are asked for."""
    if args.per_image:
        parts = [(label, one["per_image"]) for one, label in zip(reports, labels)]
        names = [one["name"] for one in reports[0]["classes"]]
        text = images.content(args.per_image, parts, names)
        write(args.per_image, text, images.kind(args.per_image))
    if args.plot:
        charts.draw_trimaps(args.plot, reports, labels)
    if args.calibration:
        charts.draw_reliability(args.calibration, reports, labels)


def prediction_folders(args):
    """Where the predictions go, a folder for each of `args.weights`; [] where they are not kept."""
    if not args.save_dir or len(args.weights) == 1:
        return [args.save_dir] if args.save_dir else []
    labels = distinct(args.weights)
    stems = [os.path.splitext(label)[0] for label in labels]
    names = stems if len(set(stems)) == len(stems) else labels
    return [os.path.join(args.save_dir, name) for name in names]


def score_several(args, proto, task, ids, folders, ranks=None):
    """Score all of `args.weights` and print the comparison; the exit code."""
    import caffe

    for number, weights in enumerate(args.weights):
        if any(os.path.samefile(weights, other) for other in args.weights[:number]):
            raise UserError(f"--weights {weights}: is given twice")
    with Progress(len(args.weights), "loading", "snapshots") as bar:
        for weights in args.weights:  # all load, or none is scored
            names = load_checked(args, proto, task, weights)[1]
            bar.update()
    labels, reports, done, seen = distinct(args.weights), [], [], []
    for weights, label, folder in zip(args.weights, labels, folders or [None] * len(labels)):
        # What it replaces is let go first: one net at a time, as large ones fill a GPU.
        net = caffe.Net(args.net, caffe.TEST, weights=weights)
        try:
            more = collector(args, proto, net)
            found = score_net(args, net, ids, folder, f"scoring {label}", ranks, more)
        except Failure as error:
            if ranks is not None:  # the others wait for this rank's part
                raise Failure(f"{weights}: {error}") from None
            warn(f"{weights}: {error}")
            continue
        finally:
            del net
        if found is None:
            continue
        about = dict(net=args.net, weights=weights, images=ids)
        reports.append(more.extend(report(*found, names, **about)))
        done.append(label)
        print(f"{label}: mean IU {percent(reports[-1]['mean_iu'])}", flush=True)
        if args.json:
            write_json(args.json, reports)  # what is scored stays, whatever comes
            seen.append((weights, more.predictions))
            receipt.write(args, proto, seen)
    if reports:
        lines = ["", *comparison(reports, done), "", *class_table(reports, done)]
        for one, label in zip(reports, done):
            further = tables.lines(one, args.more, args.per_image is not None)
            lines += ["", f"{label}:", *further[1:]] if further else []
        print("\n".join(lines), flush=True)
        write_more(args, reports, done)
        warn_of(np.array(reports[0]["hist"]), [one["name"] for one in reports[0]["classes"]])
    return 0 if len(reports) == len(labels) or not first(ranks) else 1


def main(argv):
    return split_work(parser(), argv, work)


def work(args, ranks=None):
    """Score as `args` say, as one of `ranks` where they are several; the exit code."""
    options.settle(args)
    check_input(args.net, "net", "--net")
    for weights in args.weights:
        check_input(weights, "weights", "--weights")
    computing.choose(args)
    select_device(args)
    lean()
    proto = read_net(args.net)
    for weights in args.weights:
        check_weights(proto, args.net, weights)
    ids = ids_of(proto, args.net)
    task = find_task(args.task, args.net)
    if args.json and first(ranks):
        check_target(args.json, SCORES)
        check_target(receipt.path_of(args.json), receipt.WRITTEN)
    if first(ranks):
        options.check_targets(args)
    folders = prediction_folders(args)
    for folder in folders:
        make_folder(folder)
        for name in ids:
            check_target(os.path.join(folder, f"{name}.png"), MASK)
    if len(args.weights) > 1:
        return score_several(args, proto, task, ids, folders, ranks)
    (weights,) = args.weights
    net, names = load_checked(args, proto, task, weights)
    more = collector(args, proto, net)
    found = score_net(args, net, ids, args.save_dir, ranks=ranks, more=more)
    if found is None:
        return 0
    scores, hist, loss = found
    about = dict(net=args.net, weights=weights, images=ids)
    whole = more.extend(report(scores, hist, loss, names, **about))
    lines = snapshot_table(scores, loss, names)
    lines += tables.lines(whole, args.more, args.per_image is not None)
    print("\n".join(lines), flush=True)
    warn_of(hist, names)
    if args.json:
        write_json(args.json, whole)
        receipt.write(args, proto, [(weights, more.predictions)])
    write_more(args, [whole], distinct([weights]))
    return 0


if __name__ == "__main__":
    run(main)
