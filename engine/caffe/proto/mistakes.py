"""What protobuf says of a mistake in a prototxt, in the words of the prototxt's writer."""

from __future__ import annotations

import re

from caffe.proto import caffe_pb2, forks
from caffe.proto.hints import did_you_mean
from caffe.proto.upgrade import V1_TYPES

_POSITION = re.compile(r"^\d+:\d+ : ")
_QUOTED_LINE = re.compile(r"^'.*': (?=[A-Z])", re.DOTALL)
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_NO_VALUE = re.compile(r'Enum type "([\w.]+)" has no value (?:named|with number) "?([\w+-]*)')
_TWICE = re.compile(r'Message type "([\w.]+)" should not have multiple "(\w+)" fields')
_NO_STRING = re.compile(r"Expected string but found: '(\w+)'")
_MOST_OWNERS = 4  # messages that may be named as the right place of a field

_V1_ENUM = "caffe.V1LayerParameter.LayerType"
_V1_NAMES = {
    caffe_pb2.V1LayerParameter.LayerType.Name(number): name for number, name in V1_TYPES.items()
}
_CURRENT = 'layer {{ type: "{}" }}'


def explain(message: str) -> str:
    """protobuf's words for a parse error, made one line that says what to do."""
    message = _QUOTED_LINE.sub("", _POSITION.sub("", message))
    for pattern, told in (
        (_NO_FIELD, _no_field),
        (_NO_VALUE, _no_value),
        (_TWICE, _twice),
        (_NO_STRING, _no_string),
    ):
        found = pattern.search(message)
        if found:
            return told(*found.groups())
    return " ".join(message.split())


def unknown_type(name: str, known: list[str]) -> str:
    """What is to be said of a layer type that is none of `known`."""
    if not name:
        return 'has no type; say type: "Name"'
    if _V1_NAMES.get(name):
        current = f'type: "{_V1_NAMES[name]}"'
        return f"has the older format's type '{name}'; in layer {{ }} it is {current}"
    told = forks.of_type(name)
    hint = f"; {told}" if told else did_you_mean(name, known)
    return f"has the unknown type '{name}'{hint or '; known: ' + ', '.join(known)}"


def _short(full_name: str) -> str:
    return full_name.partition(".")[2]


def _fields(message: str):
    return caffe_pb2.DESCRIPTOR.message_types_by_name[message].fields_by_name


def _no_field(full_name: str, name: str) -> str:
    message = _short(full_name)
    told = forks.of_field(message, name) or _of_another_file_or_format(message, name)
    hint = f"; {told}" if told else did_you_mean(name, _fields(message)) or _right_place(name)
    return f"{message} has no field '{name}'{hint}"


def _of_another_file_or_format(message: str, name: str) -> str:
    others = {
        "NetParameter": ("SolverParameter", "it is one of solvers: is this a solver's file?"),
        "SolverParameter": ("NetParameter", "it is one of nets: is this a net's file?"),
        "LayerParameter": (
            "V1LayerParameter",
            "it is one of the older format's layers { }"
            + ("; write param { lr_mult: … }" if name == "blobs_lr" else "")
            + ("; write param { decay_mult: … }" if name == "weight_decay" else ""),
        ),
        "V1LayerParameter": (
            "LayerParameter",
            f"layers {{ }} is the older format; write {_CURRENT.format('Name')}",
        ),
    }
    other, told = others.get(message, ("", ""))
    return told if other and name in _fields(other) else ""


def _right_place(name: str) -> str:
    """The messages of a layer that have such a field, if they are few."""
    places = [
        field.name
        for field in _fields("LayerParameter").values()
        if field.message_type and name in field.message_type.fields_by_name
    ]
    if not 0 < len(places) <= _MOST_OWNERS:
        return ""
    return f"; it is a field of {', '.join(places[:-1])}{' or ' if places[1:] else ''}{places[-1]}"


def _no_value(full_name: str, value: str) -> str:
    kind = caffe_pb2.DESCRIPTOR.pool.FindEnumTypeByName(full_name)
    if value in kind.values_by_name:
        return f"{_short(full_name)} has the value {value}: write it without quotes"
    if full_name == _V1_ENUM:
        return _no_v1_type(value)
    known = ", ".join(kind.values_by_name)
    return f"{_short(full_name)} has no value '{value}'; it knows {known}"


def _no_v1_type(value: str) -> str:
    current = list(_V1_NAMES.values())
    if value in current:
        old = next(name for name, new in _V1_NAMES.items() if new == value)
        return f"layers {{ }} is the older format: write type: {old}, or {_CURRENT.format(value)}"
    words = "".join(word.capitalize() for word in value.split("_"))
    told = forks.of_type(value) or forks.of_type(words.replace("Crf", "CRF"))
    hint = f"; {told}" if told else did_you_mean(value, _V1_NAMES)
    return (
        f"layers {{ }}, the older format, has no type {value}"
        f"{hint or '; newer types need ' + _CURRENT.format('Name')}"
    )


def _twice(full_name: str, name: str) -> str:
    return f"{_short(full_name)} has field '{name}' more than once"


def _no_string(value: str) -> str:
    name = _V1_NAMES.get(value)
    if name:
        return f'{value} is the older format\'s type; in layer {{ }} write type: "{name}"'
    return f'{value} is a string: write it in quotes, "{value}"'
