"""Damage to files, from a seeded generator: the same seed always gives the same bytes."""

from __future__ import annotations

import random
import re

LARGEST = 1 << 18  # bytes of a damaged file
_WORDS = re.compile(rb'"[^"]*"|[\w.+-]+|[^\w\s]')
_HOSTILE = [b"9" * 5000, b"-1", b"1e999", b"nan", b"0x" + b"f" * 300, b"18446744073709551616", b'"']
_HOSTILE += [b"{", b"}", b"<", b"[", b"]", b":", b"#", b"\\777", b"\0", b"\xff", b"\xed\xb0\x80"]


def _place(rng: random.Random, data) -> int:
    return rng.randrange(len(data)) if data else 0


def _span(rng: random.Random, data) -> tuple[int, int]:
    start = _place(rng, data)
    return start, start + rng.randint(1, rng.choice((4, 32, 1024)))


def truncate(rng: random.Random, data: bytes, _) -> bytes:
    return data[: _place(rng, data)]


def flip_bits(rng: random.Random, data: bytes, _) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16)) if out else 0):
        out[_place(rng, out)] ^= 1 << rng.randrange(8)
    return bytes(out)


def change_used_byte(rng: random.Random, data: bytes, _) -> bytes:
    """A byte that is not 0 becomes another one: most bytes of HDF5's structures are 0."""
    out = bytearray(data)
    for _ in range(32):
        place = _place(rng, out)
        if out and out[place]:
            out[place] = rng.randrange(256)
            break
    return bytes(out)


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Part of another valid file in place of a part of this one."""
    start, end = _span(rng, data)
    first, last = _span(rng, other)
    return data[:start] + other[first:last] + data[end:]


def duplicate(rng: random.Random, data: bytes, _) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 100)) + data[end:]


def remove(rng: random.Random, data: bytes, _) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def inflate_varint(rng: random.Random, data: bytes, _) -> bytes:
    """A number in protobuf's coding, huge or too long, where a small one may have stood."""
    place = _place(rng, data)
    huge = _varint(rng.choice((1 << 31, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1, 1 << 70)))
    value = rng.choice((huge, _varint(rng.getrandbits(rng.choice((8, 16, 24)))), b"\x80" * 12))
    return data[:place] + value + data[place + 1 :]


def overwrite_word(rng: random.Random, data: bytes, _) -> bytes:
    """A little-endian number of 2, 4 or 8 bytes: a length, an address, a count."""
    size = rng.choice((2, 4, 8))
    place = _place(rng, data)
    limit = 1 << 8 * size
    near = rng.choice((0, 1, limit - 1, limit >> 1, _place(rng, data), rng.getrandbits(8 * size)))
    return data[:place] + (near % limit).to_bytes(size, "little") + data[place + size :]


def nest(rng: random.Random, data: bytes, _) -> bytes:
    """The file inside a message field of itself, many times over, lengths right."""
    for _ in range(rng.choice((1, 3, 200))):
        tag = _varint(rng.choice((1, 2, 7, 100, rng.randrange(1, 200))) << 3 | 2)
        data = tag + _varint(len(data)) + data
    return data


def fill_up(rng: random.Random, data: bytes, _) -> bytes:
    """A few bytes, over and over: most small parts in the least space."""
    unit = (
        rng.randbytes(rng.randint(1, 4)) if rng.random() < 0.5 else data[slice(*_span(rng, data))]
    )
    unit = unit[: rng.choice((2, 5, 10, 64))]
    return data + unit * (rng.choice((1000, LARGEST // 8)) // max(1, len(unit)))


def swap_words(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A word of a text becomes another, of this file or of another one."""
    mine, others = list(_WORDS.finditer(data)), _WORDS.findall(other)
    if not mine or not others:
        return data
    found = rng.choice(mine)
    return data[: found.start()] + rng.choice(others) + data[found.end() :]


def put_hostile_word(rng: random.Random, data: bytes, _) -> bytes:
    mine = list(_WORDS.finditer(data))
    if not mine:
        return rng.choice(_HOSTILE)
    found = rng.choice(mine)
    start = rng.choice((found.start(), found.end()))
    return data[:start] + rng.choice(_HOSTILE) + data[found.end() :]


def repeat_line(rng: random.Random, data: bytes, _) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    place = rng.randrange(len(lines))
    lines[place] *= rng.choice((2, 10, 300))
    return b"".join(lines)


def nest_text(rng: random.Random, data: bytes, _) -> bytes:
    """Opening braces after a field's name, thousands of them, closed or not."""
    depth = rng.choice((2, 100, 3000))
    opened = rng.choice((b"layer {", b"layers { layer {", b"{", b"x <", b"input_dim: [", b"[a."))
    place = _place(rng, data)
    return data[:place] + opened * depth + data[place:] + b"}" * rng.choice((0, depth))


COMMON = (truncate, flip_bits, splice, duplicate, remove)
BINARY = (*COMMON, inflate_varint, nest, fill_up, change_used_byte)
STRUCTURED = (*COMMON, overwrite_word, overwrite_word, change_used_byte, change_used_byte)
TEXT = (*COMMON, swap_words, swap_words, put_hostile_word, repeat_line, nest_text)


def damaged(rng: random.Random, seeds: list[bytes], kinds) -> bytes:
    """One of `seeds` after one to three of the mutations `kinds`."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(kinds)(rng, data, rng.choice(seeds))[:LARGEST]
    return data
