"""Reading and writing a net's parameters: caffemodel and HDF5."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ..log import WARNING, log
from ..proto import caffe_pb2, hdf5, not_utf8, wire
from ..proto.encoding import shapes_match
from .layer import BlobVec, Layer
from .learnable import Learnable


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


class WeightFiles:
    """The part of Net that copies parameters from files and saves them."""

    name: str
    layers: list[Layer]
    params: dict[str, BlobVec]
    _layer_names: list[str]
    _learnable: Learnable
    _layer_blobs: Callable[[str], BlobVec]

    def copy_from(self, filename) -> None:
        """Copy the parameters of layers with the same names from a caffemodel (or `.h5`).

        Layers that only one side has are left alone. Raises InputError, with no parameter
        changed, when a layer's blobs differ in number or shape, or the file is broken.
        """
        path = not_utf8.path(filename)
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file")
        if path.endswith(".h5"):
            layers = hdf5.read_weights_hdf5(path)
        else:
            layers = wire.read_weights(path, self._layer_names)
        own = {id(blob) for blob in self._learnable.blobs}
        copies = []
        for name, _, blobs in layers:
            if name not in self._layer_names:
                if blobs:
                    log(f"Ignoring source layer {name}", where="net.py:1")
                continue
            targets = self._layer_blobs(name)
            if path.endswith(".h5"):  # leaves a shared parameter to its owner
                blobs = _without_shared(blobs, targets, own)
            copies.extend(_match(path, name, blobs, targets))
        if not copies and self.params:
            log(f"{path}: no layer of this net has parameters there", WARNING, "net.py:1")
        for blob, values in copies:
            blob.data[...] = np.asarray(values, dtype=np.float32).reshape(blob.shape)

    def save(self, filename, diffs: bool = False) -> None:
        """Write all parameters, with their diffs if asked, as a caffemodel, atomically."""
        net = caffe_pb2.NetParameter(name=self.name)
        for layer in self.layers:
            net.layer.add().CopyFrom(layer.layer_param)
        data = [[blob.peek() for blob in layer.blobs] for layer in self.layers]
        diff = (
            [[blob.peek_diff() for blob in layer.blobs] for layer in self.layers] if diffs else None
        )
        wire.write_net(os.fspath(filename), net, data, diff)

    def save_hdf5(self, filename, diffs: bool = False) -> None:
        """Write all parameters, with their diffs if asked, as HDF5 (`/data/<layer>/<index>`),
        atomically. A shared parameter is written with its owner only."""
        own = {id(blob) for blob in self._learnable.blobs}
        owned = [[b if id(b) in own else None for b in layer.blobs] for layer in self.layers]

        def named(attribute):
            arrays = [[b and getattr(b, attribute)() for b in blobs] for blobs in owned]
            return list(zip(self._layer_names, arrays))

        diff = named("peek_diff") if diffs else ()
        hdf5.write_weights_hdf5(os.fspath(filename), named("peek"), diff)

    def load_hdf5(self, filename) -> None:
        """Copy parameters from HDF5; as `copy_from`."""
        path = os.fspath(filename)
        if not path.endswith(".h5"):
            raise InputError(f"{path}: an HDF5 file of weights ends in .h5")
        self.copy_from(path)
