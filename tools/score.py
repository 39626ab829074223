"""Score a net on a split: pixel accuracy, mean accuracy, mean IU, frequency-weighted IU.

    python tools/score.py --net NET/val.prototxt --weights W [--gpu N|--cpu] \
        [--save-dir DIR] [--json OUT]

The images are those of the net's own data layer, each once and in order. Predictions saved with
--save-dir are palette PNGs whose pixel values are class numbers.

FCN users' scripts call `seg_tests(solver, save_format, dataset)` and its kin; they are here.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import datetime

import numpy as np

from tools.cli import Progress, UserError, add_device_arguments, run, select_device
from tools.files import check_target, make_folder, write_atomic
from tools.nets import class_count, class_names, data_layer, find_task, load
from tools.pictures import save_indexed


class Diverged(RuntimeError):
    """The scores are not finite, so there is nothing to score."""

    exit_code = 1


def fast_hist(a, b, n):
    """The n x n int64 confusion matrix: [i, j] counts pixels of class i in `a`, j in `b`.

    `a` (truth) and `b` (prediction) are flat and of one length; pixels whose truth is not in
    0 .. n-1 (void) are left out. `b` must lie in 0 .. n-1.
    """
    known = (a >= 0) & (a < n)
    pairs = n * a[known].astype(np.int64) + b[known]
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def metrics(hist):
    """Scores of a confusion matrix (truth in rows), as fractions; NaN where nothing counts.

    With n_ij the pixels of class i predicted j and t_i = sum_j n_ij: pixel accuracy
    sum n_ii / sum t_i, mean accuracy mean n_ii / t_i, IU n_ii / (t_i + sum_j n_ji - n_ii), its
    mean, and its mean weighted by t_i (Long et al. 2015, section 5). Classes that are in neither
    truth nor prediction have IU NaN and are left out of the means.
    """
    hist = np.asarray(hist, np.float64)
    right, truth, predicted = np.diag(hist), hist.sum(1), hist.sum(0)
    total = truth.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = right / truth
        iu = right / (truth + predicted - right)
        pixel = right.sum() / total
        weighted = truth[truth > 0] @ iu[truth > 0] / total
    return {
        "pixel_accuracy": float(pixel),
        "mean_accuracy": _nanmean(accuracy),
        "mean_iu": _nanmean(iu),
        "fw_iu": float(weighted),
        "accuracy": accuracy,
        "iu": iu,
    }


def _nanmean(values):
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def compute_hist(net, save_dir, dataset, layer="score", gt="label", step=None):
    """Run the net once per id in `dataset`; returns (n x n confusion matrix, mean loss).

    Predictions go to `save_dir`/<id>.png unless `save_dir` is empty. The loss is NaN if the net
    has no blob `loss`. `step()` is called after every image. Raises Diverged if a score is not
    finite.
    """
    for name in (layer, gt):
        if name not in net.blobs:
            raise UserError(f"the net has no blob {name!r}; it has {', '.join(list(net.blobs))}")
    classes = net.blobs[layer].data.shape[1]
    hist = np.zeros((classes, classes), np.int64)
    loss = 0.0 if "loss" in net.blobs else float("nan")
    for name in dataset:
        net.forward()
        prediction = predict(net.blobs[layer].data, name)
        truth = net.blobs[gt].data
        if truth.size != prediction.size:
            raise UserError(
                f"blob {gt!r} has shape {truth.shape}, but {layer!r} has "
                f"{net.blobs[layer].data.shape}: not one label per score"
            )
        hist += fast_hist(truth.ravel(), prediction.ravel(), classes)
        if save_dir:
            path = os.path.join(save_dir, f"{name}.png")
            save_indexed(path, prediction)
        if "loss" in net.blobs:
            loss += float(net.blobs["loss"].data.flat[0])
        if step is not None:
            step()
    return hist, loss / len(dataset) if len(dataset) else float("nan")


def predict(scores, name):
    """1 x C x H x W scores -> H x W class numbers of the highest. Raises Diverged."""
    if scores.ndim != 4 or scores.shape[0] != 1:
        raise UserError(f"scores of shape {scores.shape}; expected one image, 1 x C x H x W")
    if not (np.isfinite(scores.max()) and np.isfinite(scores.min())):  # NaN passes through both
        raise Diverged(f"{name}: the net's scores are not finite; its training has diverged")
    return scores[0].argmax(axis=0)


def seg_tests(solver, save_format, dataset, layer="score", gt="label"):
    """Score a solver's first test net with the weights of its training net.

    `save_format` is empty, or a folder in which `{}` stands for the iteration. Returns the
    confusion matrix, and prints the scores as the FCN reference does.
    """
    print(">>>", datetime.now(), "Begin seg tests", flush=True)
    solver.test_nets[0].share_with(solver.net)
    return do_seg_tests(solver.test_nets[0], solver.iter, save_format, dataset, layer, gt)


def do_seg_tests(net, iter, save_format, dataset, layer="score", gt="label"):
    """Score `net` on the ids in `dataset`, print the scores, return the confusion matrix."""
    save_dir = save_format.format(iter) if save_format else None
    hist, loss = compute_hist(net, save_dir, dataset, layer, gt)
    scores = metrics(hist)
    lines = (
        ("loss", loss),
        ("overall accuracy", scores["pixel_accuracy"]),
        ("mean accuracy", scores["mean_accuracy"]),
        ("mean IU", scores["mean_iu"]),
        ("fwavacc", scores["fw_iu"]),
    )
    for name, value in lines:
        print(">>>", datetime.now(), "Iteration", iter, name, value, flush=True)
    return hist


def ids_of(net_path):
    """The ids that a net's data layer reads, each once and in order; its files all exist.

    Raises UserError or the data layer's own error (exit code 2).
    """
    layer, params = data_layer(net_path)
    missing = [m for m in ("parse", "ids", "check") if not hasattr(layer, m)]
    if missing:
        raise UserError(f"{net_path}: data layer {layer.__name__} cannot list its ids")
    parsed = layer.parse(params)
    if parsed.get("randomize") and "train" in parsed.get("split", ""):
        raise UserError(
            f"{net_path}: its data layer draws images at random; add 'randomize': False to "
            "param_str to score each once"
        )
    layer.check(params)
    return layer.ids(params)


def table(scores, loss, names):
    """The scores as lines of text, in percent, one class a line."""
    width = max(len(name) for name in (*names, "pixel accuracy"))
    lines = [f"{'class':<{width}}      IU  accuracy"]
    for name, iu, accuracy in zip(names, scores["iu"], scores["accuracy"]):
        lines.append(f"{name:<{width}}  {_percent(iu)}    {_percent(accuracy)}")
    lines.append("")
    for label, key in (
        ("pixel accuracy", "pixel_accuracy"),
        ("mean accuracy", "mean_accuracy"),
        ("mean IU", "mean_iu"),
        ("f.w. IU", "fw_iu"),
    ):
        lines.append(f"{label:<{width}}  {_percent(scores[key])}")
    if not np.isnan(loss):
        lines.append(f"{'loss':<{width}}  {loss:.4g}")
    return lines


def _percent(value):
    return "     -" if np.isnan(value) else f"{100 * value:6.2f}"


def report(scores, hist, loss, names, **more):
    """Everything as a JSON-able dict; what is not defined is null."""

    def number(value):
        return float(value) if np.isfinite(value) else None

    return {
        **more,
        **{key: number(scores[key]) for key in list(scores) if np.ndim(scores[key]) == 0},
        "loss": number(loss),
        "classes": [
            {"name": name, "iu": number(iu), "accuracy": number(accuracy)}
            for name, iu, accuracy in zip(names, scores["iu"], scores["accuracy"])
        ],
        "hist": hist.tolist(),
    }


def parser():
    p = argparse.ArgumentParser(
        prog="score.py", description="Score a net on the split that its data layer reads."
    )
    p.add_argument("--net", required=True, metavar="PROTOTXT", help="the net, NET/val.prototxt")
    p.add_argument("--weights", required=True, help="its .caffemodel or .h5")
    p.add_argument("--save-dir", metavar="DIR", help="save predictions as palette PNGs there")
    p.add_argument("--json", metavar="OUT", help="write scores and confusion matrix there")
    p.add_argument("--task", help="class names: a task's name or TOML file; default: by folder")
    p.add_argument("--layer", default="score", help="blob of scores (default: score)")
    p.add_argument("--label", default="label", help="blob of labels (default: label)")
    add_device_arguments(p)
    return p


def main(argv):
    args = parser().parse_args(argv)
    select_device(args)
    ids = ids_of(args.net)
    task = find_task(args.task, args.net)
    if args.json:
        check_target(args.json)
    if args.save_dir:
        make_folder(args.save_dir)
    net = load(args.net, args.weights)
    names = class_names(args, task, class_count(args, net), "{}")
    with Progress(len(ids), "scoring", "images") as bar:
        hist, loss = compute_hist(net, args.save_dir, ids, args.layer, args.label, bar.update)
    if hist.sum() == 0:
        raise UserError(f"{args.net}: every pixel of its {len(ids)} images is void")
    scores = metrics(hist)
    print("\n".join(table(scores, loss, names)), flush=True)
    if args.json:
        data = report(scores, hist, loss, names, net=args.net, weights=args.weights, images=ids)
        write_atomic(args.json, json.dumps(data, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    run(main)
