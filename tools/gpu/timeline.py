"""The stage `timeline` of the GPU report: where an iteration's time goes, by layer."""

from __future__ import annotations

import json
import statistics
import time
from collections import namedtuple

from tools.gpu.row_plan import VGG16
from tools.gpu.timeline_text import WORDS as WORDS
from tools.gpu.timeline_text import main_figure as main_figure
from tools.gpu.timeline_text import markdown as markdown

TITLE = "Where an iteration's time goes"
SIZE, DRY_SIZE = (500, 500), (64, 64)
WARM, FOLLOWED, MOST = 4, 3, 10
"""Iterations: before any counts, followed by layer, and at most timed as a whole."""
SECONDS = 1.5  # for the iterations that are timed as a whole
LEAST = 5.0  # seconds that must be left to begin with the first way

Way = namedtuple("Way", "precision autotuning folding")
WAYS = (Way("float32", False, True), Way("bfloat16", True, True), Way("bfloat16", True, False))
PREFIX = "layer:"


class Iterations:
    """One solver's iterations, looked at in several ways; times are in seconds."""

    def __init__(self, job, nets):
        import caffe

        self.job, self.nets, self.wait = job, nets, caffe.engine.synchronize
        self.solver = nets.solver()

    def step(self):
        self.nets.feed(self.solver.net)
        self.solver.step(1)

    def whole(self):
        """{in_a_row: of one iteration among others that are not waited for; host: until the host
        has launched one; alone: until that is done too}."""
        for _ in range(WARM if self._step_and_wait()[1] < SECONDS else 1):
            self.step()
        self.wait()
        first = self._step_and_wait()
        count = max(1, min(MOST, int(SECONDS / 2 / max(first[1], 1e-9))))
        alone = [first] + [self._step_and_wait() for _ in range(count - 1)]
        began = time.perf_counter()
        for _ in range(count):
            self.step()
        self.wait()
        in_a_row = (time.perf_counter() - began) / count
        host, whole = (statistics.median(times) for times in zip(*alone))
        return {"in_a_row": in_a_row, "host": host, "alone": whole, "count": count}

    def _step_and_wait(self):
        """(seconds until the host was through with an iteration, until the device was)."""
        began = time.perf_counter()
        self.step()
        launched = time.perf_counter() - began
        self.wait()
        return launched, time.perf_counter() - began

    def followed(self):
        """[[{phase, layer, host: (begin, end), device: (begin, end) or None}] of an iteration],
        seconds since the first began."""
        from tools.gpu import layer_clock, torch_timing

        marks, parts, firsts = torch_timing.Marks(self.job.gpu), [], []
        clock = layer_clock.LayerClock(
            self.solver,
            lambda phase, name: parts.append([phase, name, marks.mark(), None]),
            lambda: parts[-1].__setitem__(3, marks.mark()),
        )
        for _ in range(FOLLOWED):
            firsts.append(len(parts))
            self.nets.feed(self.solver.net)
            clock.follow()
        host, device = marks.seconds()
        found = [
            {
                "phase": phase,
                "layer": name,
                "host": (host[begin], host[end]),
                "device": None if device is None else (device[begin], device[end]),
            }
            for phase, name, begin, end in parts
        ]
        return [found[a:b] for a, b in zip(firsts, [*firsts[1:], len(found)])]

    def kernels(self):
        """({(phase, layer): traces.Work}, the Work of all) of one iteration."""
        from tools.gpu import layer_clock, torch_timing, traces

        notes = torch_timing.Annotations()
        clock = layer_clock.LayerClock(
            self.solver,
            lambda phase, name: notes.begin(f"{PREFIX}{phase}:{name}"),
            notes.end,
        )
        self.nets.feed(self.solver.net)
        path = self.job.folder / "trace.json"
        torch_timing.trace(self.job.gpu, clock.follow, path)
        with open(path, encoding="utf-8") as file:
            named, total = traces.work(json.load(file), PREFIX)
        path.unlink()
        return {tuple(name[len(PREFIX) :].split(":", 1)): w for name, w in named.items()}, total


def layers_of(iterations, kernels):
    """A dict per part of an iteration, in order: phase, layer, host and device (seconds, medians),
    ahead (seconds from the host's beginning to the device's), busy and launches (None without a
    trace)."""
    found = []
    for parts in zip(*iterations):
        first = parts[0]
        work = kernels.get((first["phase"], first["layer"]))
        on_device = first["device"] is not None
        found.append(
            {
                "phase": first["phase"],
                "layer": first["layer"],
                "host": statistics.median(p["host"][1] - p["host"][0] for p in parts),
                "device": statistics.median(p["device"][1] - p["device"][0] for p in parts)
                if on_device
                else None,
                "ahead": statistics.median(p["device"][0] - p["host"][0] for p in parts)
                if on_device
                else None,
                "busy": (work.busy if work else 0.0) if kernels else None,
                "launches": (work.launches if work else 0) if kernels else None,
            }
        )
    return found


def look(job, nets, way):
    """Run one way's iterations; the results go to the report. Returns the last iteration that was
    followed and the layers, for the picture."""
    import caffe

    caffe.engine.set_precision(way.precision)
    caffe.engine.set_autotuning(way.autotuning)
    caffe.engine.set_folding(way.folding)
    about = {"net": nets.case.net, "size": nets.case.size, "shrink": nets.case.shrink}
    about.update(way._asdict(), gpu=job.gpu is not None)
    iterations = Iterations(job, nets)
    whole = iterations.whole()
    followed = iterations.followed()
    kernels, total, problem = {}, None, None
    if job.gpu is not None:
        try:
            kernels, total = iterations.kernels()
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            problem = " ".join(str(error).split())
    traced = bool(total and total.launches)
    layers = layers_of(followed, kernels if traced else {})
    work = {"busy": total.busy, "launches": total.launches} if traced else {}
    job.result("iteration", **about, **whole, **work, problem=problem)
    job.result("layers", **about, layers=layers)
    return followed[-1], layers


def run(job):
    """Look at Dilated FCN-2s VGG-16's iterations, first as solve.py runs them."""
    import caffe
    from tools import bench_nets
    from tools.gpu import timeline_chart
    from tools.gpu.engine_nets import EngineNets

    if job.gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(job.gpu)
        caffe.set_mode_gpu()
    caffe.engine.set_lean(True)
    size = DRY_SIZE if job.shrink > 1 else SIZE
    nets = EngineNets(bench_nets.Case(VGG16, size, shrink=job.shrink), job.folder)
    longest = LEAST
    for way in WAYS if job.gpu is not None else WAYS[:1]:
        if job.left() < 1.3 * longest:
            job.say(f"no time for {way.precision}, {'' if way.folding else 'un'}folded")
            break
        began = time.monotonic()
        parts, layers = look(job, nets, way)
        longest = time.monotonic() - began
        job.say(f"{way.precision}, {'' if way.folding else 'un'}folded: {longest:.1f} s")
        if way == WAYS[0]:
            caption = "An iteration by layer, host and GPU" if job.gpu is not None else (
                "An iteration by layer on the CPU: the host's time alone"
            )  # fmt: skip
            job.picture("timeline", timeline_chart.plot(parts, layers), caption)
