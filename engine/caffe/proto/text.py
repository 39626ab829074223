"""Prototxt files: Caffe's text format, read with the upgrade applied, and written."""

from __future__ import annotations

import codecs
import contextlib
import os
import re

from google.protobuf import text_format

from caffe.errors import InputError
from caffe.proto import caffe_pb2, kinds, not_utf8
from caffe.proto.mistakes import explain
from caffe.proto.opening import check_regular, read_regular
from caffe.proto.upgrade import upgrade_net, upgrade_solver

# Far above any net's; a caffemodel given by mistake is refused before it is read.
_LARGEST_TEXT = 8 << 20
_MOST_BLANKS = 1 << 16  # in a row: protobuf takes 130 bytes of memory for each
_TEXTS = (kinds.TEXT, kinds.NET, kinds.SOLVER, kinds.EMPTY)
_BLANKS = re.compile(r"[^\S\n]+")


def _check_blanks(text: str, source: str) -> None:
    if len(text) <= _MOST_BLANKS:
        return
    for found in _BLANKS.finditer(text):
        count = found.end() - found.start()
        if count > _MOST_BLANKS:
            line = text.count("\n", 0, found.start()) + 1
            raise InputError(f"{source}:{line}: {count} blanks in a row are too many")


def parse(text: str, message, source: str = "text"):
    """Read text format into ``message`` and return it; InputError with the line otherwise."""
    _check_blanks(text, source)
    try:
        text_format.Parse(not_utf8.without_escaped_bytes(text), message)
    except text_format.ParseError as err:
        line = err.GetLine()
        where = source if line is None else f"{source}:{line}"
        raise InputError(f"{where}: {explain(str(err))}") from None
    except RecursionError:
        raise InputError(f"{source}: messages are nested too deep") from None
    except (UnicodeError, ValueError, OverflowError) as err:
        raise InputError(f"{source}: {' '.join(str(err).split())}") from None
    missing = message.FindInitializationErrors()
    if missing:
        raise InputError(f"{source}: required field '{missing[0]}' is missing")
    return message


def read_text(path) -> str:
    """A prototxt's text; InputError if it is not there, not text, or far too large."""
    name = not_utf8.path(path)
    size = check_regular(name)
    wrong = kinds.file_misfit(name, "a prototxt", *_TEXTS)
    if wrong:
        raise InputError(f"{name}: {wrong}")
    if size > _LARGEST_TEXT:
        raise InputError(f"{name}: {size} bytes is too large for a prototxt; is it a caffemodel?")
    data = read_regular(name, _LARGEST_TEXT)
    if b"\0" in data:
        raise InputError(f"{name}: is a binary file, not a prototxt; is it a caffemodel?")
    return not_utf8.decode(data.removeprefix(codecs.BOM_UTF8))


def parse_net(text: str, source: str = "text"):
    """NetParameter of a prototxt's text, upgraded to the current schema."""
    return upgrade_net(parse(text, caffe_pb2.NetParameter(), source), source)


def read_net(path):
    """NetParameter of a prototxt file, upgraded to the current schema."""
    name = os.fspath(path)
    content = read_text(name)
    with _named_kind(name, "a net's", kinds.SOLVER):
        return parse_net(content, name)


@contextlib.contextmanager
def _named_kind(name: str, wanted: str, other: str):
    """Context in which a prototxt is parsed: where that fails because it is of the `other` kind,
    the error says so."""
    try:
        yield
    except InputError as err:
        wrong = kinds.file_misfit(name, wanted, *(tag for tag in _TEXTS if tag != other))
        if wrong:
            raise InputError(f"{name}: {wrong}") from None
        raise err


def parse_solver(text: str, source: str = "text"):
    """SolverParameter of a solver prototxt's text, upgraded; paths in it are left alone."""
    return upgrade_solver(parse(text, caffe_pb2.SolverParameter(), source), source)


def read_solver(path):
    """SolverParameter of a solver prototxt file, upgraded; ``net`` paths in it are left alone.

    A ``snapshot_prefix`` that is missing becomes the solver file's own name without its ending;
    one that is a folder gets that name's last part added. So BVLC Caffe has it.
    """
    name = os.fspath(path)
    content = read_text(name)
    with _named_kind(name, "a solver's", kinds.NET):
        solver = parse_solver(content, name)
    stem = os.path.splitext(name)[0]
    given = solver.HasField("snapshot_prefix")
    if not given:
        solver.snapshot_prefix = stem
    solver.snapshot_prefix = not_utf8.at_home(solver.snapshot_prefix)
    if given and os.path.isdir(not_utf8.path(solver.snapshot_prefix)):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
    return solver


def printed(message) -> bytes:
    """A message in text format, as a file holds it."""
    return text_format.MessageToString(message).encode("utf-8")
