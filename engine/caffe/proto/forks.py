"""Layer types and fields that other Caffes have and BVLC Caffe 1.0 has not: `forks.tsv` names the
fork, and what to take instead where there is something."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def _table() -> dict[tuple[str, str, str], tuple[str, str]]:
    text = (Path(__file__).parent / "forks.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {(kind, message, name): (of, instead) for kind, message, name, of, instead in rows}


def _told(kind: str, message: str, name: str) -> str:
    of, instead = _table().get((kind, message, name), ("", ""))
    return f"it is a {kind} of {of}" + (f"; {instead}" if instead else "") if of else ""


def of_type(name: str) -> str:
    """Whose layer type `name` is, in any case, for an error message; empty for one of no fork that
    is known."""
    alike = (one for kind, _, one in _table() if kind == "type" and one.lower() == name.lower())
    return _told("type", "", next(alike, name))


def of_field(message: str, name: str) -> str:
    """Whose field `name` of `message` (LayerParameter) is; empty as `of_type`."""
    return _told("field", message, name)
