"""What a page is made of, beside what lies in the runs' folders."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tools.common.pictures import voc_palette
from tools.reporting.behind import Behind
from tools.reporting.runs import Run


@dataclass
class Scored:
    """A run's net as it scores on the split.

    weights, why  the snapshot's path, and why it was taken
    report        as `score_tables.report` makes it, with Dice, precision and recall of classes
    rows          `images.row` of each image
    behind        the images behind its confusions; None where only a JSON of scores was read
    source        the JSON of scores, or "" where the net was run
    """

    weights: str
    why: str
    report: dict
    rows: list[dict]
    behind: Behind | None = None
    source: str = ""


@dataclass
class Picture:
    """An image that is shown.

    photograph, truth  data URIs
    guesses            a data URI for each run, "" where it has none
    confidence         a data URI, of the first run
    hist               n x n confusion matrix of the first run
    row                the first run's `images.row`
    """

    name: str
    photograph: str
    truth: str
    guesses: list[str]
    confidence: str
    hist: np.ndarray
    row: dict


@dataclass
class Content:
    """runs, labels, scored: of RUN first, then those that it is compared with.

    names, colours: of the classes; {"worst": …, "best": …, "behind": …} the pictures by their part.
    """

    runs: list[Run]
    labels: list[str]
    scored: list[Scored | None]
    names: list[str] = field(default_factory=list)
    colours: np.ndarray = field(default_factory=voc_palette)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)

    def shown(self) -> list[Picture]:
        """All pictures, in the order of the page."""
        return [one for part in ("worst", "best", "behind") for one in self.pictures.get(part, [])]
