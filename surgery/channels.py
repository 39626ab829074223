"""Other input channels than the pretrained net has: colour and depth, or bands by their names."""

from __future__ import annotations

import ast

import numpy as np

from prototxt.skeleton import is_data_layer
from surgery.errors import SurgeryError
from surgery.weights import by_x

WIDENED = {"conv1_1_bgrd": "conv1_1", "conv1_1_bands": "conv1_1"}
"""The layer of a net with other channels, and the layer that its weights come from."""

COLOURS = ("blue", "green", "red")
"""The channels of pretrained nets, in order."""

NEW = ("mean", "zero")
"""What the weights of a channel that the pretrained net does not have are."""


def names_of(net):
    """The names of the channels that a NetParameter's data layer reads, "" for those that have only
    numbers; None where it reads B, G, R."""
    for layer in filter(is_data_layer, net.layer):
        try:
            given = ast.literal_eval(layer.python_param.param_str).get("channels")
        except (ValueError, SyntaxError, AttributeError):
            continue
        if isinstance(given, (list, tuple, dict)):
            return tuple(name if isinstance(name, str) else "" for name in given)
    return None


def colours_of(values, names):
    """Those of `values`, one for each of `names`, that are of B, G, R, in this order; None where
    one has none."""
    if names is None or values is None or len(values) != len(names):
        return values
    if not set(COLOURS) <= set(names):
        return None
    return tuple(values[names.index(colour)] for colour in COLOURS)


def fit(weights, shape, names=None, new="mean"):
    """(Weights for other input channels, where they come from in words).

    weights: O x I x K x K, of B, G, R where I is 3; shape: O x J x K x K. names: of the J channels:
    those of COLOURS keep their weights. Without names the first I channels keep theirs. `new`
    is what all others get: the mean over the I channels, with which they begin as gray would (what
    finds edges in gray finds them there too), or zero.
    """
    outputs, inputs = weights.shape[:2]
    narrow = names is None and shape[1] < inputs
    if shape[0] != outputs or shape[2:] != weights.shape[2:] or narrow:
        raise SurgeryError(
            f"layer conv1_1: the source has shape {by_x(weights.shape)}, which cannot be widened "
            f"to {by_x(shape)}"
        )
    if names is not None and (len(names) != shape[1] or inputs != len(COLOURS)):
        raise SurgeryError(
            f"layer conv1_1: the source has shape {by_x(weights.shape)}, and the net's {shape[1]} "
            f"channels are named {', '.join(names)}; B, G, R are needed for those"
        )
    places: list[int | None]
    if names is None:
        places = [i if i < inputs else None for i in range(shape[1])]
    else:
        places = [COLOURS.index(name) if name in COLOURS else None for name in names]
    made = np.zeros(shape, np.float32)
    if new == "mean":
        made[...] = weights.mean(axis=1, keepdims=True, dtype=np.float64)
    for place, source in enumerate(places):
        if source is not None:
            made[:, place] = weights[:, source]
    if None not in places:
        return made, "conv1_1, its channels put in order"
    return made, "conv1_1, and its mean over channels" if new == "mean" else "conv1_1, and zeros"
