"""protobuf's wire format, walked over a file's bytes: fields, and blobs as NumPy views.

A VGG caffemodel is 553 MB of packed floats; read as messages it would be held several times
over, one Python call per number. Here only the few bytes between the numbers are looked at, and
the numbers stay where they are in the file. Sizes are checked against what is there before any
memory is taken, so a damaged file costs an InputError and nothing else.

The encoding: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from caffe.errors import Error
from caffe.proto import not_utf8

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_AXES = 32  # Caffe's kMaxBlobAxes
MAX_PARTS = 1 << 16  # layers, or blobs, of one file: each costs memory, however little it holds
_INT32_MAX = (1 << 31) - 1
_RUN = 1 << 16  # unpacked numbers looked at in one step


class Damaged(ValueError):
    """The bytes are not what they should be; the reader of the file adds the file's name."""


class LegacyShape(tuple):
    """A blob's shape stored as num, channels, height, width, as files of before 2015 have it."""

    __slots__ = ()


def shapes_match(stored: tuple, shape: tuple) -> bool:
    """Caffe's rule for a stored blob and a net's: equal, or equal to the legacy four numbers.

    A legacy shape matches any shape of up to 4 axes that it equals once 1s are put before it.
    """
    shape = tuple(shape)
    if isinstance(stored, LegacyShape):
        return len(shape) <= 4 and tuple(stored) == (1,) * (4 - len(shape)) + shape
    return tuple(stored) == shape


class Field(NamedTuple):
    """One field: its number, wire type, and its value (varint) or its bytes' bounds."""

    number: int
    kind: int
    value: int
    start: int
    end: int


def varint(buf, pos: int, end: int) -> tuple[int, int]:
    """Unsigned value of the varint at ``pos``, and the position after it."""
    value = shift = 0
    while True:
        if pos >= end:
            raise Damaged("it ends in the middle of a number")
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Damaged("it holds a number of more than 64 bits")
            return value, pos
        shift += 7
        if shift > 63:
            raise Damaged("it holds a number of more than 64 bits")


def signed(value: int) -> int:
    """An int32 or int64 from its varint (negative numbers are stored as 64 bits)."""
    return value - (1 << 64) if value >> 63 else value


def field_at(buf, pos: int, end: int) -> tuple[Field, int]:
    """The field at ``pos``, and the position after it."""
    tag, pos = varint(buf, pos, end)
    number, kind = tag >> 3, tag & 7
    if number == 0 or number >= 1 << 29:
        raise Damaged(f"it has a field numbered {number}")
    if kind == VARINT:
        value, pos = varint(buf, pos, end)
        return Field(number, kind, value, pos, pos), pos
    if kind == BYTES:
        size, pos = varint(buf, pos, end)
    elif kind in (FIXED32, FIXED64):
        size = 4 if kind == FIXED32 else 8
    else:
        raise Damaged(f"field {number} has wire type {kind}, which Caffe's formats do not use")
    if size > end - pos:
        raise Damaged(f"field {number} should take {size} bytes, but only {end - pos} are left")
    return Field(number, kind, 0, pos, pos + size), pos + size


def fields(buf, pos: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``buf[pos:end]``, in order."""
    while pos < end:
        field, pos = field_at(buf, pos, end)
        yield field


def check_parts(count: int) -> None:
    """Raise Damaged where a file's layers and blobs are more than any net's."""
    if count > MAX_PARTS:
        raise Damaged(f"it holds more than {MAX_PARTS} layers or blobs")


def expect(field: Field, *kinds: int) -> Field:
    if field.kind not in kinds:
        raise Damaged(f"field {field.number} has wire type {field.kind}")
    return field


def text_of(buf, field: Field) -> str:
    expect(field, BYTES)
    return not_utf8.decode(bytes(buf[field.start : field.end]))


def _integers(buf, field: Field, most: int) -> list[int]:
    """Values of a repeated int64, packed or not."""
    if expect(field, VARINT, BYTES).kind == VARINT:
        return [signed(field.value)]
    values, pos = [], field.start
    while pos < field.end:
        value, pos = varint(buf, pos, field.end)
        values.append(signed(value))
        if len(values) > most:
            raise Damaged(f"it has a blob of more than {most} axes")
    return values


def _unpacked_run(buf, start: int, end: int, tag: int, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Numbers stored one field each from ``start`` on, as far as their tag repeats."""
    step = 1 + dtype.itemsize
    parts, pos, run = [], start, 1
    while True:
        # Few at first: where tags alternate, every number would look at a whole run otherwise.
        run = min(run * 16, _RUN)
        rows = min((end - pos) // step, run)
        table = np.frombuffer(buf, np.uint8, rows * step, pos).reshape(rows, step)
        same = table[:, 0] == tag
        count = rows if same.all() else int(np.argmin(same))
        parts.append(table[:count, 1:].copy().view(dtype)[:, 0])
        pos += count * step
        if count < run:
            return np.concatenate(parts), pos


class _Numbers:
    """Numbers of one repeated float or double field of a blob."""

    def __init__(self, number: int, dtype: str):
        self.number, self.dtype = number, np.dtype(dtype)
        self.kind = FIXED32 if self.dtype.itemsize == 4 else FIXED64
        self.first: np.ndarray | None = None
        self.joined = bytearray()  # all numbers, once they come in several pieces

    def take(self, buf, field: Field, end: int) -> int:
        """Take the field's numbers, and those that follow it unpacked; the position after."""
        if expect(field, BYTES, self.kind).kind == BYTES:
            size = field.end - field.start
            if size % self.dtype.itemsize:
                raise Damaged(f"{size} bytes of numbers are no whole count of {self.dtype}")
            count = size // self.dtype.itemsize
            self._add(np.frombuffer(buf, self.dtype, count, field.start))
            return field.end
        tag = self.number << 3 | self.kind
        if field.end < end and buf[field.end] != tag:  # one alone; a run costs more to look for
            self._add(np.frombuffer(buf, self.dtype, 1, field.start))
            return field.end
        values, pos = _unpacked_run(buf, field.start - 1, end, tag, self.dtype)
        self._add(values)
        return pos

    def _add(self, values: np.ndarray) -> None:
        if self.first is None:
            self.first = values
            return
        if not self.joined:
            self.joined += self.first.data.cast("B")
        self.joined += values.data.cast("B")

    def _all(self) -> np.ndarray:
        if self.joined:
            return np.frombuffer(self.joined, self.dtype)
        return np.zeros(0, np.float32) if self.first is None else self.first

    def count(self) -> int:
        return self._all().size

    def array(self) -> np.ndarray:
        """All numbers, float32; a view of the file where it stores them in one piece."""
        with np.errstate(over="ignore"):  # a double beyond float32 is infinite, as in Caffe
            array = self._all().astype(np.float32, copy=False)
        array.flags.writeable = False
        return array


# NVIDIA Caffe's `Type`: what numbers a blob's raw bytes are (INT, UINT and BOOL hold none).
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
FLOAT16 = 2


def raw_numbers(buf, kind: int | None, start: int, end: int) -> np.ndarray:
    """The numbers that NVIDIA Caffe stores as bytes, ``buf[start:end]``, as float32.

    ``kind``: the blob's raw_data_type, DOUBLE 0, FLOAT 1 or FLOAT16 2. float16 is widened
    exactly, subnormal numbers too. Raises Damaged for another type, and where the bytes are no
    whole count of numbers.
    """
    if kind not in _RAW_TYPES:
        named = "no type" if kind is None else f"the unknown type {kind}"
        raise Damaged(f"it has raw numbers of {named} (known: 0 double, 1 float, 2 float16)")
    dtype = np.dtype(_RAW_TYPES[kind])
    if (end - start) % dtype.itemsize:
        raise Damaged(f"{end - start} bytes of raw numbers are no whole count of {dtype}")
    values = np.frombuffer(buf, dtype, (end - start) // dtype.itemsize, start)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    values.flags.writeable = False
    return values


class _Raw:
    """Numbers that NVIDIA Caffe (0.16 and later) stores as bytes; its `data` is then empty."""

    def __init__(self, kind_number: int, number: int):
        self.kind_number, self.number = kind_number, number
        self.kind: int | None = None
        self.span: Field | None = None

    def take(self, field: Field) -> bool:
        """Whether the field was one of this store's."""
        if field.number == self.kind_number:
            self.kind = expect(field, VARINT).value
        elif field.number == self.number:
            self.span = expect(field, BYTES)
        else:
            return False
        return True

    def numbers(self, buf) -> np.ndarray | None:
        """The numbers, float32; None where there are none."""
        if self.span is None or self.span.start == self.span.end:
            return None
        return raw_numbers(buf, self.kind, self.span.start, self.span.end)


class Blob(NamedTuple):
    """A stored blob: shape, numbers (float32, read-only), and gradient where it is stored."""

    shape: tuple
    data: np.ndarray
    diff: np.ndarray | None


def _count_of(shape: tuple) -> int:
    count = 1
    for dim in shape:
        if dim < 0 or (dim and count > _INT32_MAX // dim):
            raise Damaged(f"it has a blob of impossible shape {tuple(shape)}")
        count *= dim
    return count


def read_blob(buf, start: int, end: int) -> Blob:
    """The BlobProto in ``buf[start:end]``; the raw numbers of NVIDIA Caffe's schema are read too.

    Raises Damaged where shape and numbers disagree.
    """
    legacy: dict[int, int] = {}
    dims: list[int] = []
    data, diff = _Numbers(5, "<f4"), _Numbers(6, "<f4")
    double_data, double_diff = _Numbers(8, "<f8"), _Numbers(9, "<f8")
    numbers = {store.number: store for store in (data, diff, double_data, double_diff)}
    raw_data, raw_diff = _Raw(10, 12), _Raw(11, 13)
    pos = start
    while pos < end:
        field, pos = field_at(buf, pos, end)
        if field.number in numbers:
            pos = numbers[field.number].take(buf, field, end)
        elif field.number <= 4:
            legacy[field.number] = signed(expect(field, VARINT).value)
        elif field.number == 7:
            for part in fields(buf, expect(field, BYTES).start, field.end):
                if part.number == 1:
                    dims += _integers(buf, part, MAX_AXES)
                if len(dims) > MAX_AXES:
                    raise Damaged(f"it has a blob of more than {MAX_AXES} axes")
        elif not raw_data.take(field):
            raw_diff.take(field)
    shape = LegacyShape(legacy.get(i, 0) for i in range(1, 5)) if legacy else tuple(dims)
    count = _count_of(shape)
    values = _chosen(buf, raw_data, double_data, data)
    if values.size != count:
        raise Damaged(f"it has a blob of shape {tuple(shape)} with {values.size} numbers")
    gradient = _chosen(buf, raw_diff, double_diff, diff)
    if gradient.size not in (0, count):
        raise Damaged(f"it has a blob of {count} numbers with {gradient.size} gradients")
    has_diff = count and gradient.size
    return Blob(shape, values.reshape(shape), gradient.reshape(shape) if has_diff else None)


def _chosen(buf, raw: _Raw, doubles: _Numbers, floats: _Numbers) -> np.ndarray:
    """The numbers that a Caffe which knows all three would take: raw bytes, doubles, floats."""
    values = raw.numbers(buf)
    if values is not None:
        return values
    return (doubles if doubles.count() else floats).array()


def encode_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_bytes(number: int, content: bytes) -> bytes:
    return encode_varint(number << 3 | BYTES) + encode_varint(len(content)) + content


def blob_parts(array: np.ndarray, diff: np.ndarray | None = None) -> list:
    """A BlobProto's bytes in pieces, the numbers not copied where they are float32 already."""
    shape = np.shape(array)
    parts: list = []
    for number, values in ((5, array), (6, diff)):
        if values is None:
            continue
        if np.shape(values) != shape:
            raise Error(f"a blob of shape {shape} has a gradient of shape {np.shape(values)}")
        values = np.ascontiguousarray(values, dtype="<f4").reshape(-1)
        if values.size:
            head = encode_varint(number << 3 | BYTES) + encode_varint(values.nbytes)
            parts += [head, values.data.cast("B")]
    dims = b"".join(encode_varint(dim) for dim in shape)
    parts.append(encode_bytes(7, encode_bytes(1, dims) if dims else b""))
    return parts


def float16_parts(array: np.ndarray) -> list:
    """A BlobProto's bytes in pieces, its numbers in NVIDIA Caffe's raw form, rounded to float16.

    Half the size. Rounding is to nearest: the error of a number is at most 2^-11 of it, or 2^-25
    where it is below 2^-14. Raises Error where a finite number is beyond float16's 65504.
    """
    values = np.asarray(array, dtype=np.float32)
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(values, dtype="<f2").reshape(-1)
    lost = np.isfinite(values).reshape(-1) & ~np.isfinite(half)
    if lost.any():
        raise Error(f"{values.reshape(-1)[lost][0]:g} is beyond float16's largest number, 65504")
    parts: list = [encode_varint(10 << 3 | VARINT), encode_varint(FLOAT16)]
    if half.size:
        head = encode_varint(12 << 3 | BYTES) + encode_varint(half.nbytes)
        parts += [head, half.data.cast("B")]
    dims = b"".join(encode_varint(dim) for dim in values.shape)
    return [*parts, encode_bytes(7, encode_bytes(1, dims) if dims else b"")]


def parts_size(parts: list) -> int:
    return sum(len(part) for part in parts)


assert sys.byteorder == "little", "the files' numbers are used in place, least byte first"
