"""Weights from a .caffemodel of any generation (Oxford's VGG is V1), or from HDF5.

The embedded engine has its own reader, which takes the file's size of memory and copies no number
again: the 553 MB of VGG-16 take a fraction of a second. Under BVLC Caffe protobuf reads the file,
which takes a few times its size.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from google.protobuf.message import DecodeError

import caffe
from caffe.proto import caffe_pb2
from prototxt.opening import open_regular
from prototxt.skeleton import parse
from surgery.errors import SurgeryError
from surgery.importers.hdf5 import is_hdf5, read_arrays
from surgery.weights import by_x

# NVIDIA Caffe's own fields of a blob, which BVLC Caffe's schema lacks, and its type numbers.
RAW_DATA_TYPE, RAW_DATA = 10, 12
RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}


def read(path) -> OrderedDict[str, list[np.ndarray]]:
    """Every layer of a caffemodel, or of Caffe's HDF5, that has parameters: ordered dict name ->
    list of arrays.

    The arrays are float32, on the engine read-only views of a caffemodel. Raises SurgeryError
    where the file is cut off or is no caffemodel.
    """
    if hasattr(caffe, "engine"):
        layers = _read_by_engine(path)
    else:
        layers = _read_hdf5(path) if is_hdf5(path) else _read_by_protobuf(path)
    weights = OrderedDict((name, blobs) for name, blobs in layers if blobs)
    if not weights:
        raise SurgeryError(f"{path}: no layer in it has parameters; is it a caffemodel?")
    return weights


def _read_by_engine(path):
    from caffe.proto.encoding import LegacyShape

    try:
        layers = caffe.engine.read_weights(path)
    except caffe.engine.Error as error:
        raise SurgeryError(str(error)) from None
    for name, _, blobs in layers:
        yield (
            name,
            [
                array.reshape(
                    _without_legacy_axes(shape) if isinstance(shape, LegacyShape) else shape
                )
                for shape, array in filter(None, blobs)  # HDF5 leaves shared ones to their owner
            ],
        )


def _without_legacy_axes(shape):
    """Before blobs had any number of axes, a matrix was 1 x 1 x O x I and a bias 1 x 1 x 1 x O."""
    if shape[:2] != (1, 1):
        return shape
    return shape[3:] if shape[2] == 1 else shape[2:]


def _read_by_protobuf(path):
    """(name, [array per blob]) of every layer of a caffemodel, read by protobuf alone."""
    try:
        with open_regular(path) as file:
            net = caffe_pb2.NetParameter.FromString(file.read())
    except DecodeError as error:
        raise SurgeryError(
            f"{path}: the caffemodel is damaged or cut short ({error}); copy or download it again"
        ) from None
    layers = [layer.layer if layer.HasField("layer") else layer for layer in net.layers]  # V0, V1
    for layer in (*layers, *net.layer):
        where = f"{path}: layer '{layer.name}', blob"
        yield layer.name, [_array(blob, f"{where} {i}") for i, blob in enumerate(layer.blobs)]


def _array(blob, where):
    """The numbers of a BlobProto as float32, in its shape; the blob is left without all else."""
    shape = tuple(blob.shape.dim)
    if not blob.HasField("shape"):
        shape = _without_legacy_axes((blob.num, blob.channels, blob.height, blob.width))
    numbers = _raw_numbers(blob, where)
    if numbers is None and blob.double_data:
        numbers = _packed(blob, "double_data", "<f8")
    elif numbers is None:
        numbers = _packed(blob, "data", "<f4")
    if min(shape, default=0) < 0 or numbers.size != np.prod(shape, dtype=np.float64):
        raise SurgeryError(f"{where}: it has a blob of shape {shape} with {numbers.size} numbers")
    return numbers.reshape(shape)


def _packed(blob, name, dtype):
    """The numbers of a packed field as float32: of a message with no other field, the last bytes.

    Taken one by one, VGG-16's would need ten seconds.
    """
    count = len(getattr(blob, name))
    for field, _ in blob.ListFields():
        if field.name != name:
            blob.ClearField(field.name)
    blob.DiscardUnknownFields()
    data, dtype = blob.SerializeToString(), np.dtype(dtype)
    start = len(data) - count * dtype.itemsize
    return np.frombuffer(data, dtype, offset=start).astype(np.float32, copy=False)


def _raw_numbers(blob, where):
    """Numbers that NVIDIA Caffe stored as bytes; None where there are none."""
    raw = {field.field_number: field.data for field in _unknown_fields(blob)}
    data, kind = raw.get(RAW_DATA), raw.get(RAW_DATA_TYPE)
    if not data:
        return None
    if kind not in RAW_TYPES:
        raise SurgeryError(
            f"{where}: it has raw numbers of "
            f"{'no type' if kind is None else f'the unknown type {kind}'} "
            "(known: 0 double, 1 float, 2 float16); the file is wrong"
        )
    dtype = np.dtype(RAW_TYPES[kind])
    if len(data) % dtype.itemsize:
        raise SurgeryError(
            f"{where}: {len(data)} bytes of raw numbers are no whole count of {dtype}; "
            "the file is wrong"
        )
    return np.frombuffer(data, dtype).astype(np.float32)


def _unknown_fields(message):
    try:
        from google.protobuf.unknown_fields import UnknownFieldSet
    except ImportError:  # protobuf before 4.21
        return message.UnknownFields()
    return UnknownFieldSet(message)


def read_with_prototxt(path, prototxt) -> OrderedDict[str, list[np.ndarray]]:
    """The caffemodel's parameters for the layers of the net in `prototxt`, in its shapes.

    Only the net is built by Caffe; it holds no second copy of the weights.
    """
    parse(prototxt)  # a typo gets its one line here: BVLC Caffe would abort
    source = read(path)
    weights: OrderedDict[str, list[np.ndarray]] = OrderedDict()
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


def _read_hdf5(path):
    """(name, arrays) of every layer of Caffe's HDF5 form: /data/<layer>/<index>."""
    layers: dict = {}
    for (_, name, index), array in read_arrays(path, "data", ".*", "[0-9]{1,5}").items():
        layers.setdefault(name, {})[int(index)] = array
    if not layers:
        raise SurgeryError(f"{path}: neither Caffe's HDF5 weights (/data) nor HED's (/block1)")
    for name, arrays in layers.items():
        yield name, [arrays[index] for index in sorted(arrays)]
