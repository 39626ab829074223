"""Layers whose top has another shape than the bottom, and so needs memory of its own."""

from __future__ import annotations

from ..blob import Blob
from ..layer import Layer


def require_own_top(layer: Layer, bottom: list[Blob], top: list[Blob]) -> None:
    """No top is a bottom, or an error that says so."""
    if any(a is b for a in top for b in bottom):
        raise layer.fail("cannot work in place; give the top a name of its own")
