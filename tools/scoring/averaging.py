"""Test-time augmentation: the softmax of an image's scores, averaged over scales and flips."""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from segmentation.augment import RESAMPLING

from tools.common.cli import Failure, UserError
from tools.common.metrics import fast_hist, metrics
from tools.common.score_tables import percent
from tools.common.tables import table

PLAIN = (1.0, False)
"""A view: by what an image is scaled, and whether it is flipped."""


class Addition(NamedTuple):
    """What is averaged over: a name, and the views."""

    name: str
    views: list[tuple[float, bool]]


def scales(text: str) -> list[float]:
    """`0.75,1,1.25` as numbers."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0.1 <= scale <= 4 for scale in found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(
            f"expected different factors from 0.1 to 4 with commas between them, not {text!r}"
        )
    return found


def add_arguments(parser) -> None:
    """Add `--flips` and `--scales F,F,...`."""
    parser.add_argument(
        "--flips",
        action="store_true",
        help="average the softmax over the image and its mirror image",
    )
    parser.add_argument(
        "--scales",
        type=scales,
        metavar="F,F,…",
        help="average the softmax over the image scaled by these factors: 0.75,1,1.25",
    )


def additions(flips: bool, factors: list[float] | None) -> list[Addition]:
    """What is averaged over, each by itself and then both; [] where nothing is asked for."""
    found = [Addition("flips", [PLAIN, (1.0, True)])] if flips else []
    if factors:
        found.append(Addition("scales", [(factor, False) for factor in factors]))
    if flips and factors:
        both = [(factor, flipped) for factor in factors for flipped in (False, True)]
        found.append(Addition("flips and scales", both))
    return found


def resized(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """1 x C x h x w float32 -> 1 x C x height x width, bilinear (averaged where it shrinks)."""
    if array.shape[2:] == (height, width):
        return array
    out = np.empty((1, array.shape[1], height, width), np.float32)
    for channel, plane in enumerate(array[0]):
        image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        out[0, channel] = np.asarray(image.resize((width, height), RESAMPLING.BILINEAR))
    return out


def softmax(scores: np.ndarray) -> np.ndarray:
    """Scores -> probabilities, over the first axis."""
    powers = np.exp(scores - scores.max(0))
    return powers / powers.sum(0)


def view_of(array: np.ndarray, view: tuple[float, bool]) -> np.ndarray:
    """1 x C x H x W -> what the net sees of it in a view: at least one pixel high and wide."""
    factor, flipped = view
    height, width = (max(1, round(side * factor)) for side in array.shape[2:])
    seen = resized(array, height, width)
    return seen[..., ::-1] if flipped else seen


def back(scores: np.ndarray, view: tuple[float, bool], height: int, width: int) -> np.ndarray:
    """1 x n x h x w scores of a view -> n x H x W probabilities of the image's own pixels."""
    if view[1]:
        scores = scores[..., ::-1]
    return softmax(resized(scores, height, width)[0])


class Views:
    """A net's scores of its inputs in other views, by the layers behind its first one.

    net     a caffe.Net whose first layer has the blobs `inputs` and others (the label) as tops
    scores  the blob of scores
    """

    def __init__(self, net, inputs: list[str], scores: str):
        self.net, self.inputs, self.blob = net, inputs, scores
        names = list(net._layer_names)
        makers = [number for number, name in enumerate(names) if scores in net.top_names[name]]
        self.first, self.last = names[1], names[makers[-1]]

    def run(self, arrays: dict[str, np.ndarray], view: tuple[float, bool]) -> np.ndarray:
        """1 x n x h x w scores of a view of the inputs' `arrays` (1 x C x H x W each)."""
        for name in self.inputs:
            seen = view_of(arrays[name], view)
            self.net.blobs[name].reshape(*seen.shape)
            self.net.blobs[name].data[...] = seen
        self.net.forward(start=self.first, end=self.last)
        return self.net.blobs[self.blob].data


def class_numbers(views: Views, arrays, wanted: list[tuple[float, bool]], name: str) -> np.ndarray:
    """H x W class numbers of the highest mean probabilities over the views `wanted` of the inputs'
    arrays (1 x C x H x W each). Raises Failure where scores are not finite."""
    size = next(iter(arrays.values())).shape[2:]
    parts = [back(_finite(views.run(arrays, one), name), one, *size) for one in wanted]
    return np.sum(parts, 0).argmax(0)


def _finite(scores, name):
    if not np.isfinite(scores).all():
        raise Failure(f"{name}: the net's scores are not finite; its training has diverged")
    return scores


class Averages:
    """Confusion matrices of each addition, and the time that its views' forward passes take."""

    def __init__(self, views: Views, asked: list[Addition], classes: int):
        self.views, self.asked, self.classes = views, asked, classes
        self.hists = np.zeros((len(asked), classes, classes), np.int64)
        self.seconds = np.zeros(len(asked) + 1)
        """Of the plain pass, then of each addition's."""

    def add(self, name: str, truth: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
        """Count an image: H x W truth, and 1 x C x H x W arrays of the net's inputs. Raises
        Failure where scores are not finite."""
        # Under BVLC Caffe they are the blobs' own memory, which every view is written into.
        arrays = {key: arrays[key].copy() for key in self.views.inputs}
        wanted = {PLAIN: None, **{view: None for one in self.asked for view in one.views}}
        took, parts = {}, {}
        for view in wanted:
            start = time.perf_counter()
            scores = self.views.run(arrays, view)
            took[view] = time.perf_counter() - start
            parts[view] = back(_finite(scores, name), view, *truth.shape)
        self.seconds[0] += took[PLAIN]
        for number, one in enumerate(self.asked):
            best = np.sum([parts[view] for view in one.views], 0).argmax(0)
            self.hists[number] += fast_hist(truth.ravel(), best.ravel(), self.classes)
            self.seconds[number + 1] += sum(took[view] for view in one.views)

    def state(self) -> list:
        """What was counted, as JSON can hold it."""
        return [self.hists.tolist(), self.seconds.tolist()]

    def take(self, state: list) -> None:
        """Add what was counted of other images, as their `state` gives it."""
        self.hists += np.array(state[0], np.int64)
        self.seconds += np.array(state[1])

    def scores(self, plain: dict[str, Any]) -> list[dict]:
        """A dict for each addition: `name`, `views` (how many), the four scores, `gain` (of mean
        IU, a fraction, over that of the scores `plain`), `cost` (times the plain forward pass)."""
        found = []
        for one, hist, seconds in zip(self.asked, self.hists, self.seconds[1:]):
            scores = metrics(hist)
            four = {key: scores[key] for key in list(scores) if np.ndim(scores[key]) == 0}
            gain, cost = scores["mean_iu"] - plain["mean_iu"], seconds / self.seconds[0]
            found.append(
                {"name": one.name, "views": len(one.views), **four, "gain": gain, "cost": cost}
            )
        return found


def lines(plain: dict[str, Any], found: list[dict]) -> list[str]:
    """The additions' scores beside the plain ones, as lines of text in percent."""
    header = ("averaged over", "pixel accuracy", "mean IU", "gain", "forward passes", "cost")
    rows = [("nothing", percent(plain["pixel_accuracy"]), percent(plain["mean_iu"]), "", "1", "1x")]
    for one in found:
        four = percent(one["pixel_accuracy"]), percent(one["mean_iu"])
        gain, cost = f"{100 * one['gain']:+.2f}", f"{one['cost']:.2f}x"
        rows.append((one["name"], *four, gain, str(one["views"]), cost))
    return table(header, rows)


def inputs_of(tops: list[str], label: str, net) -> list[str]:
    """The images among a data layer's tops. UserError where the net cannot be run on others."""
    images = [top for top in tops if top != label]
    if not images or any(len(net.blobs[top].shape) != 4 for top in images):
        raise UserError("--flips and --scales: the net's data layer has no top that is an image")
    return images
