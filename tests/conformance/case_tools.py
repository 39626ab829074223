"""What the strategies of `cases.py` are made with.

A case is {"layer": prototxt of the layer's own part, "bottoms": [[kind, shape], ...], "tops": n,
"phase": ..., "in_place": bool, "seed": n}. `kind` says what fills the bottom: "normal", "ties"
(small whole numbers, many of them equal), "positive", or "labels N [V]" (classes below N, some of
them V).
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, settings, strategies as st

STRATEGIES: dict = {}
NO_GRADIENT = {"Accuracy", "ArgMax", "BatchReindex", "Embed", "Filter", "Threshold"}
"""Both sides refuse to give gradients of these; test_bvlc_row_layers.py asks in another way."""
BEYOND_BVLC: set = set()
"""Layer types of the engine that BVLC Caffe 1.0 does not have; nothing compares them with it."""


def load_strategies():
    """STRATEGIES, filled by all `cases*.py`."""
    for file in sorted(Path(__file__).parent.glob("cases*.py")):
        importlib.import_module(f"{__package__}.{file.stem}")
    return STRATEGIES


def drawing(number):
    """Settings of so many random cases. Derandomised: what is red on one machine is red on all."""
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


def layer(name):
    """Make the decorated composite strategy the one of layer type `name`."""

    def add(function):
        STRATEGIES[name] = st.composite(function)()
        return function

    return add


def ints(low, high):
    return st.integers(low, high)


def field(name, value):
    """One line of prototxt; lists repeat the field; strings are written bare (enums)."""
    if isinstance(value, list):
        return " ".join(field(name, one) for one in value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"{name}: {value}"


def message(name, **fields):
    """A prototxt message; fields that are None are left out."""
    inside = " ".join(field(k, v) for k, v in fields.items() if v is not None)
    return f"{name} {{ {inside} }}"


def maybe(draw, strategy):
    """A drawn value, or None: the field is left at its default."""
    return draw(st.one_of(st.none(), strategy))


def case(draw, text, shapes, tops=1, kinds=None, phase=None, in_place=False):
    kinds = kinds or ["normal"] * len(shapes)
    return {
        "layer": text,
        "bottoms": [[kind, list(shape)] for kind, shape in zip(kinds, shapes, strict=True)],
        "tops": tops,
        "phase": phase or draw(st.sampled_from(["TRAIN", "TEST"])),
        "in_place": in_place,
        "seed": draw(ints(0, 999)),
    }


def shape(draw, low=1, high=4, largest=5):
    """A shape of `low` to `high` axes."""
    return draw(st.lists(ints(1, largest), min_size=low, max_size=high))


def prototxt(one):
    """The whole net of a case. Inputs are Input layers, so that reshape and diffs are seen."""
    layers = []
    bottoms = [f"bottom{i}" for i in range(len(one["bottoms"]))]
    tops = bottoms[:1] if one["in_place"] else [f"top{i}" for i in range(one["tops"])]
    for name, (_, dims) in zip(bottoms, one["bottoms"], strict=True):
        dims = " ".join(f"dim: {d}" for d in dims)
        layers.append(
            f'layer {{ name: "{name}" type: "Input" top: "{name}" '
            f"input_param {{ shape {{ {dims} }} }} }}"
        )
    links = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
    layers.append(f'layer {{ name: "it" {" ".join(links)} {one["layer"]} }}')
    return "\n".join(["force_backward: true", *layers])


def arguments(layer_type, one):
    """What the scenario `one_net` is given for a case."""
    return {
        "prototxt": prototxt(one),
        "phase": one["phase"],
        "seed": one["seed"],
        "backward": one.get("backward", layer_type not in NO_GRADIENT),
        "positive_params": one.get("positive_params", False),
    }


def inputs(one):
    """The bottoms' values, float32, by blob name."""
    stream = np.random.RandomState(one["seed"])
    arrays = {}
    for i, (kind, dims) in enumerate(one["bottoms"]):
        word, *rest = kind.split()
        if word == "labels":
            value = stream.randint(0, int(rest[0]), dims)
            if len(rest) > 1:
                value[stream.rand(*dims) < 0.3] = int(rest[1])
        elif word == "ties":
            value = stream.randint(-1, 2, dims)
        elif word == "positive":
            value = 0.5 + stream.rand(*dims)
        else:
            value = stream.standard_normal(dims)
        arrays[f"bottom{i}"] = np.asarray(value, np.float32)
    return arrays
