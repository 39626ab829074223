"""JPEGs made of as many scans as wanted."""

from __future__ import annotations

from tests.helpers.data_files import encoded, scene


def of_scans(count: int) -> bytes:
    """A gray progressive JPEG of 64 × 64 pixels whose last scan is there again and again."""
    data = encoded(scene(0, 64, 64)[..., 0], "JPEG", progressive=True)
    have = data.count(b"\xff\xda")
    # Its first scan, of the lowest frequency: any number of them may follow one another.
    start = data.index(b"\xff\xda")
    end = min(p for p in (data.find(b"\xff" + m, start + 2) for m in (b"\xda", b"\xc4")) if p > 0)
    return data[:end] + data[start:end] * (count - have) + data[end:]
