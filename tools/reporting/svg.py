"""Line charts as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tools.reporting.markup import Markup, tag

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 40
COLOURS = 12
"""Of lines; style.css has a class .line0 … for each, and further lines are dashed."""
MOST = 600
"""Points of a line: of more, evenly many."""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them; at least one."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= min((f for f in (1, 2, 5, 10) if span / (f * step) <= count), default=10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def chart(lines: Mapping[str, Mapping[int, float]], across: str, up: str, top=None) -> Markup:
    """A chart of {name: {iteration: value}}; gaps where a value is not finite.

    across, up: what the axes say. The upper axis ends at `top`, or the highest value; both axes
    begin at 0.
    """
    known = {
        name: {at: value for at, value in line.items() if math.isfinite(value)}
        for name, line in lines.items()
    }
    values = [value for line in known.values() for value in line.values()]
    if not values:
        return tag("p", "No finite number to draw.", class_="note")
    right = max([at for line in known.values() for at in line] + [1])
    low, high = min([0.0, *values]), top or max([*values, 0.0])
    high = high if high > low else low + 1

    def x(at):
        return LEFT + (WIDTH - LEFT - RIGHT) * at / right

    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    parts = [_grid(x, y, ticks(0, right, 6), ticks(low, high)), _titles(across, up)]
    for number, (name, line) in enumerate(lines.items()):
        for part in _unbroken(line):
            parts.append(_line(part, x, y, name, number))
    box = tag(
        "svg",
        tag("title", f"{up} over {across}: {', '.join(lines)}"),
        parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    return tag("figure", box, _legend(lines) if len(lines) > 1 else "", class_="chart")


def _unbroken(line):
    """The stretches of finite values of a line, thinned to at most about MOST points."""
    every = max(1, -(-len(line) // MOST))
    stretch: list = []
    for number, (at, value) in enumerate(line.items()):
        if not math.isfinite(value):
            if stretch:
                yield stretch
            stretch = []
        elif number % every == 0 or number == len(line) - 1:
            stretch.append((at, value))
    if stretch:
        yield stretch


def _line(points, x, y, name, number):
    """A stretch as a line, with a dot at each of few points, whose title tells it."""
    places = [(round(x(at), 1), round(y(value), 1)) for at, value in points]
    parts = [tag("polyline", points=" ".join(f"{a},{b}" for a, b in places))]
    if len(points) <= 40:
        parts += [
            tag("g", tag("title", f"{name}, {at}: {value:.4g}"), tag("circle", cx=a, cy=b, r=2.5))
            for (at, value), (a, b) in zip(points, places)
        ]
    return tag("g", parts, class_=_class(number))


def _class(number):
    dashed = " dashed" if number // COLOURS % 2 else ""
    return f"line line{number % COLOURS}{dashed}"


def _grid(x, y, across, up):
    parts = []
    for value in up:
        place = round(y(value), 1)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=place, y2=place))
        parts.append(tag("text", f"{value:.4g}", x=LEFT - 6, y=place + 4, text_anchor="end"))
    for value in across:
        place = round(x(value), 1)
        parts.append(tag("line", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM))
        told = f"{value:.0f}" if value == int(value) else f"{value:.4g}"
        parts.append(tag("text", told, x=place, y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
    return tag("g", parts, class_="grid")


def _titles(across, up):
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f"rotate(-90 14 {middle})"
    return [
        tag("text", across, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, text_anchor="middle"),
        tag("text", up, x=14, y=middle, text_anchor="middle", transform=turned),
    ]


def _legend(lines):
    keys = [
        tag("span", tag("i", class_=f"key {_class(number)}"), name, class_="entry")
        for number, name in enumerate(lines)
    ]
    return tag("figcaption", keys, class_="legend")
