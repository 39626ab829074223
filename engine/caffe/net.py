"""Net: layers wired by blob names, run forward and backward."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict

import numpy as np

from . import settings
from .core.blob import Blob
from .core.graph import filter_layers, insert_splits
from .core.internals import Internals
from .core.layer import TEST, TRAIN, BlobVec, Layer
from .core.learnable import Learnable
from .core.weights import WeightFiles
from .errors import InputError
from .layers import create
from .proto import text
from .run.batches import Batches
from .run.debug_info import set_debug_info
from .run.passes import Passes
from .run.plan import Plan

ANONYMOUS = "(automatic)"


def _shapes(blobs) -> str:
    return " and ".join(str(tuple(blob.shape)) for blob in blobs) or "none"


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


class Net(Passes, Internals, WeightFiles, Batches):
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

    # -- construction ---------------------------------------------------------------------

    def _build(self, param, where: str) -> None:
        try:
            param = insert_splits(filter_layers(param))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        self._where = where
        self.name = param.name
        self.phase = param.state.phase
        self.layers: list[Layer] = []
        self._layer_names: list[str] = []
        self._blobs: list[Blob] = []
        self._blob_names: list[str] = []
        self._blob_needs_backward: list[bool] = []
        self._bottom_ids: list[list[int]] = []
        self._top_ids: list[list[int]] = []
        self._bottom_needs: list[list[bool]] = []
        self._layer_needs: list[bool] = []
        self._inputs: list[int] = []
        self._by_name: dict[str, int] = {}
        self._loss_filled: dict[tuple[int, int], tuple] = {}  # (layer, top) -> diff memory, count
        self._learnable = Learnable()
        self._callbacks: dict[str, list] = {
            key: []
            for key in ("before_forward", "after_forward", "before_backward", "after_backward")
        }
        unread: set[str] = set()  # blobs made and not read so far
        for layer_param in param.layer:
            try:
                self._add_layer(layer_param, unread)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
        self._find_backward_needs()
        if param.force_backward:
            self._force_backward()
        self._outputs = [self._by_name[name] for name in sorted(unread)]
        self._bottoms = [[self._blobs[i] for i in ids] for ids in self._bottom_ids]
        self._tops = [[self._blobs[i] for i in ids] for ids in self._top_ids]
        self._make_views()
        measured = settings.folding() == settings.MEASURED
        self._plan = Plan(self, settings.lean(), bool(settings.folding()), measured)
        set_debug_info(self, param.debug_info)

    def _add_layer(self, layer_param, unread: set[str]) -> None:
        if not layer_param.HasField("phase"):
            layer_param.phase = self.phase
        if layer_param.propagate_down and len(layer_param.propagate_down) != len(
            layer_param.bottom
        ):
            raise InputError(
                f"layer '{layer_param.name}': propagate_down is given "
                f"{len(layer_param.propagate_down)} times for {len(layer_param.bottom)} bottoms"
            )
        layer = create(layer_param, layer_param.phase)
        for proto in layer_param.blobs:
            self._blob_from_proto(layer, proto)
        del layer_param.blobs[:]
        bottom_ids, needs, needs_backward = [], [], False
        for i, name in enumerate(layer_param.bottom):
            if name not in unread:
                raise layer.fail(f"bottom blob '{name}' is not there or already read")
            index = self._by_name[name]
            bottom_ids.append(index)
            unread.discard(name)
            need = self._blob_needs_backward[index]
            needs_backward |= need
            if layer_param.propagate_down:
                need = layer_param.propagate_down[i]
            needs.append(need)
        top_ids = [self._add_top(layer, i, unread) for i in range(len(layer_param.top))]
        if layer.auto_tops:
            while len(top_ids) < max(layer.num_top[0], layer.equal_bottoms_tops * len(bottom_ids)):
                top_ids.append(self._new_blob(ANONYMOUS))
        if layer_param.type == "Input":
            self._inputs.extend(top_ids)
        self.layers.append(layer)
        self._layer_names.append(layer_param.name)
        self._bottom_ids.append(bottom_ids)
        self._top_ids.append(top_ids)
        self._set_up(layer, bottom_ids, top_ids)
        specs = self._learnable.add_layer(layer)
        needs_backward |= any(lr != 0 for lr in specs)
        layer.param_propagate_down = [lr != 0 for lr in specs]
        for index in top_ids:
            self._blob_needs_backward[index] = needs_backward
        self._bottom_needs.append(needs)
        self._layer_needs.append(needs_backward)

    def _blob_from_proto(self, layer, proto) -> None:
        shape = tuple(proto.shape.dim) if proto.HasField("shape") else None
        if shape is None:
            shape = (proto.num, proto.channels, proto.height, proto.width)
        values = np.array(proto.data or proto.double_data, dtype=np.float32)
        blob = layer.blobs.add_blob(*shape)
        if values.size != blob.count:
            raise layer.fail(f"a blob of shape {shape} is given {values.size} values")
        blob.data[...] = values.reshape(shape)

    def _new_blob(self, name: str) -> int:
        self._blobs.append(Blob())
        self._blob_names.append(name)
        self._blob_needs_backward.append(False)
        return len(self._blobs) - 1

    def _add_top(self, layer, i: int, unread: set[str]) -> int:
        param = layer.layer_param
        name = param.top[i]
        if i < len(param.bottom) and param.bottom[i] == name:  # in place
            unread.add(name)
            return self._by_name[name]
        if name in self._by_name:
            raise layer.fail(
                f"top blob '{name}' is made by an earlier layer too; rename one of them"
            )
        self._by_name[name] = self._new_blob(name)
        unread.add(name)
        return self._by_name[name]

    def _set_up(self, layer, bottom_ids, top_ids) -> None:
        bottom = [self._blobs[i] for i in bottom_ids]
        top = [self._blobs[i] for i in top_ids]
        for what, blobs, (least, most) in (
            ("bottom", bottom, layer.num_bottom),
            ("top", top, layer.num_top),
        ):
            if len(blobs) < least or (most is not None and len(blobs) > most):
                wanted = str(least) if least == most else f"{least} to {most or 'any number'}"
                raise layer.fail(f"takes {wanted} {what} blobs, is given {len(blobs)}")
        if layer.equal_bottoms_tops and len(bottom) != len(top):
            raise layer.fail(f"takes as many tops as bottoms, not {len(top)} for {len(bottom)}")
        layer.setup(bottom, top)
        layer.reshape(bottom, top)
        given = layer.layer_param.loss_weight
        if given and len(given) != len(top):
            raise layer.fail(f"loss_weight is given {len(given)} times for {len(top)} tops")
        weights = list(given) or [1.0 if layer.is_loss and i == 0 else 0.0 for i in range(len(top))]
        layer.loss_weights = weights
        for i, (blob, weight) in enumerate(zip(top, weights)):
            if weight:
                self._fill_loss_weight(len(self.layers) - 1, i, blob, weight)

    def _find_backward_needs(self) -> None:
        """Leave out of backward what no loss depends on and what no parameter asks for."""
        under_loss: set[int] = set()
        skipped: set[int] = set()
        for i in reversed(range(len(self.layers))):
            weights = self.layers[i].loss_weights
            tops = self._top_ids[i]
            contributes, skip = False, True
            for top, weight in zip(tops, weights):
                contributes |= bool(weight) or top in under_loss
                skip &= top in skipped
            if self._layer_needs[i] and skip:
                self._layer_needs[i] = False
                self._bottom_needs[i] = [False] * len(self._bottom_ids[i])
            if not contributes:
                self._layer_needs[i] = False
            for j, bottom in enumerate(self._bottom_ids[i]):
                if contributes:
                    under_loss.add(bottom)
                else:
                    self._bottom_needs[i][j] = False
                if not self._bottom_needs[i][j]:
                    skipped.add(bottom)

    def _force_backward(self) -> None:
        for i, layer in enumerate(self.layers):
            self._layer_needs[i] = True
            allowed = layer.allow_force_backward
            for j, bottom in enumerate(self._bottom_ids[i]):
                if j >= len(allowed) or allowed[j]:
                    self._bottom_needs[i][j] = True
                if self._bottom_needs[i][j]:
                    self._blob_needs_backward[bottom] = True
            layer.param_propagate_down = [True] * len(layer.blobs)

    def _make_views(self) -> None:
        names = self._blob_names
        self.blobs = OrderedDict(zip(names, self._blobs))
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers))
        self.params = OrderedDict(
            (name, layer.blobs)
            for name, layer in zip(self._layer_names, self.layers)
            if layer.blobs
        )
        self.inputs = [names[i] for i in self._inputs]
        self.outputs = [names[i] for i in self._outputs]
        self.bottom_names = OrderedDict(
            (name, [names[i] for i in ids])
            for name, ids in zip(self._layer_names, self._bottom_ids)
        )
        self.top_names = OrderedDict(
            (name, [names[i] for i in ids]) for name, ids in zip(self._layer_names, self._top_ids)
        )
        weights = [0.0] * len(self._blobs)
        for layer, ids in zip(self.layers, self._top_ids):
            for i, weight in zip(ids, layer.loss_weights):
                weights[i] = weight
        self.blob_loss_weights = OrderedDict(zip(names, weights))

    # -- running --------------------------------------------------------------------------

    def reshape(self) -> None:
        """Carry the input blobs' present shapes through all layers."""
        for layer, bottom, top in zip(self.layers, self._bottoms, self._tops):
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
        self._forward_unread(first, last)
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
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in [*wanted, *(diffs or [])]}

    def clear_param_diffs(self) -> None:
        """Zero the diffs of all learnable parameters."""
        for blob in self._learnable.blobs:
            blob.clear_diff()

    def share_with(self, other: Net) -> None:
        """Use the parameter memory of `other`'s layers of the same names from now on."""
        pairs: list[tuple[Blob, Blob]] = []
        for name, layer in zip(other._layer_names, other.layers):
            if name not in self._layer_names:
                continue
            mine, theirs = self._layer_blobs(name), layer.blobs
            if [blob.shape for blob in mine] != [blob.shape for blob in theirs]:
                raise InputError(
                    f"{self._where}: layer '{name}': cannot share parameters of shapes "
                    f"{_shapes(theirs)} there, {_shapes(mine)} here"
                )
            pairs += zip(mine, theirs)
        for blob, other_blob in pairs:
            blob.share_data(other_blob)

    def _layer_blobs(self, name: str) -> BlobVec:
        """The parameter blobs of the first layer of this name, as Caffe looks layers up."""
        return self.layers[self._layer_names.index(name)].blobs

    def set_input_arrays(self, data, labels) -> None:
        """Give a MemoryData net its arrays."""
        layer = self.layers[0]
        if not hasattr(layer, "set_arrays"):
            raise InputError(f"{self._where}: the first layer is no MemoryData layer")
        layer.set_arrays(data, labels)
