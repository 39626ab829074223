"""Net: layers wired by blob names, run forward and backward."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict

import numpy as np

from . import settings
from .core import weights as _weights
from .core.blob import Blob
from .core.layer import TEST, TRAIN
from .core.vectors import DtypeVec, Vector, read_only
from .errors import InputError
from .layers.python import as_users_see
from .proto import text
from .run import batches
from .run.debug_info import set_debug_info
from .run.passes import Passes
from .run.plan import Plan
from .run.wiring import Wiring


def _wrong_call(network_file, args, phase, weights) -> str:
    """What is wrong with these arguments of Net."""
    if args:
        return "Net(network_file, phase, level=0, stages=None, weights=None) takes no more"
    if str(weights).upper() in ("TRAIN", "TEST"):
        return f"Net's phase is caffe.{str(weights).upper()}, not the text '{weights}'"
    if phase is None:
        given = f", weights='{os.fspath(weights)}'" if weights is not None else ""
        return f"Net needs a phase: Net('{network_file}', caffe.TEST{given}), or caffe.TRAIN"
    return f"Net's phase is caffe.TRAIN or caffe.TEST, not {phase!r}"


@read_only(
    "blobs", "params", "layers", "layer_dict", "inputs", "outputs", "bottom_names", "top_names",
    "blob_loss_weights", "_blobs", "_blob_names", "_layer_names", "_inputs", "_outputs",
    "_bottom_ids", "_top_ids",
)  # fmt: skip
class Net:
    """A net from a prototxt, with pycaffe's interface.

    Net(network_file, phase, level=0, stages=None, weights=None)
    Net(network_file, weights, phase)                          (older form)

    Attributes: `blobs` (name -> Blob), `params` (layer name -> list of Blob), `layers`,
    `layer_dict`, `inputs`, `outputs`, `bottom_names`, `top_names`, `blob_loss_weights`.

    Raises InputError, in one line, for a net that cannot be built.
    """

    def __init__(self, network_file, *args, level=0, stages=None, weights=None, phase=None):
        if args and isinstance(args[0], (str, os.PathLike)):
            warnings.warn(
                "Net(file, weights, phase) is the older form; use weights=", DeprecationWarning, 2
            )
            weights, args = args[0], args[1:]
        if args:
            phase, args = args[0], args[1:]
        if args:
            level, args = args[0], args[1:]
        if args:
            stages, args = args[0], args[1:]
        if args:
            weights, args = args[0], args[1:]
        if args or phase not in (TRAIN, TEST):
            raise TypeError(_wrong_call(network_file, args, phase, weights))
        param = text.read_net(network_file)
        param.state.phase = phase
        param.state.level = level
        param.state.stage.extend(stages or [])
        self._build(param, str(network_file))
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def from_param(cls, param, where: str = "net") -> Net:
        """A net from a NetParameter whose `state` is set; `where` names it in errors."""
        net = cls.__new__(cls)
        net._build(param, where)
        return net

    def _build(self, param, where: str) -> None:
        wiring = Wiring(param, where)
        self.name = param.name
        self.phase = wiring.phase
        self.layers = as_users_see(wiring.layers)
        self._where = where
        self._wiring = wiring
        self._learnable = wiring.learnable
        measured = settings.folding() == settings.MEASURED
        self._plan = Plan(wiring, settings.lean(), bool(settings.folding()), measured)
        self._passes = Passes(self._plan, self.phase)
        self._make_views()
        set_debug_info(self, param.debug_info)

    def _make_views(self) -> None:
        """pycaffe's attributes; those with an underscore are for scripts that look there."""
        wiring = self._wiring
        self._blobs, self._blob_names = wiring.blobs, wiring.blob_names
        self._layer_names = wiring.layer_names
        self._bottom_ids, self._top_ids = wiring.bottom_ids, wiring.top_ids
        self._inputs, self._outputs = wiring.inputs, wiring.outputs
        names, layers = self._blob_names, list(zip(self._layer_names, self.layers))
        self.blobs: OrderedDict[str, Blob] = OrderedDict(zip(names, self._blobs))
        self.layer_dict = OrderedDict(layers)
        self.params = OrderedDict((name, layer.blobs) for name, layer in layers if layer.blobs)
        self.inputs = [names[i] for i in self._inputs]
        self.outputs = [names[i] for i in self._outputs]
        self.bottom_names, self.top_names = (
            OrderedDict((name, [names[i] for i in ids]) for (name, _), ids in zip(layers, numbers))
            for numbers in (self._bottom_ids, self._top_ids)
        )
        weights = [0.0] * len(self._blobs)
        for layer, ids in zip(wiring.layers, self._top_ids):
            for i, weight in zip(ids, layer._loss_weights):
                weights[i] = weight
        self.blob_loss_weights = OrderedDict(zip(names, weights))

    @property
    def _blob_loss_weights(self) -> DtypeVec:
        return DtypeVec(self.blob_loss_weights.values())

    # -- running --------------------------------------------------------------------------

    def reshape(self) -> None:
        """Carry the input blobs' present shapes through all layers."""
        wiring = self._wiring
        for layer, bottom, top in zip(wiring.layers, wiring.bottoms, wiring.tops):
            layer.reshape(bottom, top)

    def _index(self, layer_name: str) -> int:
        try:
            return self._layer_names.index(layer_name)
        except ValueError:
            raise InputError(f"{self._where}: no layer '{layer_name}'") from None

    def _assign(self, arrays: dict, names: list[str], attribute: str, what: str) -> None:
        if set(arrays) != set(names):
            raise ValueError(f"{what} do not match the net's: {sorted(arrays)} for {names}")
        for name, array in arrays.items():
            target = getattr(self.blobs[name], attribute)
            if np.shape(array)[:1] != target.shape[:1]:
                raise ValueError(f"'{name}' is not of the batch size {target.shape[:1]}")
            target[...] = array

    def forward(self, blobs=None, start=None, end=None, **kwargs) -> dict[str, np.ndarray]:
        """Run forward, wholly or between two named layers (both included).

        Keywords are arrays for the input blobs. Returns {name: data view} of the net's outputs
        (with `end`: of that layer's tops) and of the blobs named in `blobs`.
        """
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        wanted = self.outputs if end is None else self.top_names[end]
        if kwargs:
            self._assign(kwargs, self.inputs, "data", "input blob arguments")
        self._passes.forward(first, last)
        return {name: self.blobs[name].data for name in [*wanted, *(blobs or [])]}

    def backward(self, diffs=None, start=None, end=None, **kwargs) -> dict[str, np.ndarray]:
        """Run backward, wholly or from layer `start` down to layer `end` (both included).

        Keywords are arrays for the output blobs' diffs. Returns {name: diff view} of the inputs
        (with `end`: of that layer's bottoms) and of the blobs named in `diffs`.
        """
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        wanted = self.inputs if end is None else self.bottom_names[end]
        if kwargs:
            self._assign(kwargs, self.outputs, "diff", "top diff arguments")
        self._passes.backward(first, last)
        return {name: self.blobs[name].diff for name in [*wanted, *(diffs or [])]}

    def _forward(self, start: int, end: int) -> float:
        """Run layers number start to end (both included); return the weighted sum of their
        losses."""
        return float(self._passes.forward(start, end))

    def _backward(self, start: int, end: int) -> None:
        """Run backward through layers number start down to end (both included)."""
        self._passes.backward(start, end)

    def forward_all(self, blobs=None, **kwargs) -> dict[str, np.ndarray]:
        """`forward` over any number of inputs, batch by batch; returns whole arrays."""
        return batches.forward_all(self, blobs, kwargs)

    def forward_backward_all(self, blobs=None, diffs=None, **kwargs):
        """`forward` and `backward` over any number of inputs (and output diffs), by batches."""
        return batches.forward_backward_all(self, blobs, diffs, kwargs)

    def _batch(self, blobs: dict):
        """Batches of the net's size of arrays by name, the last one filled up with zeros."""
        for batch, _ in batches.split(self, blobs):
            yield batch

    def before_forward(self, callback) -> None:
        """Call `callback(layer index)` before each layer's forward."""
        self._passes.callbacks["before_forward"].append(callback)

    def after_forward(self, callback) -> None:
        self._passes.callbacks["after_forward"].append(callback)

    def before_backward(self, callback) -> None:
        self._passes.callbacks["before_backward"].append(callback)

    def after_backward(self, callback) -> None:
        self._passes.callbacks["after_backward"].append(callback)

    # -- parameters and data --------------------------------------------------------------

    def clear_param_diffs(self) -> None:
        """Zero the diffs of all learnable parameters."""
        for blob in self._learnable.blobs:
            blob.clear_diff()

    def share_with(self, other: Net) -> None:
        """Use the parameter memory of `other`'s layers of the same names from now on."""
        _weights.share(self._wiring.layers, other._wiring.layers, self._where)

    def copy_from(self, filename) -> None:
        """Copy the parameters of layers with the same names from a caffemodel, or an HDF5 file:
        its first bytes say which.

        Layers that only one side has are left alone. Of several layers of one name, the first
        gets what a caffemodel has for any of them, and each its own from HDF5. Raises InputError,
        with no parameter changed, when a layer's blobs differ in number or shape, or the file is
        broken.
        """
        _weights.load(self._wiring.layers, self._learnable, filename)

    def load_hdf5(self, filename) -> None:
        """Copy parameters from HDF5, whatever the file's name; as `copy_from`."""
        _weights.load_hdf5(self._wiring.layers, self._learnable, filename)

    def save(self, filename, diffs: bool = False) -> None:
        """Write all parameters, with their diffs if asked, as a caffemodel, atomically."""
        _weights.save(self.name, self._wiring.layers, filename, diffs)

    def save_hdf5(self, filename, diffs: bool = False) -> None:
        """Write all parameters, with their diffs if asked, as HDF5 (`/data/<layer>/<index>`),
        atomically. A shared parameter is written with its owner only."""
        _weights.save_hdf5(self._wiring.layers, self._learnable, filename, diffs)

    def set_input_arrays(self, data, labels) -> None:
        """Give a MemoryData net its arrays."""
        layer = self.layers[0]
        if not hasattr(layer, "set_arrays"):
            raise InputError(f"{self._where}: the first layer is no MemoryData layer")
        layer.set_arrays(data, labels)

    def _set_input_arrays(self, data, labels) -> None:
        self.set_input_arrays(data, labels)


class NetVec(Vector):
    """Nets: a solver's test nets."""

    _kind = Net
