"""What a file is: its bytes say it, not its name.

A reader that wants a caffemodel and is given a web page, say, names the page and what to do about
it: `refuse`. Only what is certain is named; of anything else the reader itself says what is wrong.
"""

from __future__ import annotations

import codecs
import os
import re
from typing import NamedTuple

from caffe.errors import InputError
from caffe.proto import message_kinds
from caffe.proto.encoding import Damaged, field_at
from caffe.proto.opening import FileBytes, read_whole

_HEAD, _TAIL = 4096, 1 << 16  # bytes that are looked at; of protobuf messages, the first fields


class Kind(NamedTuple):
    """A kind of file: a short name for programs, its name in a sentence, and what to do with one
    that is in another's place."""

    tag: str
    what: str
    remedy: str = ""


HDF5, LMDB, MATLAB, TEXT, PAGE = "HDF5", "LMDB", "MATLAB", "text", "page"
NET, SOLVER, EMPTY = "net prototxt", "solver prototxt", "empty"
CAFFEMODEL, SOLVERSTATE, BLOB, DATUM = "caffemodel", "solverstate", "BlobProto", "Datum"
PICTURES = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000")  # as Pillow names them
ALL_TEXT = (TEXT, NET, SOLVER, "JSON", EMPTY)

_UNPACK = "unpack it first"
_CONVERT = "convert its arrays first"
_MESSAGES = {
    CAFFEMODEL: Kind(CAFFEMODEL, "a caffemodel", "it is read where weights are asked for"),
    SOLVERSTATE: Kind(
        SOLVERSTATE, "a solverstate", "the weights are in the .caffemodel beside it; training is "
        "resumed from this file",
    ),
    BLOB: Kind(BLOB, "a single BlobProto (a mean_file, say)"),
    DATUM: Kind(DATUM, "a Datum, one item of a database"),
    message_kinds.ONNX: Kind("ONNX", "an ONNX model", _CONVERT),
    message_kinds.TENSORFLOW: Kind("TensorFlow", "a TensorFlow graph", _CONVERT),
}  # fmt: skip
_UTF16 = Kind("UTF-16", "text in UTF-16", "save it as UTF-8")


def _picture(format: str) -> Kind:
    return Kind(format, f"a picture ({format})")


_FIRST_BYTES: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", Kind(HDF5, "an HDF5 file")),
    (0, b"version https://git-lfs.github.com/spec/",
     Kind("LFS", "a Git LFS pointer", "`git lfs pull` brings the file itself")),
    (0, b"\x1f\x8b", Kind("gzip", "a gzip archive", _UNPACK)),
    (4, b"1AY&SY", Kind("bzip2", "a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\0", Kind("xz", "an xz archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Kind("zstd", "a Zstandard archive", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", Kind("lz4", "an LZ4 archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Kind("rar", "a RAR archive", _UNPACK)),
    (257, b"ustar", Kind("tar", "a tar archive", _UNPACK)),
    (0, b"\x93NUMPY", Kind("npy", "a NumPy array (.npy)", "read it with numpy.load")),
    (0, b"%PDF-", Kind("PDF", "a PDF document")),
    (0, b"\x89PNG\r\n\x1a\n", _picture("PNG")),
    (0, b"\xff\xd8\xff", _picture("JPEG")),
    (0, b"GIF87a", _picture("GIF")),
    (0, b"GIF89a", _picture("GIF")),
    (0, b"II*\0", _picture("TIFF")),
    (0, b"MM\0*", _picture("TIFF")),
    (8, b"WEBPVP8", _picture("WEBP")),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", _picture("JPEG2000")),
    (0, b"MATLAB 5.0 MAT-file", Kind(MATLAB, "a MATLAB file (.mat)")),
    (0, b"MATLAB 7.3 MAT-file", Kind(MATLAB, "a MATLAB file (.mat)")),
    (16, b"\xde\xc0\xef\xbe", Kind(LMDB, "the data file of an LMDB", "name its folder")),
    (0, b"SQLite format 3\0", Kind("SQLite", "an SQLite database")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("Office", "a Microsoft Office document")),
    (0, b"\x7fELF", Kind("ELF", "a program")),
    (0, b"GGUF", Kind("GGUF", "a GGUF model", _CONVERT)),
    (4, b"TFL3", Kind("TFLite", "a TensorFlow Lite model", _CONVERT)),
    (0, b"\xff\xfe", _UTF16),
    (0, b"\xfe\xff", _UTF16),
)  # fmt: skip
_TORCH = Kind("PyTorch", "a PyTorch file", _CONVERT)
_PICKLE = Kind("pickle", "a Python pickle", f"{_CONVERT}, and only if you trust it: it runs code")
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # PyTorch's own number, pickled
_OLD_PICKLE = re.compile(rb"([]}(]q\x00|\(dp\d|\(lp\d|ccopy_reg\n|cnumpy[.\w]*\n|ccollections\n)")
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body|script|title|meta)\b", re.IGNORECASE)
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_PROTOTXT_LINE = re.compile(r"\s*(#|\}|\w+\s*[:{])")
_TOP_FIELD = re.compile(r"^(\w+)\s*[:{]", re.MULTILINE)


def _zip_kind(buf, head: bytes) -> Kind:
    """An archive by the names of what is in it, at its beginning and its end."""
    names = head + bytes(buf[-_TAIL:])
    if b"data.pkl" in names:
        return _TORCH
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first.endswith(b".npy"):
        return Kind("npz", "NumPy arrays (.npz)", "read them with numpy.load")
    if b"model.weights.h5" in names:
        return Kind("Keras", "a Keras model", _CONVERT)
    return Kind("zip", "a zip archive", _UNPACK)


def _is_safetensors(head: bytes, size: int) -> bool:
    described = int.from_bytes(head[:8], "little")
    return 2 <= described <= size - 8 and head[8:10] == b'{"'


def _is_bitmap(head: bytes) -> bool:
    return head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[15:18] == b"\0\0\0"


def _is_utf16(head: bytes) -> bool:
    """Whether it is UTF-16 without its mark: text in which one byte of two is nearly always 0."""
    zeros, others = sorted((head[0::2], head[1::2]), key=lambda half: -half.count(0))
    return len(head) >= 8 and zeros.count(0) > 0.9 * len(zeros) and _is_text(others)


def _is_text(head: bytes) -> bool:
    """Whether it holds no control characters, and is UTF-8 (which may be cut off at the end) or
    mostly ASCII."""
    if _CONTROLS.search(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return True
    except UnicodeDecodeError:
        return sum(byte < 128 for byte in head) > 0.7 * len(head)


def _binary_kind(buf, head: bytes) -> Kind | None:
    for place, magic, kind in _FIRST_BYTES:
        if head.startswith(magic, place):
            return kind
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(buf, head)
    if head[4:8] == b"ftyp" and head[:3] == b"\0\0\0":
        return Kind("HEIF", "a photograph in HEIF, or a video", "save the picture as JPEG or PNG")
    if _is_bitmap(head):
        return _picture("BMP")
    if _is_safetensors(head, len(buf)):
        return Kind("safetensors", "a safetensors file", _CONVERT)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _TORCH if head.startswith(_OLD_TORCH, 2) else _PICKLE
    return None


def _prototxt_kind(lines: list[str], text: str) -> str:
    """NET or SOLVER, where the text is a prototxt of that kind; else TEXT."""
    if not all(map(_PROTOTXT_LINE.match, lines)):
        return TEXT
    fields = set(_TOP_FIELD.findall(text))
    return next((tag for tag, own in message_kinds.TEXT_FIELDS.items() if fields & own), TEXT)


def _lines(head: bytes) -> tuple[list[str], str]:
    """The whole lines at a text's beginning that are not blank, and those lines as they stand."""
    text = head.decode("utf-8-sig", "replace")
    whole = text if len(head) < _HEAD else text.rpartition("\n")[0]
    return [line for line in whole.splitlines() if line.strip()], whole


def _is_prototxt(head: bytes) -> bool:
    """Whether it is text that reads as a net's or solver's prototxt; its letters may read as a
    message too."""
    return _is_text(head) and _prototxt_kind(*_lines(head)) != TEXT


def _text_kind(head: bytes) -> Kind:
    text = head.decode("utf-8-sig", "replace")
    if _WEB_PAGE.match(text.encode()):
        return Kind(PAGE, "a web page (HTML)", "its address leads to a page about the file: "
                    "download the file itself")  # fmt: skip
    if re.match(r"\s*<[?!/\w]", text):
        return Kind(PAGE, "an XML document", "if it was downloaded, it holds the server's message")
    if re.match(r'\s*[{\[]\s*(["{}\[\]]|-?\d)', text):
        return Kind("JSON", "a JSON text", "if it was downloaded, it holds the server's message")
    lines, whole = _lines(head)
    tag = _prototxt_kind(lines, whole)
    if tag == NET:
        return Kind(NET, "a net's prototxt")
    if tag == SOLVER:
        return Kind(SOLVER, "a solver's prototxt")
    first = next(iter(lines), "").strip()
    quoted = f"{first[:40]}…" if len(first) > 40 else first
    return Kind(TEXT, f"a text that begins '{quoted}'" if quoted else "nothing but blanks")


def kind_of(buf) -> Kind | None:
    """The kind of a whole file's bytes (or FileBytes); None where it is not known."""
    head = bytes(buf[:_HEAD])
    if not head:
        return Kind(EMPTY, "empty", "copy or download it again")
    if _is_prototxt(head):
        return _text_kind(head)
    found = _binary_kind(buf, head) or _MESSAGES.get(message_kinds.message_kind(buf) or "")
    if found is not None:
        return found
    if _OLD_PICKLE.match(head):
        return _PICKLE
    if _is_text(head):
        return _text_kind(head)
    return _UTF16 if _is_utf16(head) else None


def sentence(kind: Kind, wanted: str) -> str:
    """That it is not what was `wanted` ("a caffemodel"), and what to do about it."""
    remedy = f"; {kind.remedy}" if kind.remedy else ""
    return f"it is {kind.what}, {'and ' if ',' in kind.what else ''}not {wanted}{remedy}"


def misfit(buf, wanted: str, *accepted: str) -> str:
    """`sentence` for bytes of another kind than those whose tags are `accepted`; "" for them, and
    for what is of no known kind."""
    kind = kind_of(buf)
    return "" if kind is None or kind.tag in accepted else sentence(kind, wanted)


def refuse(buf, name: str, wanted: str, *accepted: str) -> None:
    """Raise InputError, which names the file, where `misfit` says something."""
    problem = misfit(buf, wanted, *accepted)
    if problem:
        raise InputError(f"{name}: {problem}")


def open_message(path, wanted: str, *accepted: str) -> tuple[memoryview, str]:
    """The bytes of a file that holds a protobuf message, and its name. Raises InputError where it
    is of another kind than those `accepted`, or does not begin as a message does."""
    name = os.fspath(path)
    with FileBytes(path) as head:  # before the whole of something large is read
        refuse(head, name, wanted, *accepted)
    buf = read_whole(path)
    try:
        field_at(buf, 0, len(buf))
    except Damaged as err:
        raise InputError(f"{name}: is not {wanted}, or it is damaged: {err}") from None
    return buf, name


def check_text(path, wanted: str) -> None:
    """Raise InputError where `path` is no regular file, or plainly holds no text of lines."""
    with FileBytes(path) as buf:
        refuse(buf, os.fspath(path), wanted, *ALL_TEXT)


def file_misfit(path, wanted: str, *accepted: str) -> str:
    """`misfit` of a file; "" also where it cannot be read."""
    try:
        with FileBytes(path) as buf:
            return misfit(buf, wanted, *accepted)
    except InputError:
        return ""
