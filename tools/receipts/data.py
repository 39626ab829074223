"""What a net's data layers read: lists, pictures and labels, by their hashes."""

from __future__ import annotations

import hashlib
import os

from prototxt.opening import LARGEST_LIST, read_regular
from tools.receipts.facts import sha256

LISTING = ("HDF5Data", "ImageData")
"""Layer types whose source is a list of files."""


def described(net, message) -> dict[str, dict]:
    """{layer: {"items", "list", "seed", "files"}} of the layers of `net` that read something.

    message: its NetParameter. items: how many; list: a hash of their names in order; seed: of their
    order; files: {path: SHA-256}, of each picture and label once. Reads all of them.
    """
    found = {}
    layers = dict(zip(net._layer_names, net.layers))
    for layer in message.layer:
        inside = layers.get(layer.name)
        if inside is None:  # of the other phase
            continue
        if hasattr(inside, "source") and hasattr(inside, "fingerprint"):
            found[layer.name] = of_pictures(inside.source, inside.seed)
        else:
            places = [] if layer.bottom else list(sources(layer))
            if layer.type in LISTING:
                places += [path for one in places for path in _listed(one)]
            if places:
                found[layer.name] = {"files": {path: sha256(path) for path in places}}
    return found


def _listed(path):
    """The files that a list of them names, one a line, as the first word."""
    try:
        text = read_regular(path, LARGEST_LIST).decode(errors="replace")
    except OSError:
        return []
    words = (line.split() for line in text.splitlines())
    return [found[0] for found in words if found and os.path.isfile(found[0])]


def of_pictures(source, seed=None) -> dict:
    """What a segmentation layer reads: `source` as its `open_source` gives it."""
    paths = sorted({path for name in source.ids for path in source.find(name).values()})
    return {
        "items": len(source.ids),
        "list": hashlib.sha256("\n".join(source.ids).encode()).hexdigest(),
        "seed": seed,
        "files": {os.path.normpath(path): sha256(path) for path in paths},
    }


def sources(layer):
    """The files that a layer's parameters name: of its data, or of its loss's matrix."""
    for field, value in layer.ListFields():
        if field.message_type is None or not field.name.endswith("_param"):
            continue
        for message in value if hasattr(value, "append") else [value]:
            for inner, text in message.ListFields():
                if inner.name in ("source", "mean_file") and os.path.exists(text):
                    yield text


def files_of(message) -> dict[str, str]:
    """{path: SHA-256} of what layers of a NetParameter read besides data, such as the matrix of an
    InfogainLoss."""
    found = {}
    for layer in message.layer:
        if layer.bottom:
            found.update({path: sha256(path) for path in sources(layer)})
    return found
