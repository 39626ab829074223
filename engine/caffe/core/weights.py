"""Reading, writing and sharing a net's parameters: caffemodel and HDF5."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np

from ..errors import InputError
from ..log import WARNING, log
from ..proto import caffe_pb2, hdf5, not_utf8, wire
from ..proto.encoding import shapes_match
from ..proto.hdf5_checks import is_hdf5
from .blob import Blob
from .layer import Layer
from .learnable import Learnable
from .vectors import BlobVec


def _without_shared(blobs: list, targets: list, own: set) -> list:
    """`blobs` with None for each of `targets` that the file leaves out and another layer owns."""
    filled = [*blobs, *[None] * (len(targets) - len(blobs))]
    if any(b is None and id(target) in own for b, target in zip(filled, targets)):
        return [blob for blob in blobs if blob is not None]  # incomplete
    return filled


def _match(path: str, name: str, blobs: list, targets: list) -> list:
    """Pairs (parameter blob, array for it); InputError where number or shape differ."""
    if len(targets) != len(blobs):
        raise InputError(
            f"{path}: layer '{name}' has {len(blobs)} parameter blobs there, "
            f"{len(targets)} in the net"
        )
    pairs = []
    for i, (target, blob) in enumerate(zip(targets, blobs)):
        if blob is None:
            continue
        stored, values = blob
        if not shapes_match(stored, target.shape):
            raise InputError(
                f"{path}: cannot copy parameter {i} of layer '{name}': shape "
                f"{tuple(stored)} there, {target.shape} in the net: are these the weights of "
                "another net or data set? (To train the layer from scratch, rename it)"
            )
        pairs.append((target, values))
    return pairs


def _parameters(layers: list[Layer]) -> dict[str, BlobVec]:
    """The parameter blobs of the first layer of each name, as Caffe looks layers up."""
    found: dict[str, BlobVec] = {}
    for layer in layers:
        found.setdefault(layer.layer_param.name, layer.blobs)
    return found


def read_weights(path) -> list[wire.LayerWeights]:
    """The layers of a caffemodel or an HDF5 file of weights: (name, type, [(shape, array)]), as
    `wire.read_weights` and `hdf5.read_weights_hdf5` give them."""
    return (hdf5.read_weights_hdf5 if is_hdf5(path) else wire.read_weights)(path)


def load(layers: list[Layer], learnable: Learnable, filename) -> list[Blob]:
    """Copy the parameters of layers with the same names from a caffemodel, or an HDF5 file: its
    first bytes say which. Returns the blobs that were filled.

    Layers that only one side has are left alone. Of several layers of one name, the first gets
    what a caffemodel has for any of them, and each its own from HDF5. Raises InputError, with no
    parameter changed, when a layer's blobs differ in number or shape, or the file is broken.
    """
    path = not_utf8.path(filename)
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file")
    if is_hdf5(path):
        return load_hdf5(layers, learnable, path)
    parameters = _parameters(layers)
    stored = (
        (name, blobs, parameters.get(name))
        for name, _, blobs in wire.read_weights(path, parameters)
    )
    return _copy(path, stored, any(parameters.values()))


def load_hdf5(layers: list[Layer], learnable: Learnable, filename) -> list[Blob]:
    """`load`, from HDF5 only, whatever the file's name."""
    path = os.fspath(filename)
    own = {id(blob) for blob in learnable.blobs}
    met: Counter = Counter()
    found = []
    stored = hdf5.read_weights_hdf5(path)
    with_blobs = {name for name, _, blobs in stored if blobs}
    for name, _, blobs in stored:
        if not blobs and name in with_blobs:
            continue  # another layer of the name is meant
        targets = _targets(layers, name, met[name])
        met[name] += bool(blobs)
        if targets is not None:  # a shared parameter is left to its owner
            blobs = _without_shared(blobs, targets, own)
        found.append((name, blobs, targets))
    return _copy(path, found, any(layer.blobs for layer in layers))


def _targets(layers: list[Layer], name: str, number: int) -> BlobVec | None:
    """The parameter blobs of the `number`th layer of this name that has any; None if no layer is
    it. (The first one is the first of the name even if it has none.)"""
    named = [layer.blobs for layer in layers if layer.layer_param.name == name]
    with_blobs = [blobs for blobs in named if blobs]
    if number < len(with_blobs):
        return with_blobs[number]
    return named[0] if named and not number else None


def _copy(path: str, found, wanted: bool) -> list[Blob]:
    """Copy what was `found`: (layer name, blobs of the file, parameter blobs or None). `wanted`:
    the net has parameters. Returns the blobs that were filled."""
    copies = []
    for name, blobs, targets in found:
        if targets is not None:
            copies.extend(_match(path, name, blobs, targets))
        elif blobs:
            log(f"Ignoring source layer {name}", where="net.py:1")
    if not copies and wanted:
        log(f"{path}: no layer of this net has parameters there", WARNING, "net.py:1")
    for blob, values in copies:
        blob.data[...] = np.asarray(values, dtype=np.float32).reshape(blob.shape)
    return [blob for blob, _ in copies]


def save(name: str, layers: list[Layer], filename, diffs: bool = False) -> None:
    """Write all parameters of the net `name`, with their diffs if asked, as a caffemodel,
    atomically."""
    net = caffe_pb2.NetParameter(name=name)
    for layer in layers:
        net.layer.add().CopyFrom(layer.layer_param)
    data = [[blob.peek() for blob in layer.blobs] for layer in layers]
    diff = [[blob.peek_diff() for blob in layer.blobs] for layer in layers] if diffs else None
    wire.write_net(os.fspath(filename), net, data, diff)


def save_hdf5(layers: list[Layer], learnable: Learnable, filename, diffs: bool = False) -> None:
    """Write all parameters, with their diffs if asked, as HDF5 (`/data/<layer>/<index>`),
    atomically. A shared parameter is written with its owner only."""
    own = {id(blob) for blob in learnable.blobs}

    def named(attribute):
        return [
            (
                layer.layer_param.name,
                [getattr(b, attribute)() if id(b) in own else None for b in layer.blobs],
            )
            for layer in layers
        ]

    diff = named("peek_diff") if diffs else ()
    hdf5.write_weights_hdf5(os.fspath(filename), named("peek"), diff)


def share(layers: list[Layer], others: list[Layer], where: str) -> None:
    """Let `layers` use the parameter memory of the `others` of the same names from now on.
    InputError that begins with `where`, with nothing shared, for other shapes."""
    parameters = _parameters(layers)
    pairs: list[tuple[Blob, Blob]] = []
    for layer in others:
        name, theirs = layer.layer_param.name, layer.blobs
        mine = parameters.get(name)
        if mine is None:
            continue
        if [blob.shape for blob in mine] != [blob.shape for blob in theirs]:
            raise InputError(
                f"{where}: layer '{name}': cannot share parameters of shapes "
                f"{_shapes(theirs)} there, {_shapes(mine)} here"
            )
        pairs += zip(mine, theirs)
    for blob, other in pairs:
        blob.share_data(other)


def _shapes(blobs) -> str:
    return " and ".join(str(tuple(blob.shape)) for blob in blobs) or "none"
