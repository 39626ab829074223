"""Which images are shown: the worst, the best, and those behind the largest confusions."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from tools.scoring import images

TOP = 3
"""Images that are remembered of each pair of classes."""
CLASSES = 64
"""Of more classes, only the most confused pairs are remembered: so many squared."""


class Behind:
    """Scores image by image, and the images with most pixels of each pair of classes; in the place
    of a `tools.scoring.collector.Collector`.

    rows    `images.row` of each image
    pairs   {(truth, predicted): [(pixels, -number, id), …]}, heaps of at most TOP
    """

    def __init__(self) -> None:
        self.blobs: list[str] = []
        self.rows: list[dict] = []
        self.pairs: dict[tuple[int, int], list] = {}

    def add(self, name: str, truth, prediction, blobs, hist: np.ndarray, loss) -> None:
        """Count an image by its n x n confusion matrix."""
        self.rows.append(images.row(name, hist, loss))
        for i, j in zip(*np.nonzero(hist)):
            entry = int(hist[i, j]), -len(self.rows), name
            heap = self.pairs.setdefault((int(i), int(j)), [])
            (heapq.heappush if len(heap) < TOP else heapq.heappushpop)(heap, entry)

    def of_pair(self, truth: int, predicted: int) -> list[tuple[str, int]]:
        """(id, pixels) of the images with most pixels of the pair, most first."""
        found = sorted(self.pairs.get((truth, predicted), []), reverse=True)
        return [(name, pixels) for pixels, _, name in found]


def chosen(rows: list[dict], behind: Behind | None, hist: Any, count: int) -> dict[str, list[str]]:
    """{"worst": ids, "best": ids, "behind": ids}: at most `count` of the first two each, by mean
    IU, and 3 `count` more behind the largest confusions. No id is there twice.

    rows: of all images; behind: None where only scores are known; hist: n x n confusion matrix.
    """
    known = [one for one in images.worst_first(rows) if one["mean_iu"] is not None]
    half = min(count, -(-len(known) // 2))
    worst = [one["id"] for one in known[:half]]
    best = [one["id"] for one in reversed(known[half:])][:count]
    found = {"worst": worst, "best": best, "behind": []}
    if behind is None:
        return found
    hist, there = np.array(hist), {*worst, *best}
    np.fill_diagonal(hist, 0)
    order = np.argsort(-hist, axis=None, kind="stable")
    for place in order[: CLASSES * CLASSES]:
        i, j = divmod(int(place), len(hist))
        if not hist[i, j] or len(found["behind"]) == 3 * count:
            break
        ids = [name for name, _ in behind.of_pair(i, j)]
        if ids and not there & set(ids):
            found["behind"].append(ids[0])
            there.add(ids[0])
    return found
