"""A job of the GPU report without its runner: what a stage tells it is kept."""

from __future__ import annotations

import json


class FakeJob:
    """As tools.gpu.stage.Job, with `seconds` left at first; each look at the clock takes `tick`."""

    def __init__(self, folder, gpu=None, shrink=16, seconds=1000.0, tick=0.0):
        self.gpu, self.shrink, self.folder, self.data = gpu, shrink, folder, None
        self.seconds, self.tick = seconds, tick
        self.results, self.pictures, self.said = [], {}, []

    def left(self):
        self.seconds -= self.tick
        return self.seconds

    def result(self, kind, **values):
        self.results.append(json.loads(json.dumps({"kind": kind, **values})))

    def picture(self, name, png, caption):
        self.pictures[name] = (png if isinstance(png, bytes) else png.read_bytes(), caption)

    def say(self, line):
        self.said.append(line)

    def of(self, kind):
        return [result for result in self.results if result["kind"] == kind]


def prefixes(results):
    """All beginnings of a list, the empty one and the whole too."""
    return [results[:count] for count in range(len(results) + 1)]
