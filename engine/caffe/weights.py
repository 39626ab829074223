"""Reading and writing a net's parameters: caffemodel and HDF5."""

from __future__ import annotations

import os

import numpy as np

from .errors import InputError
from .log import WARNING, log
from .proto import caffe_pb2, hdf5, wire
from .proto.encoding import shapes_match


class WeightFiles:
    """The part of Net that copies parameters from files and saves them."""

    def copy_from(self, filename) -> None:
        """Copy the parameters of layers with the same names from a caffemodel (or `.h5`).

        Layers that only one side has are left alone. Raises InputError, with no parameter
        changed, when a layer's blobs differ in number or shape, or the file is broken.
        """
        path = os.fspath(filename)
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file")
        read = hdf5.read_weights_hdf5 if path.endswith(".h5") else wire.read_weights
        copies = []
        for name, _, blobs in read(path):
            if name in self.params and blobs:
                copies.extend(self._match(path, name, blobs))
            elif blobs:
                log(f"Ignoring source layer {name}", where="net.py:1")
        if not copies and self.params:
            log(f"{path}: no layer of this net has parameters there", WARNING, "net.py:1")
        for blob, values in copies:
            blob.data[...] = np.asarray(values, dtype=np.float32).reshape(blob.shape)

    def _match(self, path: str, name: str, blobs: list) -> list:
        targets = self.params[name]
        if len(targets) != len(blobs):
            raise InputError(
                f"{path}: layer '{name}' has {len(blobs)} parameter blobs there, "
                f"{len(targets)} in the net"
            )
        pairs = [(target, blob) for target, blob in zip(targets, blobs) if blob is not None]
        for i, (target, (stored, _)) in enumerate(pairs):
            if not shapes_match(stored, target.shape):
                raise InputError(
                    f"{path}: cannot copy parameter {i} of layer '{name}': shape "
                    f"{tuple(stored)} there, {target.shape} in the net; to train the layer from "
                    "scratch, rename it"
                )
        return [(target, values) for target, (_, values) in pairs]

    def save(self, filename) -> None:
        """Write all parameters as a binary NetParameter (a caffemodel), atomically."""
        net = caffe_pb2.NetParameter(name=self.name)
        for layer in self.layers:
            net.layer.add().CopyFrom(layer.layer_param)
        blobs = [[blob.data for blob in layer.blobs] for layer in self.layers]
        wire.write_net(os.fspath(filename), net, blobs)

    def save_hdf5(self, filename) -> None:
        """Write all parameters as HDF5 (`/data/<layer>/<index>`), atomically."""
        # A shared parameter is written with its owner only.
        own = {id(blob) for blob in self._learnable.blobs}
        blobs = [[b.data if id(b) in own else None for b in la.blobs] for la in self.layers]
        hdf5.write_weights_hdf5(os.fspath(filename), list(zip(self._layer_names, blobs)))

    def load_hdf5(self, filename) -> None:
        """Copy parameters from HDF5; as `copy_from`."""
        path = os.fspath(filename)
        if not path.endswith(".h5"):
            raise InputError(f"{path}: an HDF5 file of weights ends in .h5")
        self.copy_from(path)
