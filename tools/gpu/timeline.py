"""The stage `timeline` of the GPU report: where an iteration's time goes, by layer."""

from __future__ import annotations

import json
import statistics
import time
from collections import namedtuple

from tools.common.cli import use_device
from tools.gpu.row_plan import VGG16
from tools.gpu.timeline_text import WORDS as WORDS, main_figure as main_figure, markdown as markdown

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

        self.job, self.wait = job, caffe.engine.synchronize
        self.solver = nets.solver()
        self.on_start = None  # called before each iteration
        self.solver.add_callback(lambda: self.on_start and self.on_start())

    def whole(self):
        """{in_a_row: of one iteration of several, waited for at their end; host: until the host has
        launched one that it need not wait for; count: of each}."""
        if self._seconds(1) < SECONDS:
            self.solver.step(WARM)
        self.wait()
        first = self._seconds(1)
        count = max(1, min(MOST, int(SECONDS / 3 / max(first, 1e-9))))
        in_a_row = self._seconds(count) / count
        host = statistics.median(self._host() for _ in range(count))
        return {"in_a_row": in_a_row, "host": host, "count": count}

    def _seconds(self, count):
        began = time.perf_counter()
        self.solver.step(count)
        self.wait()
        return time.perf_counter() - began

    def _host(self):
        """Seconds from the beginning of an iteration to that of the next, for the host."""
        moments = []
        self.on_start = lambda: moments.append(time.perf_counter())
        self._seconds(2)
        self.on_start = None
        return moments[1] - moments[0]

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

        def on_start():
            clock.close()
            firsts.append(len(parts))

        self.on_start = on_start
        clock.follow(FOLLOWED)
        self.on_start = None
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
    from tools.benchmark import nets as bench_nets
    from tools.gpu import timeline_chart
    from tools.gpu.engine_nets import EngineNets

    use_device(job.gpu)
    caffe.engine.set_lean(True)
    size = DRY_SIZE if job.shrink > 1 else SIZE
    nets = EngineNets(bench_nets.Case(VGG16, size, shrink=job.shrink), job.folder)
    longest = LEAST
    for way in WAYS if job.gpu is not None else WAYS[:1]:
        if job.left() < 1.3 * longest:
            job.say(f"no time for {way.precision}, {'' if way.folding else 'un'}folded")
            break
        began = time.monotonic()
        try:
            caffe.engine.set_precision(way.precision)
        except caffe.engine.InputError as error:  # an older card
            if not any(w.precision == way.precision for w in WAYS[: WAYS.index(way)]):
                job.result("without", why=str(error))
            continue
        parts, layers = look(job, nets, way)
        longest = time.monotonic() - began
        job.say(f"{way.precision}, {'' if way.folding else 'un'}folded: {longest:.1f} s")
        if way == WAYS[0]:
            caption = "An iteration by layer, host and GPU" if job.gpu is not None else (
                "An iteration by layer on the CPU: the host's time alone"
            )  # fmt: skip
            job.picture("timeline", timeline_chart.plot(parts, layers), caption)
