"""The stage tables of the GPU report."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

import caffe
from tests.helpers.fake_job import FakeJob, prefixes
from tools.benchmark import nets as bench_nets, sides as bench_sides, worker as bench_worker
from tools.common.cli import Failure
from tools.gpu import (
    engine_rows,
    module_rows,
    row_plan,
    table_chart,
    table_text,
    tables,
    torch_module,
)
from tools.gpu.row_plan import ENGINE, MODULE, VGG16, Row

PEAKS = {"allocated": 900e6, "reserved": 1000e6, "driver": 1600e6}
TIMES = {"first": 9.0, "median": 0.03, "least": 0.02, "most": 0.04, "in_a_row": 0.025, "count": 5}
NET = {"kind": "net", "net": VGG16, "size": [500, 500], "shrink": 1, "flop": 2e11,
       "flop_of_step": 6e11, "fc6": ["4096x512x3x3", "3", "18,874,368"],
       "planned": {"inference": 361e6, "training": 793e6, "test": 818e6}}  # fmt: skip
PRODUCT = {"kind": "product", "precision": "float32", "size": 8192, "rate": 3e13}


def row(allocated=900e6, in_a_row=0.025, **changes):
    """A result of a row, on a card, of all passes."""
    made = {"kind": "row", **Row(ENGINE, VGG16)._asdict(), "held": 0, "loss": 3.0}
    times = {**TIMES, "in_a_row": in_a_row}
    made.update(forward=times, forward_backward=times, step=times)
    made.update(later=dict(PEAKS), inference=dict(PEAKS))
    made["memory"] = {**PEAKS, "allocated": allocated}
    return {**made, **changes}


@pytest.fixture
def settings():
    yield
    for name, default in (("lean", False), ("folding", True), ("precision", "float32")):
        getattr(caffe.engine, f"set_{name}")(default)
    caffe.engine.set_autotuning(False)
    torch_module.round_factors("float32")


# -- what is measured ----------------------------------------------------------------------------


def test_the_engines_training_as_solve_py_runs_it_comes_first():
    for gpu in (False, True):
        rows = row_plan.ordered_rows(gpu, True)
        assert rows[0] == Row(ENGINE, VGG16, "float32", False, True, False, False)
        assert len(set(rows)) == len(rows)
        nets = {r.net for r in rows if r != "products" and r.side == ENGINE}
        assert nets == set(bench_nets.NETS)


def test_the_cpu_has_one_precision_and_no_autotuning():
    rows = [r for r in row_plan.ordered_rows(False, False) if r != "products"]
    assert {(r.precision, r.autotuning) for r in rows} == {("float32", False)}
    on_gpu = [r for r in row_plan.ordered_rows(True, False) if r != "products"]
    assert {r.precision for r in on_gpu} == set(row_plan.PRECISIONS)


def test_folding_by_measurement_is_measured_where_the_engine_can():
    assert not any(
        r != "products" and r.folding == "measured" for r in row_plan.ordered_rows(True, False)
    )
    assert Row(ENGINE, VGG16, folding="measured") in row_plan.ordered_rows(True, True)


def measured(rows, folder, **changes):
    """The answer to one row of a side, on a small net."""
    rows.prepare(VGG16, (32, 32), 16, str(folder))
    given = {"precision": "float32", "autotuning": False, "folding": True, "recompute": False}
    return rows.row(**{**given, "seconds": 0.0, "test": False, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [engine_rows.EngineRows, module_rows.ModuleRows])
def test_a_row_has_times_of_each_kind_of_pass_and_memory(kind, tmp_path, settings):
    found = measured(kind(None, 1), tmp_path)
    for name in ("forward", "forward_backward", "step"):
        assert 0 < found[name]["least"] <= found[name]["median"]
    assert found["memory"]["driver"] > 0 and found["inference"]["driver"] > 0
    assert math.isfinite(found["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [engine_rows.EngineRows, module_rows.ModuleRows])
def test_with_a_test_net_a_step_is_all_that_is_timed(kind, tmp_path, settings):
    found = measured(kind(None, 1), tmp_path, test=True)
    assert found["step"]["median"] > 0 and not {"forward", "forward_backward"} & set(found)


@pytest.mark.slow
def test_the_engine_is_run_in_the_way_that_a_row_names(tmp_path, settings, monkeypatch):
    seen = []
    for name in ("set_precision", "set_autotuning", "set_folding"):
        monkeypatch.setattr(caffe.engine, name, lambda value: seen.append(value))
    monkeypatch.setattr(caffe.engine, "recompute", lambda net, *names: seen.append(names))
    rows = engine_rows.EngineRows(None, 1)
    changes = {"precision": "tf32", "autotuning": True, "folding": "measured", "recompute": True}
    measured(rows, tmp_path, **changes)
    assert seen == ["tf32", True, "measured", ("conv1_1", "conv2_1")]


def test_the_engine_trains_lean_with_folding_and_recomputation(tmp_path, settings):
    rows = engine_rows.EngineRows(None, 1)
    rows.prepare(VGG16, (32, 32), 16, str(tmp_path))
    net = rows.nets.solver(recompute=True).net
    assert net._plan.lean and net._plan.folds_somewhere
    assert {"conv1_1", "conv2_1"} <= net._plan.remade


def test_the_module_runs_in_bfloat16_where_that_is_asked_for():
    passes = torch_module.Passes(None, VGG16, (32, 32), 16, "bfloat16", False)
    kinds = set()
    passes.module.conv3_1.register_forward_hook(lambda m, given, made: kinds.add(str(made.dtype)))
    passes.step()
    assert kinds == {"torch.bfloat16"} and math.isfinite(passes.last_loss())


@pytest.mark.slow
def test_a_product_tells_its_rate(settings):
    found = module_rows.ModuleRows(None, 1).product(0.0, "float32", 64)
    assert found["rate"] == 2 * 64**3 / found["times"]["median"]


def test_a_steps_operations_are_three_passes_without_the_images_gradient():
    case = bench_nets.Case(VGG16, (32, 32), shrink=16)
    first = 230 * 230 * 3 * 9 * 4  # conv1_1: places, inputs, weights, outputs
    assert bench_nets.flop_of_step(case) == 3 * bench_nets.flop(case) - 2 * first


# -- how rows are run ----------------------------------------------------------------------------


class FakeWorker:
    """A worker; `script` says what becomes of its rows: an answer's changes, or an exception."""

    made: list = []
    script: list = []
    seconds = 0.0

    def __init__(self, side, threads, gpu):
        self.side, self.gpu, self.calls, self.dead = side, gpu, [], False
        self.process = SimpleNamespace(poll=lambda: 1 if self.dead else None, kill=lambda: None)
        self.made.append(self)

    def call(self, what, **given):
        self.calls.append((what, given))
        if what == "about":
            return {"measures_folding": False, "rounds": True}
        if what == "prepare":
            same = ("flop", "flop_of_step", "fc6")
            return {name: NET[name] for name in same} if self.side == ENGINE else {}
        if what == "product":
            return {"rate": 3e13}
        done = self.script.pop(0) if self.script else {}
        if isinstance(done, Exception):
            self.dead = "ended" in str(done)
            raise done
        made = row(**done)
        return {k: made[k] for k in ("step", "memory", "later", "inference", "held", "loss")}

    def printed_lines(self):
        return ["a line of its log"]

    def close(self):
        self.closed = True

    def rows(self):
        return [given for what, given in self.calls if what == "row"]


@pytest.fixture
def workers(monkeypatch):
    """The workers that were made, in order; `script`: how their rows go."""
    monkeypatch.setattr(FakeWorker, "made", [])
    monkeypatch.setattr(FakeWorker, "script", [])
    monkeypatch.setattr(bench_sides, "Worker", FakeWorker)
    monkeypatch.setattr(bench_sides, "gpu_used", lambda gpu: 600e6)
    return FakeWorker


@pytest.mark.slow
def test_rows_of_one_side_that_follow_each_other_are_one_workers(workers, tmp_path):
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    assert [worker.side for worker in workers.made] == [ENGINE, MODULE, ENGINE, MODULE]
    assert all(worker.closed for worker in workers.made)
    plan = [r for r in row_plan.ordered_rows(True, False) if r != "products"]
    assert [(r["side"], r["net"]) for r in job.of("row")] == [(r.side, r.net) for r in plan]
    assert [p["precision"] for p in job.of("product")] == list(row_plan.PRECISIONS)
    assert len(job.of("net")) == 3 and not job.of("left out")
    assert job.said.count("a line of its log") == 4


@pytest.mark.slow
def test_what_the_card_held_before_is_not_counted(workers, tmp_path):
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    assert job.of("row")[0]["memory"]["driver"] == 1000e6


@pytest.mark.slow
def test_a_row_that_fails_costs_no_other(workers, tmp_path):
    workers.script[:] = [{}, Failure("engine-rows: row: out of memory"), {}]
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    plan = [r for r in row_plan.ordered_rows(True, False) if r != "products"]
    (failed,) = job.of("failed")
    assert failed["test"] and failed["error"].endswith("out of memory")
    assert len(job.of("row")) == len(plan) - 1 and len(workers.made) == 5


@pytest.mark.slow
def test_a_worker_that_has_lost_the_gpu_costs_one_row(workers, tmp_path, monkeypatch):
    lost = Failure("engine-rows: row: CUDA error: an illegal memory access")

    def call(self, what, **given):
        if what == "row" and (given["test"] or getattr(self, "lost", False)):
            self.lost = True
            raise lost
        return ordinary(self, what, **given)

    ordinary = workers.call
    monkeypatch.setattr(workers, "call", call)
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    tests = [r for r in row_plan.ordered_rows(True, False) if r != "products" and r.test]
    assert len(job.of("failed")) == len(tests)


def test_a_card_that_does_not_round_has_rows_of_float32_alone(workers, tmp_path, monkeypatch):
    ordinary = workers.call

    def call(self, what, **given):
        answer = ordinary(self, what, **given)
        return {**answer, "rounds": False} if what == "about" else answer

    monkeypatch.setattr(workers, "call", call)
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    assert {row["precision"] for row in job.of("row")} == {"float32"}
    assert [p["precision"] for p in job.of("product")] == ["float32"]
    assert "- left out: tf32, bfloat16, which this card" in tables.markdown(job.results)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_for_the_next_row(workers, tmp_path):
    workers.script[:] = [Failure("engine-rows: row: the process ended (signal 9)")]
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    assert [w.side for w in workers.made[:3]] == [ENGINE, ENGINE, MODULE]
    assert len(workers.made[0].rows()) == 1 and workers.made[1].rows()[0]["test"]


@pytest.mark.slow
def test_a_worker_that_still_holds_memory_is_replaced(workers, tmp_path):
    workers.script[:] = [{}, {"held": tables.HELD + 1}]
    tables.run(FakeJob(tmp_path, gpu=0))
    assert [len(w.rows()) for w in workers.made[:2]] == [2, len(row_plan.engine_rows(VGG16, 1)) - 2]


def test_no_row_is_begun_that_could_not_end(workers, tmp_path):
    job = FakeJob(tmp_path, gpu=0, seconds=1.0)
    tables.run(job)
    plan = [r for r in row_plan.ordered_rows(True, False) if r != "products"]
    assert not job.of("row") and job.of("left out") == [
        {"kind": "left out", "rows": len(plan), "of": len(plan)}
    ]


@pytest.mark.slow
def test_a_worker_does_what_it_is_told_in_a_process_of_its_own(tmp_path, monkeypatch):
    job = FakeJob(tmp_path)
    monkeypatch.setattr(tables, "DRY_SIZE", (32, 32))
    monkeypatch.setattr(tables, "DRY_SECONDS", 0.0)
    rows = tables.Rows(job)
    try:
        rows.run(Row(ENGINE, VGG16))
        rows.run(Row(ENGINE, VGG16, precision="float8"))
    finally:
        rows.close()
    (found,), (failed,), (net,) = job.of("row"), job.of("failed"), job.of("net")
    assert found["memory"]["allocated"] is None and found["step"]["median"] > 0
    assert "precision 'float8' is not one of" in failed["error"]
    assert net["fc6"] == ["4096x512x3x3", "3", "18,874,368"]


def test_a_worker_whose_asker_is_gone_ends_while_it_works(monkeypatch):
    import os
    import threading

    ended = threading.Event()
    monkeypatch.setattr(bench_worker.os, "_exit", lambda code: ended.set())
    read, write = os.pipe()
    os.write(write, b"one\n")
    lines = bench_worker.commands(os.fdopen(read))
    assert next(lines) == "one\n"
    os.close(write)
    assert ended.wait(10)


# -- the tables ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_any_beginning_of_the_results_can_be_shown(workers, tmp_path):
    workers.script[:] = [{}, Failure("engine-rows: row: out | of memory")]
    job = FakeJob(tmp_path, gpu=0, shrink=8)
    tables.run(job)
    for results in prefixes(job.results):
        text = tables.markdown(results)
        assert tables.main_figure(results) == "" or "### Time" in text
    assert tables.markdown([]) == ""
    assert "- failed: dilated-fcn2s-vgg16, engine, float32, with test net: " in text


def test_the_paper_stands_beside_what_was_measured():
    results = [NET, PRODUCT, row(), row(test=True, allocated=1200e6)]
    text = table_text.markdown(results)
    line = "| dilated-fcn2s-vgg16 | 4096x512x3x3 | 3 | 18,874,368 | 0.2 | 0.030 "
    assert line + "| 3,093 | 793 | 900 | 1,000 | 1,600 | 4,101 | 818 | 1,200 | 1,000 | 1,600 |" in (
        text
    )


def test_the_floor_is_at_the_cards_rate_in_the_rows_precision():
    half = {**PRODUCT, "precision": "bfloat16", "rate": 3e14}
    results = [NET, PRODUCT, half, row()]
    assert table_text.floor(results, row())["step"] == pytest.approx(0.02)
    assert table_text.floor(results, row(precision="bfloat16"))["step"] == pytest.approx(0.002)
    assert table_text.over_floor(results, row()) == pytest.approx(1.25)
    assert table_text.floor(results, row(precision="tf32")) is None


@pytest.mark.parametrize(
    "changes, memory, step",
    [
        ({}, "| 900 MB | held |", "| 1.25 | held |"),
        ({"allocated": 1501e6, "in_a_row": 0.0301}, "| 1,501 MB | missed |", "| 1.50 | missed |"),
    ],
)
def test_goals_are_held_or_missed(changes, memory, step):
    text = "\n".join(table_text.goals([NET, PRODUCT, row(**changes)]))
    assert "≤ 1,500 MB " + memory in text and "≤ 1.5 " + step in text


def test_goals_are_not_judged_by_a_dry_run():
    small = {**NET, "shrink": 8}
    assert "not judged" in "\n".join(table_text.goals([small, PRODUCT, row()]))
    on_cpu = row(memory={"allocated": None, "reserved": None, "driver": 1e9})
    text = table_text.markdown([NET, PRODUCT, on_cpu])
    assert "not judged" in text and "on the CPU" in text and "held |" not in text


@pytest.mark.slow
def test_the_picture_has_each_rows_step_and_floor(workers, tmp_path):
    slow = row(in_a_row=0.05, test=True)
    assert table_chart.bars([NET, PRODUCT, row(net="other"), row(), slow]) == [
        ("other: float32", ENGINE, 25.0, None),
        (f"{VGG16}: float32", ENGINE, 25.0, pytest.approx(20.0)),
        (f"{VGG16}: float32, with test net", ENGINE, 50.0, None),
    ]
    job = FakeJob(tmp_path, gpu=0)
    tables.run(job)
    assert job.pictures["tables"][0].startswith(b"\x89PNG")


def test_a_loss_that_is_not_finite_is_named():
    assert "the loss is nan" in table_text.markdown([NET, row(loss=float("nan"))])


def test_the_summary_has_the_step_and_the_memory():
    assert table_text.main_figure([NET, row()]) == "step 25.00 ms, 900 MB allocated"
    assert MODULE in table_text.SIDES and table_text.main_figure([row(net="other")]) == ""
