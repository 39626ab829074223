"""The three `upgrade_*` tools: a file of an older format, written anew in the current one."""

from __future__ import annotations

import os

from google.protobuf.message import DecodeError

from ..errors import InputError
from ..log import WARNING, log
from ..proto import caffe_pb2, kinds, not_utf8, text
from ..proto.files import atomic_write, in_the_way
from ..proto.opening import read_whole
from ..proto.upgrade import upgrade_net, upgrade_solver
from .devices import WHERE
from .files import check_file

FLAGS = ()
LONGEST_TEXT = 1 << 23
"""Bytes of a prototxt that is looked at in full before it is replaced."""


def _is_old_net(net) -> bool:
    return bool(net.layers or net.input) or any(
        layer.type == "BatchNorm" and len(layer.param) == 3 for layer in net.layer
    )


def _read_binary(path: str):
    with kinds.FileBytes(path) as head:
        kinds.refuse(head, path, "a caffemodel", kinds.CAFFEMODEL)
    data = read_whole(path)
    try:
        return caffe_pb2.NetParameter.FromString(bytes(data))
    except DecodeError:
        raise InputError(f"{path}: is not a caffemodel, or it is damaged") from None


def _write(source: str, target: str, content: bytes, message) -> None:
    """Write `content` as the file `target`. InputError where something else is there than what the
    tools write: this content, text that is as protobuf prints a `message`, or the source itself."""

    def ours(file) -> bool:
        there = file.read(max(len(content), LONGEST_TEXT) + 1)
        return there == content or (message is not None and _is_printed(there, message))

    in_place = os.path.exists(target) and os.path.samefile(source, target)
    problem = "" if in_place else in_the_way(target, "one that these tools have written", ours)
    if problem:
        raise InputError(f"{target}: {problem}")
    with atomic_write(target) as file:
        file.write(content)


def _is_printed(there: bytes, message) -> bool:
    try:
        parsed = text.parse(not_utf8.decode(there), message(), "")
    except InputError:
        return False
    return text.printed(parsed) == there


def _net_text(source: str, target: str) -> bool:
    net = text.parse(text.read_text(source), caffe_pb2.NetParameter(), source)
    old = _is_old_net(net)
    content = text.printed(upgrade_net(net, source))
    _write(source, target, content, caffe_pb2.NetParameter)
    log(f"Wrote upgraded NetParameter text proto to {target}", where=WHERE)
    return old


def _net_binary(source: str, target: str) -> bool:
    net = _read_binary(source)
    old = _is_old_net(net)
    _write(source, target, upgrade_net(net, source).SerializeToString(), None)
    log(f"Wrote upgraded NetParameter binary proto to {target}", where=WHERE)
    return old


def _solver_text(source: str, target: str) -> bool:
    solver = text.parse(text.read_text(source), caffe_pb2.SolverParameter(), source)
    old = solver.HasField("solver_type")
    content = text.printed(upgrade_solver(solver, source))
    _write(source, target, content, caffe_pb2.SolverParameter)
    log(f"Wrote upgraded SolverParameter text proto to {target}", where=WHERE)
    return old


_TOOLS = {
    "upgrade_net_proto_text": _net_text,
    "upgrade_net_proto_binary": _net_binary,
    "upgrade_solver_proto_text": _solver_text,
}


def main(command: str, words: list[str]) -> int:
    """Upgrade the file `words[0]` into `words[1]`; what is current already is copied."""
    if len(words) != 2:
        raise InputError(f"{command} takes two files: OLD NEW")
    source, target = words
    check_file(source, source)
    if os.path.isdir(target):
        raise InputError(f"{target}: is a folder; name the file to write")
    if not _TOOLS[command](source, target):
        log(f"File already in latest proto format: {source}", WARNING, WHERE)
    return 0
