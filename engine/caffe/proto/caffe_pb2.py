"""Caffe 1.0's protobuf schema (proto2, package ``caffe``), built from ``schema.tsv`` at import.

It offers what protoc's module would: every message class and enum of ``caffe.proto``, the
values of the file's own enums (``TRAIN``, ``TEST``), and ``DESCRIPTOR``. The table's last column
says what each field means.

The descriptors live in a pool of their own: another ``caffe_pb2`` in the same process (a
generated one, or another framework's with a different ``caffe.proto``) would clash with them in
protobuf's default pool.
"""

from __future__ import annotations

import struct
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

_FIELD = descriptor_pb2.FieldDescriptorProto
_LABELS = {
    "optional": _FIELD.LABEL_OPTIONAL,
    "required": _FIELD.LABEL_REQUIRED,
    "repeated": _FIELD.LABEL_REPEATED,
}
_SCALARS = {
    name: getattr(_FIELD, "TYPE_" + name.upper())
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32")
}
_COLUMNS = 9


def _read_rows() -> list[list[str]]:
    text = (Path(__file__).parent / "schema.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.split("\n")[1:] if line]
    for row in rows:
        assert len(row) == _COLUMNS, f"schema.tsv: {row} needs {_COLUMNS} columns, between tabs"
    return rows


def _enums(rows: list[list[str]]) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for kind, owner, number, name, *_ in rows:
        if kind == "enum":
            found.setdefault(owner, []).append((name, int(number)))
    return found


def _default(kind: str, text: str) -> str:
    if kind == "bool":
        return text.lower()
    if kind == "float":  # the float32 nearest, in full: protobuf's pure Python form keeps a double
        return repr(struct.unpack("<f", struct.pack("<f", float(text)))[0])
    return text


def _fill_field(field, row, enums) -> None:
    _, _, number, name, label, kind, default, options, _meaning = row
    field.name, field.number, field.label = name, int(number), _LABELS[label]
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_ENUM if kind in enums else _FIELD.TYPE_MESSAGE
        field.type_name = "." + kind
    if default:
        field.default_value = _default(kind, default)
    if options == "packed":
        field.options.packed = True


def _file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    rows = _read_rows()
    enums = _enums(rows)
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    messages = {}
    for row in rows:
        if row[0] == "field":
            message = messages.get(row[1])
            if message is None:
                message = messages[row[1]] = file.message_type.add(name=row[1].split(".")[1])
            _fill_field(message.field.add(), row, enums)
    for full_name, values in enums.items():
        owner, _, name = full_name.rpartition(".")
        enum = (file if owner == "caffe" else messages[owner]).enum_type.add(name=name)
        for value, number in values:
            enum.value.add(name=value, number=number)
    return file


def _message_classes(pool, descriptor) -> dict[str, type]:
    if hasattr(message_factory, "GetMessageClass"):
        make = message_factory.GetMessageClass
    else:  # protobuf before 4.22
        make = message_factory.MessageFactory(pool).GetPrototype
    return {name: make(message) for name, message in descriptor.message_types_by_name.items()}


def _descriptor_names(message) -> dict[str, object]:
    """A message's descriptor, and those of its enums, under the names that protoc gives them."""
    stem = f"_{message.name.upper()}"
    enums = message.enum_types_by_name.items()
    return {stem: message, **{f"{stem}_{name.upper()}": enum for name, enum in enums}}


def _names() -> dict[str, object]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file_descriptor().SerializeToString())
    descriptor = pool.FindFileByName("caffe.proto")
    names: dict[str, object] = {"DESCRIPTOR": descriptor}
    for name, message_class in _message_classes(pool, descriptor).items():
        message_class.__module__ = __name__
        names[name] = message_class
        names.update(_descriptor_names(message_class.DESCRIPTOR))
    for name, enum in descriptor.enum_types_by_name.items():
        names[f"_{name.upper()}"] = enum
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        names.update({value.name: value.number for value in enum.values})
    return names


globals().update(_names())
