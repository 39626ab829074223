"""Label maps out of MATLAB files. Version 5 to 7 is read here, 7.3 in `segmentation.mat73`.

Read by own code, and as little as is needed: SciPy's reader can crash the process on a damaged
file, where these functions only raise. The format is MathWorks' "MAT-File Format", level 5.
"""

from __future__ import annotations

import struct
import zlib
from collections import namedtuple

import numpy as np

from segmentation.kinds import wrong_kind
from segmentation.mat73 import is_hdf5, read_hdf5
from segmentation.opening import read_regular
from segmentation.params import DataError

MAX_MAT_BYTES = 1 << 28  # of one .mat file, decompressed

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
NUMBERS[13] = "u8"
"""Types of data elements (miINT8 …) that hold numbers, as NumPy names them."""
MATRIX, COMPRESSED = 14, 15  # further types of data elements
CELL, STRUCT = 1, 2  # classes of arrays; 6 (double) to 15 (uint64) are dense numbers
NUMERIC = range(6, 16)
COMPLEX = 0x800  # a flag beside the class

Matrix = namedtuple("Matrix", "name kind shape complex parts")
Matrix.__doc__ = """An array of a MATLAB file: `parts` yields what follows its name, unread."""


def read_mat(path, *fields):
    """The label map `fields[0].fields[1]...` of a .mat file, H x W of any real number type.

    All values are whole; their type is the one they are stored in, which MATLAB makes as small
    as it can. Of an array of structs, and of a cell, the first element is taken. A file of
    version 7.3 needs h5py. Raises DataError.
    """
    what = ".".join(fields)
    data = _bytes(path)
    version = "7.3" if is_hdf5(data) else "5"
    try:
        if version == "7.3":
            array = read_hdf5(path, data, fields, MAX_MAT_BYTES)
        else:
            array = _read_mat5(path, data, fields)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # h5py raises nearly every kind, and so do wrong numbers
        told = " ".join(str(error).split())
        raise DataError(f"{path}: not a MATLAB {version} file, or damaged ({told})") from None
    if array is None:
        raise DataError(f"{path}: holds no {what}")
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "uif":
        raise DataError(f"{path}: {what} is no label map ({array.shape} array)")
    if array.dtype.kind == "f" and not _whole(array):
        raise DataError(f"{path}: {what} holds fractions; expected class numbers")
    return array


def _whole(array):
    return np.isfinite(array).all() and (array == np.floor(array)).all()


def _bytes(path):
    try:
        data = read_regular(path, MAX_MAT_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise DataError(f"{path}: the file is empty; fetch it again")
    return data


def _read_mat5(path, data, fields):
    """The array, or None where the file lacks it. Raises DataError, ValueError, struct.error."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        wrong = wrong_kind(path, "a MATLAB file")
        raise DataError(f"{path}: {wrong or 'not a MATLAB file (version 5 to 7.3)'}")
    for kind, content in _elements(memoryview(data)[128:], order):
        if kind == COMPRESSED:
            kind, content = next(_elements(_inflate(path, content), order), (None, None))
        if kind != MATRIX:
            continue
        matrix = _matrix(content, order)
        if matrix.name != fields[0].encode():
            continue
        matrix = _first(matrix, order)
        for field in fields[1:]:
            matrix = _first(_field(matrix, field, order), order)
        return None if matrix is None else _numbers(path, matrix, fields, order)
    return None


def _inflate(path, content):
    stream = zlib.decompressobj()
    plain = stream.decompress(content, MAX_MAT_BYTES)
    if stream.unconsumed_tail:
        raise DataError(f"{path}: larger than {MAX_MAT_BYTES} bytes when unpacked")
    return memoryview(plain)


def _elements(body, order):
    """(type, content) of the data elements that follow each other in `body`, one at a time."""
    place = 0
    while place + 8 <= len(body):
        kind, size = struct.unpack_from(order + "II", body, place)
        start = place + 8
        if kind >> 16:  # type and size share the first 4 bytes, the content is in the next 4
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            if size > 4:
                raise ValueError("a short element is too long")
        end = start + size
        if end > len(body):
            raise ValueError("cut off; fetch it again")
        yield kind, body[start:end]
        place = end if kind == COMPRESSED else -(-end // 8) * 8


def _next(parts):
    for part in parts:
        return part
    raise ValueError("cut off; fetch it again")


def _matrix(content, order):
    if len(content) == 0:  # how an empty element of a cell or struct is stored
        return Matrix(b"", NUMERIC[0], (0, 0), False, iter(()))
    parts = _elements(content, order)
    flags, shape, name = (_next(parts)[1] for _ in range(3))
    flags = struct.unpack_from(order + "I", flags)[0]
    if len(shape) > 4 * 32:
        raise ValueError("an array of more than 32 dimensions")
    shape = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    return Matrix(bytes(name), flags & 0xFF, shape, bool(flags & COMPLEX), parts)


def _first(matrix, order):
    """The first element of a cell, of a cell in a cell, ...; any other matrix as it is."""
    while matrix is not None and matrix.kind == CELL:
        _, content = next(matrix.parts, (None, None))
        matrix = None if content is None else _matrix(content, order)
    return matrix


def _field(matrix, field, order):
    """A field of the first element of a struct, or None."""
    if matrix is None or matrix.kind != STRUCT:
        return None
    width = struct.unpack_from(order + "i", _next(matrix.parts)[1])[0]
    names = bytes(_next(matrix.parts)[1])
    if width < 1:
        raise ValueError("a struct without names")
    for start in range(0, len(names), width):
        part = next(matrix.parts, None)
        if part is None:
            return None
        if names[start : start + width].split(b"\0")[0] == field.encode():
            return _matrix(part[1], order)
    return None


def _numbers(path, matrix, fields, order):
    if matrix.kind not in NUMERIC or matrix.complex:
        raise DataError(f"{path}: {'.'.join(fields)} is no label map (no plain numbers)")
    if 0 in matrix.shape:
        return np.empty(matrix.shape)
    kind, content = _next(matrix.parts)
    if kind not in NUMBERS:
        raise ValueError(f"numbers of the unknown type {kind}")
    array = np.frombuffer(content, order + NUMBERS[kind])
    if min(matrix.shape) < 0 or array.size != np.prod(matrix.shape, dtype=float):
        raise ValueError(f"{array.size} numbers in a {matrix.shape} array")
    array = array.reshape(matrix.shape, order="F")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
