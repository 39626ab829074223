"""What pycaffe's Net shows of its inside, for scripts that look there."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InputError
from .vectors import DtypeVec


class Ids(list):
    """Blob numbers, layer by layer; `ids(i)`, as pycaffe has it, are layer i's."""

    def __call__(self, i: int) -> list[int]:
        if not 0 <= i < len(self):
            raise InputError(f"there is no layer number {i}; the net has {len(self)}")
        return self[i]


class _IdsAttribute:
    """An attribute whose list becomes `Ids`."""

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, net, owner=None):
        return self if net is None else net.__dict__[self._name]

    def __set__(self, net, value):
        net.__dict__[self._name] = Ids(value)


class Internals:
    """The part of Net that is pycaffe's, under its names with an underscore."""

    blob_loss_weights: dict[str, float]
    set_input_arrays: Callable
    _batches: Callable
    _bottom_ids = _IdsAttribute()
    _top_ids = _IdsAttribute()

    @property
    def _blob_loss_weights(self) -> DtypeVec:
        return DtypeVec(self.blob_loss_weights.values())

    def _set_input_arrays(self, data, labels) -> None:
        self.set_input_arrays(data, labels)

    def _batch(self, blobs: dict):
        """Batches of the net's size of arrays by name, the last one filled up with zeros."""
        for batch, _ in self._batches(blobs):
            yield batch
