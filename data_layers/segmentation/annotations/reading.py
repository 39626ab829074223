"""JSON and numbers out of files that anybody may have written."""

from __future__ import annotations

import json
import os

from segmentation.opening import read_regular
from segmentation.params import DataError

LARGEST = 512 << 20
"""Bytes of a file of annotations; COCO's largest has 470 million."""
LARGEST_OF_ONE = 128 << 20
"""Bytes of a file that is of one picture."""
MOST_VALUES = 96_000_000
MOST_GROUPS = 12_000_000
"""Lists and objects of a file of annotations."""
MOST_SIDE = 1_000_000


def read_whole(path, most=LARGEST):
    """The bytes of a file. Raises DataError."""
    try:
        return read_regular(path, most)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path, most=LARGEST):
    """The object in a JSON file. Raises DataError for another file, and for one that would take
    more memory than annotations do."""
    data = read_whole(path, most)
    if data.count(b",") > MOST_VALUES or data.count(b"[") + data.count(b"{") > MOST_GROUPS:
        raise DataError(f"{path}: more values than annotations have; is it the right file?")
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number)
    except RecursionError:
        raise DataError(f"{path}: nested too deeply for annotations") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not JSON: the text is not UTF-8") from None
    except NotFinite as error:
        raise DataError(f"{path}: holds {error}, which is no number of JSON") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: no annotations: a {type(found).__name__}, not an object")
    return found


class NotFinite(ValueError):
    """NaN or Infinity, which Python's reader would take for numbers."""


def _no_number(text):
    raise NotFinite(text)


def whole(value, least=0, most=MOST_SIDE):
    """A whole number from `least` to `most`; ValueError for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"expected a whole number from {least} to {most}, not {str(value)[:40]}")
    return value


def number(text):
    """A finite number; ValueError for anything else."""
    value = float(text)
    if value != value or abs(value) == float("inf"):
        raise ValueError(f"expected a finite number, not {str(text)[:40]}")
    return value


def text(value):
    """A text that is not empty; ValueError for anything else."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, not {str(value)[:40]}")
    return value


def id_of(name):
    """The id of a photograph's file name: without its ending, with / between folders."""
    return os.path.splitext(name.replace("\\", "/"))[0]
