"""Goals, tables and the chart, out of made-up results."""

from __future__ import annotations

import pytest
from PIL import Image

from tools.benchmark import (
    chart as bench_chart,
    goals as bench_goals,
    report as bench_report,
)


def result(measure, **sides):
    return {
        "measure": measure, "net": bench_goals.NET, "size": bench_goals.SIZE, "classes": 21,
        "sides": sides, "failed": {}, "flop": 1e9,
    }  # fmt: skip


def side(*seconds, **more):
    return {"seconds": list(seconds), "cold": 9.0, "peak": 4e9, **more}


def test_the_chart_shows_the_tables_median_of_an_even_number_of_rounds_too():
    assert bench_chart.median_seconds({"seconds": [4.0, 1.0, 2.0, 3.0]}) == 2.5


@pytest.mark.slow
def test_the_growth_is_drawn(tmp_path):
    results = [
        {
            "measure": "growth", "net": "x", "size": [n, n], "classes": c, "axis": axis,
            "mode": mode, "failed": {},
            "sides": {"engine": {"seconds": [n / 100], "peak": 1e6 * n}},
        }
        for axis, points in (("size", [(64, 21), (96, 21)]), ("classes", [(64, 2), (64, 9)]))
        for n, c in points
        for mode in ("forward", "step")
    ]  # fmt: skip
    bench_chart.plot(results, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.width > 600
    assert "| 96x96 | 0.96 | 0.96 | 96 | 96 |" in bench_report.growth_table(results, "size")
    assert "| 9 | 0.64 | 0.64 | 64 | 64 |" in bench_report.growth_table(results, "classes")


def test_goals_are_judged_by_the_median_of_the_rounds_and_shortfalls_stay():
    engine = side(1.0, 2.0, 1.0, peak=1e9)
    results = [
        result("forward", engine=engine, bvlc=side(2.0, 2.0, 2.0), torch=side(1.2, 2.4, 1.2),
               ceiling={"seconds": [1.0] * 3, "rate": [8e8] * 3}),
        result("step", engine=engine, bvlc=side(2.0, 3.0, 1.0, peak=3.9e9)),
    ]  # fmt: skip
    found = bench_goals.measured(results)
    verdicts = {k: bench_goals.verdict(goal, found[k]) for k, goal in bench_goals.GOALS.items()}
    assert verdicts == {
        "forward": "reached", "step": "missed", "forward torch": "missed",
        "step torch": "not measured", "ceiling": "reached", "training memory": "missed",
        "inference memory": "missed", "small": "not measured", "overhead": "not measured",
        "score": "not measured",
    }  # fmt: skip
    assert bench_report.goals(results)[3].endswith("| ≥ 1.8 | 1.50 (1.00–2.00) | missed |")


def test_a_side_that_fails_is_named_in_the_report_and_its_columns_stay_empty():
    results = [
        result("forward", engine=side(1.0, 3.0), bvlc=side(4.0, 4.0)),
        {
            **result("forward", engine=side(2.0)),
            "net": "other",
            "failed": {"bvlc": "out of memory"},
        },
    ]
    data = {
        "command": "bench.py", "date": "today", "machine": {"processor": "x"}, "results": results,
        "settings": {"gpu": None, "rounds": 2}, "left_out": ["torch: is not there"],
    }  # fmt: skip
    text = bench_report.markdown(data)
    assert "| other 500x500 | 2 | - | - |" in text
    assert "- forward, other 500x500: out of memory" in text
    assert "Left out: torch: is not there." in text


def test_the_papers_tables_stand_beside_what_was_measured():
    results = [result(mode, engine=side(0.5, driver=2e9)) for mode in ("forward", "step", "both")]
    row = bench_report.paper(results, ["engine"])[2]
    assert row == (
        "| dilated-fcn2s-vgg16 | engine | 4096x512x3x3 | 3 | 18,874,368 | 0.5 | 0.5 | 0.5"
        " | 3,093 | 2,000 | 4,101 | 2,000 |"
    )
