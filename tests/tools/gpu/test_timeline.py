"""The stage timeline of the GPU report."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import caffe
from tests.helpers.fake_job import FakeJob, prefixes
from tools.benchmark import nets as bench_nets
from tools.gpu import layer_clock, timeline, timeline_chart, timeline_text, torch_timing, traces
from tools.gpu.engine_nets import EngineNets
from tools.gpu.row_plan import VGG16


@pytest.fixture
def nets(tmp_path):
    caffe.set_mode_cpu()
    caffe.engine.set_lean(True)
    yield EngineNets(bench_nets.Case(VGG16, (32, 32), shrink=16), tmp_path)
    caffe.engine.set_lean(False)


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "DRY_SIZE", (32, 32))
    yield FakeJob(tmp_path)
    for name, default in (("lean", False), ("folding", True), ("precision", "float32")):
        getattr(caffe.engine, f"set_{name}")(default)


def part(phase, layer, host, device=None, **more):
    return {"phase": phase, "layer": layer, "host": host, "device": device, **more}


def test_ways_that_the_card_cannot_go_are_left_out(job, monkeypatch):
    gone = []

    def refuse(name):
        if name != "float32":
            raise caffe.engine.InputError("compute capability 7.5 has no bfloat16")

    monkeypatch.setattr(caffe.engine, "set_precision", refuse)
    monkeypatch.setattr(timeline, "WAYS", timeline.WAYS)
    monkeypatch.setattr(timeline, "look", lambda job, nets, way: gone.append(way) or ([], []))
    monkeypatch.setattr(timeline_chart, "plot", lambda parts, layers: b"PNG")
    monkeypatch.setattr(caffe, "set_device", lambda gpu: None)
    monkeypatch.setattr(caffe, "set_mode_gpu", lambda: None)
    job.gpu, job.shrink = 0, 16
    timeline.run(job)
    assert gone == [timeline.WAYS[0]]
    assert [r["why"] for r in job.of("without")] == ["compute capability 7.5 has no bfloat16"]


# -- following the layers ------------------------------------------------------------------------


@pytest.mark.slow
def test_every_layer_is_followed_and_updates_are_too(nets):
    parts = []
    solver = nets.solver()
    clock = layer_clock.LayerClock(solver, lambda *part: parts.append(part), lambda: None)
    clock.follow()
    names = layer_clock.distinct(solver.net._layer_names)
    assert [name for phase, name in parts if phase == "forward"] == names
    assert [name for phase, name in parts if phase == "backward"] == names[::-1]
    updated = [name for phase, name in parts if phase == "update"]
    assert updated and len(set(updated)) == len(updated)
    assert set(updated) <= {*names, layer_clock.SEVERAL}


def test_parts_are_closed_before_others_begin(nets):
    events = []
    clock = layer_clock.LayerClock(
        nets.solver(), lambda *part: events.append("begin"), lambda: events.append("end")
    )
    clock.follow()
    assert events == ["begin", "end"] * (len(events) // 2) and events


def test_following_lets_the_solver_update_as_early_as_without(nets):
    solver = nets.solver()
    layer_clock.LayerClock(solver, lambda *part: None, lambda: None).follow()
    assert solver._updates_early()


@pytest.mark.slow
def test_following_changes_no_number(nets):
    followed, plain = nets.solver(), nets.solver()
    clock = layer_clock.LayerClock(followed, lambda *part: None, lambda: None)
    for solver, step in ((followed, clock.follow), (plain, lambda: plain.step(1))):
        caffe.set_random_seed(7)
        step()
        solver.step(1)
    for name, blobs in followed.net.params.items():
        for mine, theirs in zip(blobs, plain.net.params[name]):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_layers_of_one_name_are_told_apart():
    assert layer_clock.distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_marks_on_a_gpu_have_both_times(monkeypatch):
    now = iter(range(100))

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            assert stream == "stream of 3"
            self.at = next(now)

        def elapsed_time(self, later):
            return 10.0 * (later.at - self.at)

    cuda = SimpleNamespace(Event=Event, current_stream=lambda gpu: f"stream of {gpu}")
    monkeypatch.setattr(torch_timing.torch, "cuda", cuda)
    monkeypatch.setattr(torch_timing.torch_facts, "synchronize", lambda gpu: None)
    marks = torch_timing.Marks(3)
    assert [marks.mark(), marks.mark()] == [0, 1]
    host, device = marks.seconds()
    assert device == [0.01, 0.02] and 0 <= host[0] <= host[1]


# -- the stage -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dry_run_on_the_cpu_has_the_hosts_times_and_a_picture(job, monkeypatch):
    monkeypatch.setattr(timeline_text, "SHOWN", 0.0)  # whatever takes little time now
    timeline.run(job)
    (iteration,), (layers,) = job.of("iteration"), job.of("layers")
    assert iteration["in_a_row"] > 0 and "busy" not in iteration and not iteration["gpu"]
    assert all(part["host"] > 0 and part["device"] is None for part in layers["layers"])
    picture, caption = job.pictures["timeline"]
    assert Image.open(io.BytesIO(picture)).size[0] > 500 and "CPU" in caption
    for results in prefixes(job.results):
        text = timeline.markdown(results)
        assert ("nothing here says whether a GPU would wait" in text) == bool(results)
    assert "| conv1_1 |" in text and timeline.main_figure(job.results).endswith(" ms")


def test_nothing_is_begun_without_time(job):
    job.seconds = 1.0
    timeline.run(job)
    assert job.results == [] and job.pictures == {} and "no time" in job.said[0]
    assert timeline.markdown([]) == timeline.main_figure([]) == ""


@pytest.mark.slow
def test_on_a_gpu_all_ways_are_looked_at(job, nets, monkeypatch):
    job.gpu, seen = 0, []
    monkeypatch.setattr(caffe, "set_device", lambda number: None)
    monkeypatch.setattr(caffe, "set_mode_gpu", lambda: None)

    def look(job, nets, way):
        seen.append(way)
        parts = [part("forward", "conv1_1", (0.0, 1.0), (0.5, 1.5))]
        return parts, timeline.layers_of([parts], {})

    monkeypatch.setattr(timeline, "look", look)
    timeline.run(job)
    assert seen == list(timeline.WAYS) and "timeline" in job.pictures


@pytest.mark.slow
def test_a_profiler_that_fails_leaves_the_marks(job, nets, monkeypatch):
    """As where the driver lets nobody count."""

    def refuse(*args):
        raise RuntimeError("no counters\nhere")

    job.gpu = 0
    monkeypatch.setattr(torch_timing, "trace", refuse)
    monkeypatch.setattr(torch_timing, "Marks", lambda gpu: _MarksOfBoth())
    timeline.look(job, nets, timeline.WAYS[0])
    (iteration,), (layers,) = job.of("iteration"), job.of("layers")
    assert iteration["problem"] == "no counters here" and "busy" not in iteration
    assert all(p["device"] > 0 and p["busy"] is None for p in layers["layers"])
    assert "The profiler saw no kernels (no counters here)" in timeline.markdown(job.results)


class _MarksOfBoth(torch_timing.Marks):
    """Marks on a GPU that is always 1 s behind the host."""

    def __init__(self):
        super().__init__(None)

    def seconds(self):
        host, _ = super().seconds()
        return host, [moment + 1.0 for moment in host]


# -- what is made of it --------------------------------------------------------------------------


def iterations():
    """Two iterations of one layer: the GPU takes 4 and 6 s, the host 1 s."""
    return [
        [part("forward", "conv1_1", (0.0, 1.0), (0.5, 4.5))],
        [part("forward", "conv1_1", (1.0, 2.0), (4.5, 10.5))],
    ]


def test_a_layers_times_are_medians_over_the_iterations():
    kernels = {("forward", "conv1_1"): traces.Work(4.0, 3)}
    (found,) = timeline.layers_of(iterations(), kernels)
    assert (found["host"], found["device"], found["ahead"]) == (1.0, 5.0, 2.0)
    assert (found["busy"], found["launches"]) == (4.0, 3)
    assert timeline_text.gap(found) == 1.0


def test_a_layer_that_launches_nothing_waits_all_its_time():
    (found,) = timeline.layers_of(iterations(), {("backward", "conv1_1"): traces.Work(1.0, 1)})
    assert found["busy"] == 0.0 and timeline_text.gap(found) == 5.0


def test_without_a_trace_it_is_not_known_how_long_the_gpu_waits():
    (found,) = timeline.layers_of(iterations(), {})
    assert found["busy"] is None and timeline_text.gap(found) is None


def test_waits_are_drawn_in_the_gpus_lane_at_the_beginning_of_its_part():
    parts = iterations()[1]
    layers = timeline.layers_of(iterations(), {("forward", "conv1_1"): traces.Work(4.0, 3)})
    assert timeline_chart.bars(parts, layers) == [
        ("conv1_1", "host", "forward", 0.0, 1000.0),
        ("conv1_1", "device", "forward", 3500.0, 6000.0),
        ("conv1_1", "device", "wait", 3500.0, 1000.0),
    ]
    assert timeline_chart.plot(parts, layers).startswith(b"\x89PNG")


def test_the_report_says_how_long_the_gpu_waits():
    about = {"net": VGG16, "size": [500, 500], "shrink": 1, "gpu": True, "problem": None}
    about.update(precision="float32", autotuning=False, folding=True)
    times = {"in_a_row": 0.05, "host": 0.02, "count": 9}
    layers = timeline.layers_of(iterations(), {("forward", "conv1_1"): traces.Work(4.0, 3)})
    results = [
        {"kind": "iteration", **about, **times, "busy": 0.04, "launches": 900},
        {"kind": "layers", **about, "layers": layers},
    ]
    text = timeline_text.markdown(results)
    assert "works 40.00 ms of the 50.00 ms of an iteration and waits 10.00 ms (20 %)" in text
    assert "| conv1_1 | 1,000.00 | 5,000.00 | - | - | - | - | 1,000.00 | 2,000.00 | 3 |" in text
    assert timeline_text.main_figure(results) == "GPU waits 20 % of an iteration"


def test_small_layers_are_one_line():
    big, small = (0.0, 1.0), (0.0, 1e-4)
    layers = [part("forward", "conv1_1", big)] + [part("forward", f"s{k}", small) for k in range(3)]
    lines = timeline_text.layer_table(timeline.layers_of([layers], {}))
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| conv1_1", "| 3 others", "| all"]
