"""The page's curves: loss, rate, mean IU, the classes' IU."""

from __future__ import annotations

from tools.common import run_metrics
from tools.reporting import svg
from tools.reporting.content import Content
from tools.reporting.markup import Markup, tag


def section(content: Content) -> list[Markup]:
    """Charts of all runs that have curves; the classes' of the first alone."""
    runs = {label: run.lines for label, run in zip(content.labels, content.runs) if run.lines}
    found = []
    for key, up in (("loss", "loss (running mean)"), ("lr", "learning rate")):
        kept = {name: run_metrics.displayed(lines, key) for name, lines in runs.items()}
        found += _drawn(kept, up)
    ius = {name: _percent(run_metrics.scored(lines)) for name, lines in runs.items()}
    found += _drawn(ius, "mean IU, percent", 100)
    classes = run_metrics.classes(content.runs[0].lines)
    by_class = {name: _percent(values) for name, values in classes.items()}
    found += _drawn(by_class, "IU of class, percent", 100)
    return found or [tag("p", "No curves were kept.", class_="note")]


def _drawn(lines, up, top=None):
    lines = {name: values for name, values in lines.items() if values}
    return [svg.chart(lines, "iteration", up, top)] if lines else []


def _percent(values):
    return {at: 100 * value for at, value in values.items()}
