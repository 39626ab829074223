"""Which message a protobuf file holds: its fields' numbers and wire types say it.

No file of Caffe's says by itself what it is, but no two of its messages use their first numbers
alike.
"""

from __future__ import annotations

from typing import NamedTuple

from caffe.proto import caffe_pb2
from caffe.proto.encoding import BYTES, FIXED32, FIXED64, VARINT, Damaged, Field, field_at

ONNX, TENSORFLOW = "ONNX", "TensorFlow"
_MOST_FIELDS = 64  # that are looked at


def _own_fields(message: str, *others: str) -> set[str]:
    def names(one):
        return {field.name for field in getattr(caffe_pb2, one).DESCRIPTOR.fields}

    return names(message).difference(*map(names, others))


# Fields that tell a solver's prototxt from a net's.
TEXT_FIELDS = {
    "net prototxt": _own_fields("NetParameter", "SolverParameter"),
    "solver prototxt": _own_fields("SolverParameter", "NetParameter"),
}

_NUMBERS32, _NUMBERS64 = (BYTES, FIXED32), (BYTES, FIXED64)
_FORKS = 26  # from here on, numbers of a caffemodel's fields may be any other Caffe's


class _Message(NamedTuple):
    kinds: dict[int, tuple[int, ...]]
    """Each field's wire types."""
    some: tuple[int, ...]
    """Fields of which one has to be there."""
    all: tuple[int, ...] = ()
    """Fields that have to be there."""


_MESSAGES = {
    ONNX: _Message(
        {1: (VARINT,), 2: (BYTES,), 3: (BYTES,), 4: (BYTES,), 5: (VARINT,), 6: (BYTES,),
         7: (BYTES,), 8: (BYTES,), 14: (BYTES,), 20: (BYTES,), 25: (BYTES,)},
        (7,),
        (1,),
    ),
    "BlobProto": _Message(
        {1: (VARINT,), 2: (VARINT,), 3: (VARINT,), 4: (VARINT,), 5: _NUMBERS32, 6: _NUMBERS32,
         7: (BYTES,), 8: _NUMBERS64, 9: _NUMBERS64, 10: (VARINT,), 11: (VARINT,), 12: (BYTES,),
         13: (BYTES,)},
        (5, 8, 12),
    ),
    "Datum": _Message(
        {1: (VARINT,), 2: (VARINT,), 3: (VARINT,), 4: (BYTES,), 5: (VARINT,), 6: _NUMBERS32,
         7: (VARINT,)},
        (4, 6),
    ),
    "solverstate": _Message(
        {1: (VARINT,), 2: (BYTES,), 3: (BYTES,), 4: (VARINT,)}, (2, 3), (1,)
    ),
    TENSORFLOW: _Message({1: (BYTES,), 2: (BYTES,), 3: (VARINT,), 4: (BYTES,)}, (1,)),
    "caffemodel": _Message(
        {1: (BYTES,), 2: (BYTES,), 3: (BYTES,), 4: (VARINT, BYTES), 5: (VARINT,), 6: (BYTES,),
         7: (VARINT,), 8: (BYTES,), 100: (BYTES,)},
        (2, 100),
    ),
}  # fmt: skip


def _first_fields(buf) -> list[Field]:
    """The first fields; those before a place that is damaged."""
    found: list[Field] = []
    pos = 0
    try:
        while pos < len(buf) and len(found) < _MOST_FIELDS:
            field, pos = field_at(buf, pos, len(buf))
            found.append(field)
    except Damaged:
        pass
    return found


def _is_tensorflow(buf, fields: list[Field]) -> bool:
    """Whether they are a graph's nodes, one after the other, each with a name and an operation.
    (A net's only text is its one name.)"""
    nodes = [field for field in fields if field.number == 1]
    if len(nodes) < 2:
        return False
    try:
        name, pos = field_at(buf, nodes[0].start, nodes[0].end)
        operation, _ = field_at(buf, pos, nodes[0].end)
    except Damaged:
        return False
    return [(f.number, f.kind) for f in (name, operation)] == [(1, BYTES), (2, BYTES)]


def _texts(buf, fields: list[Field]) -> list[bytes]:
    return [bytes(buf[field.start : field.end]) for field in fields if field.number == 2]


def _is_solverstate(buf, fields: list[Field]) -> bool:
    """Whether its text is one: a caffemodel's path."""
    return all(min(text, default=32) >= 32 for text in _texts(buf, fields))


_LOOKED_INTO = {TENSORFLOW: _is_tensorflow, "solverstate": _is_solverstate}


def _fits(name: str, fields: list[Field]) -> bool:
    message, numbers = _MESSAGES[name], {field.number for field in fields}
    if not numbers.issuperset(message.all) or not numbers.intersection(message.some):
        return False
    known = [field for field in fields if name != "caffemodel" or field.number in message.kinds
             or field.number < _FORKS]  # fmt: skip
    return all(field.kind in message.kinds.get(field.number, ()) for field in known)


def message_kind(buf) -> str | None:
    """The name of the message in a file's bytes, of those that are known; None where none fits."""
    fields = _first_fields(buf)
    for name in _MESSAGES:
        if _fits(name, fields) and _LOOKED_INTO.get(name, lambda *_: True)(buf, fields):
            return name
    return None
