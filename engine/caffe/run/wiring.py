"""A net's layers and blobs, made of a NetParameter, and which layer reads and makes which blob."""

from __future__ import annotations

import numpy as np

from ..core.blob import Blob
from ..core.graph import filter_layers, insert_splits
from ..core.layer import LayerVec
from ..core.learnable import Learnable
from ..core.vectors import BlobVec, IntVec, RawBlobVec, StringVec
from ..errors import InputError
from ..layers import create
from .needs import find_needs, force_needs

ANONYMOUS = "(automatic)"


class Ids(list):
    """Blob numbers, layer by layer; `ids(i)`, as pycaffe has it, are layer i's."""

    def __call__(self, i: int) -> list[int]:
        if not 0 <= i < len(self):
            raise InputError(f"there is no layer number {i}; the net has {len(self)}")
        return self[i]


class Wiring:
    """The layers in order, each set up and of the shapes that its bottoms have, and the blobs.

    Raises InputError, in one line that begins with `where`, for a net that cannot be built.
    """

    def __init__(self, param, where: str):
        self.where = where
        self.phase: int = param.state.phase
        self.layers = LayerVec()
        self.layer_names = StringVec()
        self.blobs = BlobVec()
        self.blob_names = StringVec()
        self.bottom_ids, self.top_ids = Ids(), Ids()
        self.learnable = Learnable()
        self.inputs = IntVec()
        """The numbers of the blobs that Input layers make."""
        self.blob_needs: list[bool] = []
        """Per blob, whether a parameter that is learned lies below it."""
        self.bottom_needs: list[list[bool]] = []
        """Per layer and bottom, whether backward makes its diff."""
        self.layer_needs: list[bool] = []
        """Per layer, whether it has a backward pass."""
        self._by_name: dict[str, int] = {}
        self._unread: set[str] = set()  # names of blobs made and not read so far
        try:
            param = insert_splits(filter_layers(param))
            for layer_param in param.layer:
                self._add_layer(layer_param)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        find_needs(self)
        if param.force_backward:
            force_needs(self)
        self.outputs = IntVec(self._by_name[name] for name in sorted(self._unread))
        """The numbers of the blobs that no layer reads, by name."""
        self.bottoms = [self._blobs_of(ids) for ids in self.bottom_ids]
        self.tops = [self._blobs_of(ids) for ids in self.top_ids]

    def _add_layer(self, layer_param) -> None:
        if not layer_param.HasField("phase"):
            layer_param.phase = self.phase
        asked = len(layer_param.propagate_down)
        if asked and asked != len(layer_param.bottom):
            raise InputError(
                f"layer '{layer_param.name}': propagate_down is given "
                f"{asked} times for {len(layer_param.bottom)} bottoms"
            )
        layer = create(layer_param, layer_param.phase)
        for proto in layer_param.blobs:
            _add_blob(layer, proto)
        del layer_param.blobs[:]
        bottom_ids = [self._read(layer, name) for name in layer_param.bottom]
        top_ids = [self._add_top(layer, i) for i in range(len(layer_param.top))]
        if layer.auto_tops:
            fewest = max(layer.num_top[0], layer.equal_bottoms_tops * len(bottom_ids))
            while len(top_ids) < fewest:
                top_ids.append(self._add_blob(ANONYMOUS))
        if layer_param.type == "Input":
            self.inputs.extend(top_ids)
        self.layers.append(layer)
        self.layer_names.append(layer_param.name)
        self.bottom_ids.append(bottom_ids)
        self.top_ids.append(top_ids)
        _set_up(layer, self._blobs_of(bottom_ids), self._blobs_of(top_ids))
        self._add_needs(layer, bottom_ids, top_ids)

    def _blobs_of(self, ids: list[int]) -> RawBlobVec:
        return RawBlobVec(self.blobs[i] for i in ids)

    def _read(self, layer, name: str) -> int:
        if name not in self._unread:
            raise layer.fail(f"bottom blob '{name}' is not there or already read")
        self._unread.discard(name)
        return self._by_name[name]

    def _add_top(self, layer, i: int) -> int:
        param = layer.layer_param
        name = param.top[i]
        in_place = i < len(param.bottom) and param.bottom[i] == name
        if not in_place and name in self._by_name:
            raise layer.fail(
                f"top blob '{name}' is made by an earlier layer too; rename one of them"
            )
        if not in_place:
            self._by_name[name] = self._add_blob(name)
        self._unread.add(name)
        return self._by_name[name]

    def _add_blob(self, name: str) -> int:
        self.blobs.append(Blob())
        self.blob_names.append(name)
        self.blob_needs.append(False)
        return len(self.blobs) - 1

    def _add_needs(self, layer, bottom_ids, top_ids) -> None:
        needs = [self.blob_needs[i] for i in bottom_ids]
        rates = self.learnable.add_layer(layer)
        layer.param_propagate_down = [rate != 0 for rate in rates]
        learns = any(layer.param_propagate_down) or any(needs)
        for index in top_ids:
            self.blob_needs[index] = learns
        self.bottom_needs.append(list(layer.layer_param.propagate_down) or needs)
        self.layer_needs.append(learns)


def _add_blob(layer, proto) -> None:
    """Give `layer` a parameter blob of a BlobProto."""
    shape = tuple(proto.shape.dim) if proto.HasField("shape") else None
    if shape is None:
        shape = (proto.num, proto.channels, proto.height, proto.width)
    values = np.array(proto.data or proto.double_data, dtype=np.float32)
    blob = layer.blobs.add_blob(*shape)
    if values.size != blob.count:
        raise layer.fail(f"a blob of shape {shape} is given {values.size} values")
    blob.data[...] = values.reshape(shape)


def _set_up(layer, bottom: RawBlobVec, top: RawBlobVec) -> None:
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
    is_loss = layer.is_loss
    layer._loss_weights = list(given) or [
        1.0 if is_loss and i == 0 else 0.0 for i in range(len(top))
    ]
