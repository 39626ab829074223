"""Caffemodels and solverstates: read into memory once, written as a stream."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

from caffe.errors import Error, InputError
from caffe.proto import caffe_pb2, encoding, kinds
from caffe.proto.encoding import Damaged
from caffe.proto.files import atomic_write
from caffe.proto.opening import LARGEST_MESSAGE
from caffe.proto.upgrade import V0_TYPES, V1_TYPES


class LayerWeights(NamedTuple):
    """One layer of a caffemodel: name, type as today's schema names it, and its blobs.

    ``blobs`` are pairs (shape, float32 array, read-only, maybe unaligned: a view of the file).
    """

    name: str
    type: str
    blobs: list


# Field numbers of (name, type, blobs) in each generation of the layer message.
_NUMBERS = {
    generation: tuple(
        getattr(caffe_pb2, generation).DESCRIPTOR.fields_by_name[name].number
        for name in ("name", "type", "blobs")
    )
    for generation in ("LayerParameter", "V1LayerParameter", "V0LayerParameter")
}
_NET = {field.name: field.number for field in caffe_pb2.NetParameter.DESCRIPTOR.fields}
_V1_LAYER = caffe_pb2.V1LayerParameter.DESCRIPTOR.fields_by_name["layer"].number
_STATE = {field.name: field.number for field in caffe_pb2.SolverState.DESCRIPTOR.fields}


def _type_string(buf, field: encoding.Field, generation: str) -> str:
    if generation == "V1LayerParameter":
        return V1_TYPES.get(encoding.expect(field, encoding.VARINT).value, "")
    name = encoding.text_of(buf, field)
    if generation == "LayerParameter":
        return name
    enum = caffe_pb2.V1LayerParameter.LayerType
    return V1_TYPES[enum.Value(V0_TYPES[name])] if name in V0_TYPES else name


def _read_layer(buf, start: int, end: int, generation: str, wanted) -> tuple[str, str, list]:
    """Name, type and ``encoding.Blob``s of the layer message in ``buf[start:end]``; None for each
    blob where ``wanted`` (None: all) does not hold the name."""
    name_number, type_number, blobs_number = _NUMBERS[generation]
    name = kind = ""
    spans, inner = [], None
    for field in encoding.fields(buf, start, end):
        if generation == "V1LayerParameter" and field.number == _V1_LAYER:
            inner = encoding.expect(field, encoding.BYTES)
        elif field.number == name_number:
            name = encoding.text_of(buf, field)
        elif field.number == type_number:
            kind = _type_string(buf, field, generation)
        elif field.number == blobs_number:
            spans.append(encoding.expect(field, encoding.BYTES))
            encoding.check_parts(len(spans))
    if inner is not None:
        return _read_layer(buf, inner.start, inner.end, "V0LayerParameter", wanted)
    if wanted is not None and name not in wanted:
        return name, kind, [None] * len(spans)
    blobs: list = []
    for i, span in enumerate(spans):
        try:
            blobs.append(encoding.read_blob(buf, span.start, span.end))
        except Damaged as err:
            raise Damaged(f"layer '{name}', blob {i}: {err}") from None
    return name, kind, blobs


def _read_layers(path, wanted: Container[str] | None = None) -> list[tuple[str, str, list]]:
    buf, name = kinds.open_message(path, "a caffemodel", kinds.CAFFEMODEL)
    found: dict[int, list] = {_NET["layers"]: [], _NET["layer"]: []}
    parts = 0
    generations = {_NET["layers"]: "V1LayerParameter", _NET["layer"]: "LayerParameter"}
    try:
        for field in encoding.fields(buf, 0, len(buf)):
            if field.number in found:
                encoding.expect(field, encoding.BYTES)
                generation = generations[field.number]
                layer = _read_layer(buf, field.start, field.end, generation, wanted)
                found[field.number].append(layer)
                parts += 1 + len(layer[2])
                encoding.check_parts(parts)
            elif field.number == _NET["name"]:
                encoding.text_of(buf, field)
    except Damaged as err:
        raise InputError(f"{name}: the caffemodel is damaged or cut short: {err}") from None
    if all(found.values()):
        raise InputError(f"{name}: has layers both of the old and of the current format")
    layers = found[_NET["layers"]] or found[_NET["layer"]]
    if not layers:
        raise InputError(f"{name}: holds no layers; is it a caffemodel?")
    return layers


def read_weights(path, wanted: Container[str] | None = None) -> list[LayerWeights]:
    """The layers of a caffemodel (binary, of any generation), in the file's order. The blobs of
    layers whose names ``wanted`` does not hold are not looked at, whatever is wrong with them:
    None stands for each.

    The file is read into memory once; the arrays are views of it.
    Shapes stored the old way are ``encoding.LegacyShape`` (see ``encoding.shapes_match``).
    Raises InputError, naming the file and, once known, the layer.
    """
    return [
        LayerWeights(name, kind, [blob and (blob.shape, blob.data) for blob in blobs])
        for name, kind, blobs in _read_layers(path, wanted)
    ]


def read_diffs(path) -> list[tuple[str, list]]:
    """As ``read_weights``: (layer name, [gradient array, or None where none is stored])."""
    return [(name, [blob.diff for blob in blobs]) for name, _, blobs in _read_layers(path)]


def _check_size(path, size: int) -> None:
    if size > LARGEST_MESSAGE:
        raise Error(
            f"cannot write {os.fspath(path)}: {size} bytes, and protobuf ends at 2 GiB; "
            "use snapshot_format: HDF5"
        )


def write_net(path, net, blobs: Sequence[Sequence], diffs: Sequence[Sequence] | None = None):
    """Write a NetParameter with its weights as a caffemodel.

    ``net``: NetParameter (current schema) without blobs; unknown fields in it are kept.
    ``blobs``: for each of ``net.layer``, in its order, a sequence of arrays (stored as float32).
    ``diffs``: gradients likewise, where they are to be stored too.
    Streams to a file beside ``path``, which it replaces at the end, or not at all; Error if not.
    """
    if len(blobs) != len(net.layer) or (diffs is not None and len(diffs) != len(net.layer)):
        raise ValueError(f"{len(net.layer)} layers need as many entries in blobs and diffs")
    head = caffe_pb2.NetParameter()
    head.CopyFrom(net)
    head.ClearField("layer")
    parts: list = [head.SerializeToString()]
    blobs_number = _NUMBERS["LayerParameter"][2]
    for i, layer in enumerate(net.layer):
        if layer.blobs:
            raise ValueError(f"layer '{layer.name}': its blobs are given beside it, not in it")
        layer_parts: list = [layer.SerializeToString()]
        for j, array in enumerate(blobs[i]):
            diff = None if diffs is None else diffs[i][j]
            layer_parts += _framed(blobs_number, encoding.blob_parts(array, diff))
        parts += _framed(_NET["layer"], layer_parts)
    _write_parts(path, parts)


def write_float16(path, weights: dict) -> None:
    """Write a caffemodel whose numbers are float16, in the form of NVIDIA Caffe: half the size.

    ``weights``: layer name -> arrays of any float type, such as ``encoding.float16_parts`` takes.
    The file holds names and numbers, no layer types; copying goes by name. BVLC Caffe does not
    know the form. Atomic, as ``write_net`` is; Error, naming the layer, where a number is too
    large for float16.
    """
    number, _, blobs_number = _NUMBERS["LayerParameter"]
    parts: list = []
    for name, arrays in weights.items():
        layer: list = [encoding.encode_bytes(number, name.encode())]
        for i, array in enumerate(arrays):
            try:
                layer += _framed(blobs_number, encoding.float16_parts(array))
            except Error as err:
                raise Error(f"cannot write {path}: layer '{name}', blob {i}: {err}") from None
        parts += _framed(_NET["layer"], layer)
    _write_parts(path, parts)


def _framed(number: int, parts: list) -> list:
    """A message field's tag and length before its bytes."""
    tag = encoding.encode_varint(number << 3 | encoding.BYTES)
    return [tag + encoding.encode_varint(encoding.parts_size(parts)), *parts]


def _write_parts(path, parts: list) -> None:
    _check_size(path, encoding.parts_size(parts))
    with atomic_write(path) as file:
        for part in parts:
            file.write(part)


class SolverState(NamedTuple):
    """What a solver needs besides the weights to go on: ``history`` holds float32 arrays."""

    iter: int
    learned_net: str
    history: list
    current_step: int


def read_solverstate(path) -> SolverState:
    """A binary solverstate; its history arrays are read-only views of what was read."""
    buf, name = kinds.open_message(path, "a solverstate", kinds.SOLVERSTATE)
    numbers, learned_net, history = {}, "", []
    try:
        for field in encoding.fields(buf, 0, len(buf)):
            if field.number in (_STATE["iter"], _STATE["current_step"]):
                numbers[field.number] = encoding.signed(
                    encoding.expect(field, encoding.VARINT).value
                )
            elif field.number == _STATE["learned_net"]:
                learned_net = encoding.text_of(buf, field)
            elif field.number == _STATE["history"]:
                encoding.expect(field, encoding.BYTES)
                try:
                    blob = encoding.read_blob(buf, field.start, field.end)
                    history.append(blob.data)
                    encoding.check_parts(len(history))
                except Damaged as err:
                    raise Damaged(f"history {len(history)}: {err}") from None
    except Damaged as err:
        raise InputError(f"{name}: the solverstate is damaged or cut short: {err}") from None
    values = [numbers.get(_STATE[key], 0) for key in ("iter", "current_step")]
    if not all(0 <= value < 1 << 31 for value in values):
        raise InputError(f"{name}: the solverstate is damaged: iter or step out of range")
    return SolverState(values[0], learned_net, history, values[1])


def write_solverstate(
    path, iter: int, learned_net: str, history: Sequence[np.ndarray], current_step: int = 0
) -> None:
    """Write a binary solverstate; atomic, as ``write_net`` is."""
    head = caffe_pb2.SolverState(iter=iter, learned_net=learned_net, current_step=current_step)
    parts: list = [head.SerializeToString()]
    for array in history:
        parts += _framed(_STATE["history"], encoding.blob_parts(array))
    _write_parts(path, parts)
