"""Protobuf messages as text, the same to the byte under every release of protobuf.

protobuf's own printer changed how it writes floats: 0.01 is 0.009999999776 under some releases.
"""

from __future__ import annotations

import numpy as np

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def comment(line):
    """`line` as a comment of a prototxt."""
    return f"# {line}\n"


def float_text(value):
    """The shortest decimal that reads back as the same float32: 0.01, 1, 1e-10."""
    with np.errstate(over="ignore"):  # the largest floats, rounded up, are infinite
        for digits in range(1, 9):
            decimal = f"{value:.{digits}g}"
            if np.float32(decimal) == np.float32(value):
                return decimal
    return f"{value:.9g}"


def _scalar(field, value):
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(c, c) for c in value) + '"'
    if isinstance(value, float):
        return float_text(value)
    return str(value)


def text(message, indent=""):
    """The fields that are set, in the order of their numbers, one a line, each after `indent`."""
    lines = []
    for field, value in message.ListFields():
        for item in value if hasattr(value, "append") else [value]:
            if field.message_type is None:
                lines.append(f"{indent}{field.name}: {_scalar(field, item)}\n")
            else:
                lines.append(f"{indent}{field.name} {{\n{text(item, indent + '  ')}{indent}}}\n")
    return "".join(lines)
