"""Line charts as SVG."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from tools.reporting import svg

NAN = math.nan


def points(made):
    """The places of each stretch of line."""
    found = re.findall(r'<polyline points="([^"]*)"', made)
    return [[tuple(map(float, p.split(","))) for p in one.split()] for one in found]


def test_points_lie_where_their_values_are():
    (line,) = points(svg.chart({"loss": {0: 0.0, 50: 1.0, 100: 2.0}}, "iteration", "loss"))
    bottom, top = svg.HEIGHT - svg.BOTTOM, svg.TOP
    left, right = svg.LEFT, svg.WIDTH - svg.RIGHT
    assert line == [(left, bottom), ((left + right) / 2, (top + bottom) / 2), (right, top)]


def test_a_line_breaks_where_there_is_no_number():
    made = svg.chart({"loss": {0: 1.0, 1: 2.0, 2: NAN, 3: 1.0, 4: math.inf}}, "x", "y")
    assert [len(stretch) for stretch in points(made)] == [2, 1]


@pytest.mark.parametrize("lines", [{"a": {}}, {"a": {1: NAN}}, {}])
def test_nothing_to_draw_is_said(lines):
    assert "No finite number" in svg.chart(lines, "x", "y")


@pytest.mark.parametrize("line", [{0: 0.0}, {5: 3.0}, {0: -2.0, 9: -1.0}, {0: 1e-9}, {1: 1e30}])
def test_any_line_lies_within_the_chart(line):
    for stretch in points(svg.chart({"a": line}, "x", "y")):
        for x, y in stretch:
            assert svg.LEFT <= x <= svg.WIDTH - svg.RIGHT
            assert svg.TOP <= y <= svg.HEIGHT - svg.BOTTOM


def test_a_long_line_keeps_its_last_point_and_has_few():
    line = {at: 1.0 for at in range(10007)}
    (stretch,) = points(svg.chart({"a": line}, "x", "y"))
    assert len(stretch) <= svg.MOST + 1 and stretch[-1][0] == svg.WIDTH - svg.RIGHT


def test_a_chart_is_well_formed_with_hostile_names():
    made = svg.chart({"<a&'\"": {0: 1.0, 1: 2.0}, "b": {0: NAN, 3: 1.0}}, "x<", "y>")
    figure = ElementTree.fromstring(made)
    assert [one.tail for one in figure.iter("i")] == ["<a&'\"", "b"]


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 2500, [0, 500, 1000, 1500, 2000, 2500]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert svg.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("high", [1e-30, 0.7, 5e-5, 37, 123456, 1e20])
def test_ticks_are_a_few_and_lie_within(high):
    found = svg.ticks(0, high)
    assert 2 <= len(found) <= 7 and min(found) >= 0 and max(found) <= high * (1 + 1e-9)
