"""pycaffe's lists: each takes items of its own kind only, at once and not when they are used."""

from __future__ import annotations

import numbers
from collections.abc import Iterable

import numpy as np

from .blob import Blob


class Vector(list):
    """A list of items of one kind. TypeError for any other."""

    _kind: type | tuple[type, ...] = object
    _hint = ""

    def __init__(self, items: Iterable = ()):
        super().__init__(self._checked(item) for item in items)

    def _checked(self, item):
        if not isinstance(item, self._kind):
            raise TypeError(f"{type(self).__name__} takes no {type(item).__name__}{self._hint}")
        return item

    def __contains__(self, item):
        return isinstance(item, self._kind) and super().__contains__(item)

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            items = [value] if isinstance(value, self._kind) else value
            value = [self._checked(item) for item in items]
        else:
            self._checked(value)
        super().__setitem__(index, value)

    def __iadd__(self, items):  # type: ignore[misc]
        self.extend(items)
        return self

    def append(self, item) -> None:
        super().append(self._checked(item))

    def extend(self, items) -> None:
        super().extend([self._checked(item) for item in items])

    def insert(self, index, item) -> None:
        super().insert(index, self._checked(item))


class RawBlobVec(Vector):
    """The bottoms, or tops, of a layer."""

    _kind = Blob
    _hint = "; to set a blob's numbers: top[0].data[...] = array"


class BlobVec(Vector):
    """Blobs: a layer's parameters, to which `add_blob` adds one."""

    _kind = Blob
    _hint = "; to set a parameter's numbers: net.params['name'][0].data[...] = array"

    def add_blob(self, *shape: int) -> Blob:
        """Add a blob of this shape, and return it."""
        blob = Blob(*shape)
        self.append(blob)
        return blob


class IntVec(Vector):
    """Whole numbers: the numbers of a net's blobs."""

    _kind = numbers.Integral


class DtypeVec(Vector):
    """Numbers: the loss weights of a net's blobs."""

    _kind = (numbers.Real, np.floating)


class BoolVec(Vector):
    """Truth values."""

    _kind = (numbers.Integral, np.bool_)


class StringVec(Vector):
    """Names."""

    _kind = str


class ReadOnly:
    """An attribute that is set once, when the object is made, as pycaffe's are properties."""

    def __set_name__(self, owner, name: str) -> None:
        self._name = name

    def __get__(self, one, owner=None):
        if one is None:
            return self
        try:
            return one.__dict__[self._name]
        except KeyError:
            raise AttributeError(f"{type(one).__name__} has no '{self._name}' yet") from None

    def __set__(self, one, value) -> None:
        if self._name in one.__dict__:
            raise AttributeError(f"'{self._name}' of {type(one).__name__} cannot be set")
        one.__dict__[self._name] = value


def read_only(*names: str):
    """A decorator of classes: makes attributes of these names ReadOnly."""

    def mark(owner):
        for name in names:
            attribute = ReadOnly()
            attribute.__set_name__(owner, name)
            setattr(owner, name, attribute)
        return owner

    return mark
