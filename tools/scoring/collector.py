"""All scores beyond the four that a call asks for, collected image by image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tools.common.nets import data_tops
from tools.scoring import averaging, images
from tools.scoring.averaging import Averages, Views
from tools.scoring.boundaries import Boundaries
from tools.scoring.calibration import Calibration
from tools.scoring.overlap import overlap


def number(value):
    """A fraction as JSON has it: None for NaN."""
    return float(value) if math.isfinite(value) else None


class Collector:
    """The counts of one snapshot. Each part is None where it is not asked for.

    blobs  names of the blobs that `add` reads besides the label
    """

    def __init__(self, classes: int, args, averages: Averages | None = None):
        self.layer = args.layer
        self.boundaries = Boundaries(classes, args.widths) if args.boundary else None
        self.calibration = Calibration() if args.calibration is not None else None
        self.averages = averages
        self.rows: list[dict] | None = [] if args.per_image is not None else None
        self.blobs = [args.layer] if self.calibration else []
        self.blobs += averages.views.inputs if averages else []

    def add(self, name: str, truth: np.ndarray, prediction: np.ndarray, blobs, hist, loss) -> None:
        """Count an image: truth (as many pixels as the H x W prediction), {name: array} of the
        blobs, the image's confusion matrix, its loss or None."""
        truth = np.asarray(truth).reshape(prediction.shape).astype(np.int64)
        if self.boundaries is not None:
            self.boundaries.add(truth, prediction)
        if self.calibration is not None:
            self.calibration.add(truth, prediction, blobs[self.layer][0])
        if self.averages is not None:
            self.averages.add(name, truth, blobs)
        if self.rows is not None:
            self.rows.append(images.row(name, hist, loss))

    def _parts(self):
        return [p for p in (self.boundaries, self.calibration, self.averages) if p is not None]

    def state(self) -> list:
        """What was counted, as JSON can hold it."""
        return [[part.state() for part in self._parts()], self.rows]

    def take(self, state: list) -> None:
        """Add what was counted of the images that follow, as their `state` gives it."""
        for part, found in zip(self._parts(), state[0]):
            part.take(found)
        if self.rows is not None:
            self.rows += state[1]

    def extend(self, report: dict[str, Any]) -> dict[str, Any]:
        """The report of one snapshot (`score_tables.report`) with all that was collected."""
        found = {**report, "classes": [dict(one) for one in report["classes"]]}
        for measure, values in overlap(np.array(report["hist"])).items():
            found[f"mean_{measure}"] = number(_mean(values))
            _enter(found["classes"], measure, values)
        if self.boundaries is not None:
            scores = self.boundaries.scores()
            _enter(found["classes"], "boundary_f", scores["class_f"])
            _enter(found["classes"], "boundary_iou", scores["class_iou"])
            found["boundary"] = {
                "widths": scores["widths"],
                "trimap_mean_iu": [number(iu) for iu in scores["trimap_mean_iu"]],
                "boundary_f": number(scores["boundary_f"]),
                "boundary_iou": number(scores["boundary_iou"]),
            }
        if self.calibration is not None:
            scores = self.calibration.scores()
            found["calibration"] = {**scores, "ece": number(scores["ece"])}
        if self.averages is not None:
            found["averaged"] = self.averages.scores(report)
        if self.rows is not None:
            found["per_image"] = images.worst_first(self.rows)
        return found


def _mean(values):
    known = values[~np.isnan(values)]
    return known.mean() if known.size else math.nan


def _enter(classes, key, values):
    for one, value in zip(classes, values):
        one[key] = number(value)


def collector(args, proto, net) -> Collector:
    """A Collector for a net of the NetParameter `proto`, as the options `args` ask."""
    asked = averaging.additions(args.flips, args.scales)
    classes = net.blobs[args.layer].shape[1]
    averages = None
    if asked:
        inputs = averaging.inputs_of(data_tops(proto), args.label, net)
        averages = Averages(Views(net, inputs, args.layer), asked, classes)
    return Collector(classes, args, averages)
