"""What a user may choose beyond Caffe's own settings; `caffe.engine` names it."""

from __future__ import annotations

from .errors import InputError

MEASURED = "measured"

GRADIENTS = ("float32", "bfloat16")

_chosen: dict[str, bool | str] = {
    "folding": True, "lean": False, "winograd": True, "gradients": GRADIENTS[0],
}  # fmt: skip


def set_folding(on: bool | str) -> None:
    """Whether nets that are made from now on leave out rows and columns that repeat (default:
    yes). What comes out is the same but for rounding; see `folding`.

    "measured": on a GPU, the first six passes at each size of picture are run with and without in
    turn, two of each timed without a wait, and the rest as was faster; a line in the log says
    which. It takes the memory of both, and a second run may choose otherwise: on the CPU, and
    with PyTorch's deterministic algorithms, it is the same as True. InputError for other words.
    """
    if isinstance(on, str) and on != MEASURED:
        raise InputError(f"folding '{on}' is not one of True, False, \"{MEASURED}\"")
    _chosen["folding"] = on if on == MEASURED else bool(on)


def folding() -> bool | str:
    return _chosen["folding"]


def set_lean(on: bool) -> None:
    """Whether nets that are made from now on give their blobs' memory back as soon as their own
    passes need it no more (default: no, as in Caffe).

    After a pass, the blobs that layers without bottoms make, the net's outputs, those of Python
    layers and those given to `keep` before can be read, and of diffs those of inputs and outputs;
    others may be gone, and then say so. A backward pass needs a forward pass in TRAIN before it,
    once each. In training, folding reaches the backward pass too. A solver updates each parameter
    in the backward pass unless all gradients are needed at once (to clip them, to add up several
    passes, for other solvers, for callbacks after_backward and on_gradients_ready): an iteration
    that fails half-way has then updated the upper layers. After an update a parameter's diff is
    gone, unless the solver's snapshot_diff asks for it.
    """
    _chosen["lean"] = bool(on)


def lean() -> bool:
    return bool(_chosen["lean"])


def set_winograd(on: bool) -> None:
    """Whether 3×3 convolutions of many channels are computed by Winograd's minimal filtering on
    the CPU (default: yes). Its rounding errors are as small as the plain sums', but others."""
    _chosen["winograd"] = bool(on)


def winograd() -> bool:
    return bool(_chosen["winograd"])


def set_gradients(kind: str) -> None:
    """How gradients go from process to process, where several train together: "float32" (default:
    the parameters' own type), or "bfloat16", half the bytes and 8 bits of precision, for a slow
    network. What is tied by `Ranks.tie` from now on; InputError for other words."""
    if kind not in GRADIENTS:
        raise InputError(f"gradients '{kind}' is not one of {', '.join(GRADIENTS)}")
    _chosen["gradients"] = kind


def gradients() -> str:
    return str(_chosen["gradients"])
