"""Protobuf messages as text: read with errors of one line, written the same to the byte everywhere.

protobuf's own printer changed how it writes floats: 0.01 is 0.009999999776 under some releases.
"""

from __future__ import annotations

import difflib
import re

import numpy as np
from google.protobuf import text_format

from prototxt.errors import InputError
from prototxt.files import wrong_kind
from prototxt.opening import read_regular
from prototxt.paths import why_unreadable

# Fields that stand at the top of the one and nowhere in the other.
_SOLVER = re.compile(r"(?m)^\s*(?:base_lr|lr_policy|max_iter|train_net|net|snapshot_prefix)\s*:")
_NET = re.compile(r"(?m)^\s*(?:layers?\s*[:{<]|input\s*:)")

_KINDS = {"SolverParameter": "solver", "NetParameter": "net"}

_LONGEST = 1000
"""Letters of what protobuf says is wrong, which quotes the line."""

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def read(path, message):
    """Parse the prototxt `path` into the protobuf `message` and return it. Raises InputError."""
    try:
        content = read_regular(path).decode("utf-8", "replace")  # a comment in GBK, say
        if "\0" in content:
            wrong = wrong_kind(path, "a prototxt") or "not a text file; a prototxt is expected"
            raise InputError(f"{path}: {wrong}")
        return text_format.Parse(content, message)
    except OSError as error:
        raise InputError(f"{path}: {why_unreadable(path, error)}") from None
    except text_format.ParseError as error:
        wrong = wrong_kind(path, "a prototxt", "text", "net prototxt", "solver prototxt")
        if wrong:
            raise InputError(f"{path}: {wrong}") from None
        found, wanted = kind(content), _KINDS.get(message.DESCRIPTOR.name)
        if wanted and found and found != wanted:
            raise InputError(f"{path}: is a {found}'s prototxt; a {wanted}'s is expected") from None
        reason = " ".join(str(error).split()).replace(" : ", ": ", 1)
        told = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …"
        raise InputError(f"{path}:{told}{_suggestion(reason, message)}") from None


def kind(content: str) -> str:
    """`solver` or `net`: what a prototxt describes, also where it has mistakes; else empty."""
    if _SOLVER.search(content):
        return "solver"
    return "net" if _NET.search(content) else ""


def _suggestion(reason, message):
    """The field that was meant, where protobuf's `reason` is that there is none of the name."""
    found = re.search(r'type "(?:\w+\.)*(\w+)" has no field named "(\w+)"', reason)
    if not found:
        return ""
    kind = message.DESCRIPTOR.file.message_types_by_name.get(found.group(1))
    names = kind.fields_by_name if kind else ()
    near = difflib.get_close_matches(found.group(2).lower(), names, 1, cutoff=0.8)
    return f" Did you mean {near[0]!r}?" if near else ""


def comment(line: str) -> str:
    """`line` as a comment of a prototxt."""
    return f"# {line}\n"


def float_text(value: float) -> str:
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


def text(message, indent: str = "") -> str:
    """The fields that are set, in the order of their numbers, one a line, each after `indent`."""
    lines = []
    for field, value in message.ListFields():
        for item in value if hasattr(value, "append") else [value]:
            if field.message_type is None:
                lines.append(f"{indent}{field.name}: {_scalar(field, item)}\n")
            else:
                lines.append(f"{indent}{field.name} {{\n{text(item, indent + '  ')}{indent}}}\n")
    return "".join(lines)
