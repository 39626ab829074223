"""Nets of one layer that reads data, run by both: what the tests of those layers share."""

from __future__ import annotations

from tests.conformance import both, report
from tests.helpers import data_files as files  # noqa: F401  (for the tests)


def layer(kind, body, tops=("data", "label")):
    tops = " ".join(f'top: "{top}"' for top in tops)
    return f'layer {{ name: "d" type: "{kind}" {tops} {body} }}'


def agree(what, text, scenario="batches", arrays=None, tolerance=0.0, **more):
    """Both read the same, and the results of BVLC Caffe's side."""
    theirs, ours = both.run_both(scenario, dict({"prototxt": text}, **more), arrays)
    report.record("data", what, both.compare(theirs, ours, tolerance))
    return theirs


def refuse(text, scenario="batches", **more):
    assert both.both_or_neither(scenario, dict({"prototxt": text}, **more)) is None
