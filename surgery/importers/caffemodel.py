"""Weights from a .caffemodel, in the format of today or in V1 (Oxford's VGG), or from HDF5.

A caffemodel without its prototxt is read field by field where it lies: the file is mapped into
memory and the arrays are views of it, so the 553 MB of VGG-16 cost neither time nor memory. The
field numbers are those of the schema.
"""

import math
import mmap
import struct
from collections import OrderedDict

import numpy as np
from google.protobuf.message import DecodeError

import caffe
from caffe.proto import caffe_pb2
from prototxt.skeleton import parse
from surgery.errors import SurgeryError
from surgery.importers.hdf5 import open_hdf5
from surgery.weights import by_x

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# NVIDIA Caffe's own fields of a blob, which Caffe's schema does not have, and its type numbers.
RAW_DATA_TYPE, RAW_DATA = 10, 12
RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}


def number(message, field):
    """The number of a field in Caffe's schema."""
    return getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name[field].number


def read(path):
    """Every layer of a caffemodel that has parameters: ordered dict name -> list of arrays.

    The arrays are read-only float32 views of the file. Raises SurgeryError where the file is cut
    off or is no caffemodel.
    """
    with open(path, "rb") as file:
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            raise SurgeryError(f"{path}: the file is empty") from None
    kinds = {
        number("NetParameter", "layer"): "LayerParameter",
        number("NetParameter", "layers"): "V1LayerParameter",
    }
    weights = OrderedDict()
    try:
        for field, value, _ in fields(data):
            if field in kinds:
                _read_layer(kinds[field], value, weights, path)
    except (struct.error, UnicodeDecodeError, DecodeError) as error:
        raise SurgeryError(
            f"{path}: not a whole caffemodel ({error}); copy or download it again"
        ) from None
    if not weights:
        raise SurgeryError(f"{path}: no layer in it has parameters; is it a caffemodel?")
    return weights


def _read_layer(kind, data, weights, path):
    name, blobs = "", []
    for field, value, _ in fields(data):
        if field == number(kind, "name"):
            name = str(_bytes(value), "utf-8")
        elif field == number(kind, "blobs"):
            blobs.append(_read_blob(value, f"{path}: layer {name or '?'}"))
        elif kind == "V1LayerParameter" and field == number(kind, "layer"):
            raise SurgeryError(
                f"{path}: a caffemodel of the format before V1; convert it with Caffe's "
                "upgrade_net_proto_binary"
            )
    if blobs:
        weights[name] = blobs


def _read_blob(data, where):
    # The numbers are taken where they lie; the schema's own reader gets all else, and numbers
    # encoded one by one or in double precision, as some writers have them.
    chunks, rest, raw_type, raw_data = [], [], None, None
    for field, value, raw in fields(data):
        if field == number("BlobProto", "data") and isinstance(value, memoryview):
            if len(value) % 4:
                raise struct.error("an array with a broken number")
            chunks.append(np.frombuffer(value, "<f4"))
        elif field == RAW_DATA_TYPE:
            raw_type = value
        elif field == RAW_DATA:
            raw_data = value
        else:
            rest.append(raw)
    blob = caffe_pb2.BlobProto.FromString(b"".join(rest))
    if blob.data or blob.double_data:
        chunks.append(np.array(blob.data or blob.double_data, np.float32))
    if isinstance(raw_data, memoryview) and len(raw_data):
        chunks = [_raw_numbers(raw_type, raw_data, where)]
    shape = tuple(blob.shape.dim)
    if not blob.HasField("shape"):
        # Before blobs had any number of axes, a matrix was 1x1xOxI and a bias 1x1x1xO.
        shape = (blob.num, blob.channels, blob.height, blob.width)
        if shape[:2] == (1, 1):
            shape = shape[3:] if shape[2] == 1 else shape[2:]
    array = chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.empty(0, np.float32)])
    if min(shape, default=0) < 0 or array.size != math.prod(shape):
        raise SurgeryError(f"{where} has {array.size} numbers for shape {shape}; the file is wrong")
    return array.reshape(shape)


def _raw_numbers(kind, data, where):
    """Numbers that NVIDIA Caffe stored as bytes, as float32."""
    if kind not in RAW_TYPES:
        raise SurgeryError(
            f"{where}: raw numbers of {'no type' if kind is None else f'the unknown type {kind}'} "
            "(known: 0 double, 1 float, 2 float16); the file is wrong"
        )
    dtype = np.dtype(RAW_TYPES[kind])
    if len(data) % dtype.itemsize:
        raise struct.error("an array with a broken number")
    return np.frombuffer(data, dtype).astype(np.float32, copy=False)


def fields(data):
    """(field number, value, the field as encoded) for each field of a protobuf message, in order.

    The value of a length-delimited field is a memoryview, that of any other an int (fixed widths
    unread as bits). Raises struct.error where the message ends in the middle of a field.
    """
    if not isinstance(data, memoryview):
        raise struct.error("a number in place of a message")
    at, end = 0, len(data)
    while at < end:
        start = at
        key, at = _varint(data, at)
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire in (FIXED32, FIXED64):
            width = 4 if wire == FIXED32 else 8
            value, at = int.from_bytes(data[at : at + width], "little"), at + width
        elif wire == BYTES:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise struct.error("not a protobuf message")
        if at > end:
            raise struct.error("it ends in the middle of a field")
        if key >> 3 == 0:
            raise struct.error("not a protobuf message")
        yield key >> 3, value, data[start:at]


def _bytes(value):
    if not isinstance(value, memoryview):
        raise struct.error("a number in place of a message")
    return bytes(value)


def _varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise struct.error("it ends in the middle of a field")
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise struct.error("not a protobuf message")


def read_with_prototxt(path, prototxt):
    """The caffemodel's parameters for the layers of the net in `prototxt`, in its shapes.

    Only the net is built by Caffe; it holds no second copy of the weights.
    """
    parse(prototxt)  # a typo gets its one line here: BVLC Caffe would abort
    source, weights = read(path), OrderedDict()
    for name, blobs in caffe.Net(prototxt, caffe.TEST).params.items():
        for index, (array, blob) in enumerate(zip(source.get(name, []), blobs)):
            shape = tuple(blob.shape)
            if array.size != np.prod(shape, dtype=np.int64):
                raise SurgeryError(
                    f"layer {name}, parameter {index}: {path} has shape {by_x(array.shape)}, "
                    f"{prototxt} has {by_x(shape)}; they are not of one net"
                )
            weights.setdefault(name, []).append(array.reshape(shape))
    if not weights:
        raise SurgeryError(f"{path}: none of the layers of {prototxt} is in it")
    return weights


def read_hdf5(path):
    """The parameters in Caffe's HDF5 form: /data/<layer>/<index>."""
    weights = OrderedDict()
    with open_hdf5(path) as file:
        if "data" not in file:
            raise SurgeryError(f"{path}: neither Caffe's HDF5 weights (/data) nor HED's (/block1)")
        try:
            for name, layer in file["data"].items():
                blobs = [np.array(layer[key], np.float32) for key in sorted(layer, key=int)]
                if blobs:
                    weights[name] = blobs
        except (AttributeError, TypeError, ValueError):
            raise SurgeryError(f"{path}: /data is not Caffe's /data/<layer>/<index>") from None
    return weights
