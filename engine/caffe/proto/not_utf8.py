"""Text of any encoding, as str: prototxts with comments and file names in GBK or Latin-1.

Caffe looks at bytes. protobuf's strings hold Unicode only, so each byte that is no part of UTF-8
text stands in them as the character U+F0000 + byte, out of a range that nobody uses; `path` makes
the bytes of a file's name of it again.
"""

from __future__ import annotations

import codecs
import os
import re

_STAND_IN = 0xF0000  # of byte 0
_TO_SURROGATES = {_STAND_IN + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}
_COMMENT_OR_STRING = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""")
_OCTAL_OR_HEX = re.compile(r"(?:\\(?:[0-7]{1,3}|[xX][0-9a-fA-F]{1,2}))+|\\.", re.DOTALL)
_ONE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2}))")


def _stand_ins(error: UnicodeError):
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(_STAND_IN + byte) for byte in bad), error.end


codecs.register_error("caffe.stand_ins", _stand_ins)


def decode(data: bytes) -> str:
    """`data` as text: UTF-8, other bytes as stand-ins."""
    return data.decode("utf-8", "caffe.stand_ins")


def path(name) -> str:
    """`name`, out of a prototxt or from a caller, as Python's functions for files want it."""
    return at_home(os.fsdecode(name).translate(_TO_SURROGATES))


def at_home(name: str) -> str:
    """`name` with the home folder in place of a leading `~/`, as the toolkit's data layers have it;
    as it is where a folder is really called `~`."""
    if name.startswith("~/") and not os.path.lexists("~"):
        return os.path.expanduser(name)
    return name


def _unescaped(found: re.Match) -> str:
    """A run of escapes, those of bytes that are no UTF-8 as stand-ins, all others as escapes."""
    codes = [int(octal or "0", 8) or int(hexa or "0", 16) for octal, hexa in _ONE.findall(found[0])]
    data = bytes(code & 0xFF for code in codes)
    try:
        data.decode("utf-8")
        return found[0]
    except UnicodeDecodeError:
        pass
    parts = []
    for letter in decode(data):
        stands_in = 0x80 <= ord(letter) - _STAND_IN < 0x100
        escaped = "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8"))
        parts.append(letter if stands_in else escaped)
    return "".join(parts)


def _strings_unescaped(found: re.Match) -> str:
    token = found[0]
    return token if token[0] == "#" else _OCTAL_OR_HEX.sub(_unescaped, token)


def without_escaped_bytes(text: str) -> str:
    """A prototxt's text in which escapes such as ``\\351`` that are no UTF-8 are stand-ins."""
    return _COMMENT_OR_STRING.sub(_strings_unescaped, text) if "\\" in text else text
