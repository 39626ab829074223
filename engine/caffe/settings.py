"""What a user may choose beyond Caffe's own settings; `caffe.engine` names it."""

from __future__ import annotations

_chosen = {"folding": False, "lean": False}


def set_folding(on: bool) -> None:
    """Whether nets that are made from now on leave out rows and columns that repeat (default:
    no). What comes out is the same; see `folding`."""
    _chosen["folding"] = bool(on)


def folding() -> bool:
    return _chosen["folding"]


def set_lean(on: bool) -> None:
    """Whether nets that are made from now on give their blobs' memory back as soon as their own
    passes need it no more (default: no, as in Caffe).

    After a pass, the blobs that layers without bottoms make, the net's outputs, those of Python
    layers and those given to `keep` before can be read, and of diffs those of inputs and outputs;
    others may be gone, and then say so. A backward pass needs a forward pass in TRAIN before it,
    once each. In training, folding reaches the backward pass too.
    """
    _chosen["lean"] = bool(on)


def lean() -> bool:
    return _chosen["lean"]
