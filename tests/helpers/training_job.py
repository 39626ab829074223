"""A stage's job whose results stay at hand, and results of a whole training."""

from __future__ import annotations

import json
import time


class Job:
    """What the runner gives a stage (tools/gpu/stage.py), without a runner."""

    def __init__(self, folder, shrink=32, data=None, seconds=100.0):
        self.gpu, self.shrink, self.folder, self.data = None, shrink, folder, data
        self.end = time.monotonic() + seconds
        self.results, self.pictures, self.said = [], {}, []
        folder.mkdir(exist_ok=True)

    def left(self):
        return self.end - time.monotonic()

    def result(self, kind, **values):
        self.results.append({"kind": kind, **json.loads(json.dumps(values, allow_nan=False))})

    def picture(self, name, png, caption):
        self.pictures[name] = (png, caption)

    def say(self, line):
        self.said.append(line)


def scores(iteration, iu):
    return dict(iteration=iteration, pixel_accuracy=0.9, mean_accuracy=0.6, mean_iu=iu, fw_iu=0.8)


NET, OTHER = "dilated-fcn2s-vgg16", "fcn8s-atonce-vgg16"
RESULTS = [
    dict(kind="data", real=True, train=367, val=101, size=[360, 480], shrink=1),
    dict(kind="speed", net=NET, train=367, val=101, ms=30.0, start=9.0, score_seconds=2.0,
         iterations=4000),
    *(dict(kind="loss", net=NET, iteration=i, loss=2.4 / (1 + i / 300), lr=1e-3)
      for i in range(0, 4000, 66)),
    dict(kind="score", net=NET, **scores(1000, 0.41)),
    dict(kind="trained", net=NET, iteration=4000, of=4000, seconds=121.0),
    dict(kind="final", net=NET, loss=0.4, iu={"sky": 0.9, "pole": None}, **scores(4000, 0.523)),
    dict(kind="note", net=OTHER, text="3 s were left, which is too little"),
]  # fmt: skip
