"""Print how long the scores of one image take: `python -m tests.tools.scoring.measure`."""

from __future__ import annotations

import time

import numpy as np

from tools.scoring.boundaries import Boundaries, edges
from tools.scoring.calibration import Calibration

CLASSES, BLOCK, TIMES = 21, 50, 5


def scene(rng, shape):
    """(truth, prediction, scores): blocks of random classes with lines of void, and a shifted copy
    with noise."""
    blocks = rng.randint(0, CLASSES, (shape[0] // BLOCK + 1, shape[1] // BLOCK + 1))
    truth = np.kron(blocks, np.ones((BLOCK, BLOCK), int))[: shape[0], : shape[1]]
    prediction = np.roll(truth, (3, 4), (0, 1))
    noise = rng.rand(*shape) < 0.02
    prediction[noise] = rng.randint(0, CLASSES, noise.sum())
    truth[::60] = 255
    return truth, prediction, rng.randn(CLASSES, *shape).astype(np.float32)


def best(work):
    """The fewest seconds of some calls."""
    found = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def tasks(shape):
    """(name, function without arguments) of each score, for one image."""
    truth, prediction, scores = scene(np.random.RandomState(0), shape)
    counts, calibration = Boundaries(CLASSES), Calibration()
    known = truth < CLASSES
    labels, drawn = np.where(known, truth, CLASSES).astype(np.int32), prediction.astype(np.int32)
    outline = edges(truth)
    yield "trimaps", lambda: counts._add_trimaps(labels, drawn, known, outline)
    yield "boundary F", lambda: counts._add_f(labels, drawn, known, outline)
    yield "boundary IoU", lambda: counts._add_bands(labels, drawn, known)
    yield "all of them", lambda: counts.add(truth, prediction)
    yield "calibration", lambda: calibration.add(truth, prediction, scores)


def main():
    for shape in ((500, 500), (360, 480), (720, 960)):
        for name, work in tasks(shape):
            print(f"{shape[0]} x {shape[1]}: {name} {best(work):.3f} s")


if __name__ == "__main__":
    main()
