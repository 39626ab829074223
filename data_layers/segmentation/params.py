"""`param_str` of the segmentation data layers: read without running code, checked, typed.

A schema maps each key to `(kind, default)`; a default of `REQUIRED` makes the key obligatory.
Kinds are the functions below: they take the value as written and return it typed, or raise
ValueError saying what is expected.
"""

from __future__ import annotations

import ast
import difflib
import json
import os

REQUIRED = object()


class DataError(ValueError):
    """Data or parameters that a user can mend; the message names the file or the key."""

    exit_code = 2


def parse(text, layer, schema):
    """Read `param_str` (a dict literal or JSON) or a dict; returns {key: typed value}.

    `layer` is the layer class's name, for messages. Raises DataError.
    """
    given = text if isinstance(text, dict) else literal(text, layer)
    unknown = [key for key in given if key not in schema]
    if unknown:
        key = str(unknown[0])
        near = difflib.get_close_matches(key, list(schema), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(sorted(schema))
        raise DataError(f"{layer}: unknown key {key!r} in param_str; {hint}")
    missing = [key for key, (_, default) in schema.items() if default is REQUIRED]
    missing = [key for key in missing if key not in given]
    if missing:
        raise DataError(f"{layer}: param_str lacks {missing[0]!r}; it must be given")
    params = {}
    for key, (kind, default) in schema.items():
        if key not in given:
            params[key] = default
            continue
        try:
            params[key] = kind(given[key])
        except ValueError as error:
            raise DataError(f"{layer}: {key} in param_str: {error}, not {given[key]!r}") from None
    return params


def literal(text, layer):
    """`param_str` as the dict that is written there, unchecked. Raises DataError."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            shown = text if len(text) <= 80 else text[:77] + "..."
            raise DataError(
                f"{layer}: param_str is neither a dict literal nor JSON: {shown!r}"
            ) from None
    if not isinstance(value, dict):
        raise DataError(f"{layer}: param_str must be a dict, not a {type(value).__name__}")
    return value


def string(value):
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("expected a text that is not empty")
    return value


def folder(value):
    """A folder's path; `~` stands for the home folder."""
    return os.path.expanduser(string(value))


def suffix(value):
    """The end of a file's name before its ending; may be empty."""
    if not isinstance(value, str) or any(c in value for c in "/\\\0"):
        raise ValueError("expected the end of a file's name")
    return value


def boolean(value):
    """True or False; also the words, as published prototxts have them: 'False' is false."""
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError("expected True or False")


def integer(low, high=2**31 - 1):
    """A kind: a whole number from `low` to `high`."""

    def kind(value):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            most = "" if high == 2**31 - 1 else f" to {high}"
            raise ValueError(f"expected a whole number, {low}{most or ' or more'}")
        return value

    return kind


def seed(value):
    """None (a new order at every start) or a whole number."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("expected a whole number or None")


def mean(channels):
    """A kind: one number per channel, in the blob's channel order; one alone needs no tuple."""

    def kind(value):
        alone = channels == 1 and isinstance(value, (int, float))
        values = value if isinstance(value, (tuple, list)) else (value,) * alone
        good = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(good) != channels or len(values) != channels or not all(abs(v) < 1e6 for v in good):
            raise ValueError(f"expected {channels} number{'s' * (channels > 1)}")
        return tuple(float(v) for v in values)

    return kind
