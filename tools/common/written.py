"""What the commands write, and by what a file is known as one of theirs: `files.write` and
`files.check_target` replace nothing else.

Pictures and weights carry a mark; a log, a JSON or a report is known by its own form.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from prototxt.opening import open_regular

MARK = "dilated-fcn2s"
"""Names this toolkit in what it writes."""
HEAD = 1 << 16
LONGEST = 1 << 26
"""Bytes of a file that are looked at: of its beginning, or in all."""


class Written(NamedTuple):
    """A kind of file that a command writes.

    what  names one in a sentence
    ours  whether a file, opened for reading bytes, is one of them
    """

    what: str
    ours: Callable[[BinaryIO], bool]


ANY = Written("a file", lambda file: True)
"""Where the command itself knows what may be replaced."""

# -- pictures -----------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"
_SOFTWARE = b"tEXtSoftware\0" + MARK.encode()
_COLOUR_TYPE, _PALETTE = 25, 3


def png_mark():
    """The mark for Pillow's `save(…, pnginfo=…)`; `metadata=PLOT_MARK` is matplotlib's way."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", MARK)
    return info


PLOT_MARK = {"Software": MARK}


def _png(palette: bool) -> Callable[[BinaryIO], bool]:
    def ours(file):
        head = file.read(HEAD)
        marked = head.startswith(_PNG) and _SOFTWARE in head
        return marked and (head[_COLOUR_TYPE] == _PALETTE) == palette

    return ours


MASK = Written("a mask that this toolkit has written", _png(palette=True))
PICTURE = Written("a picture that this toolkit has written", _png(palette=False))


def picture_kind(image) -> Written:
    """MASK or PICTURE, for a Pillow image."""
    return MASK if image.mode == "P" else PICTURE


# -- weights ------------------------------------------------------------------------------------


def _signature() -> bytes:
    """Bytes behind a caffemodel that every Caffe reads over: a stage of the net's state."""
    from caffe.proto import caffe_pb2

    state = caffe_pb2.NetState(stage=[f"initial weights of {MARK}"])
    return caffe_pb2.NetParameter(state=state).SerializeToString()


def sign_weights(path) -> None:
    """Mark the caffemodel `path` as made by surgery, and not by a training."""
    with open(path, "ab") as file:
        file.write(_signature())


def is_signed(path) -> bool:
    """Whether the caffemodel `path` has that mark."""
    with open_regular(path) as file:
        return _is_signed(file)


def _is_signed(file):
    signature = _signature()
    file.seek(0, io.SEEK_END)
    file.seek(max(0, file.tell() - len(signature)))
    return file.read() == signature


WEIGHTS = Written("weights that surgery has made", _is_signed)


# -- texts --------------------------------------------------------------------------------------


def json_of(what: str, *keys: str, others: tuple[str, ...] | None = None) -> Written:
    """JSON of an object with `keys`, or a list of such objects. others: what else one of ours may
    have, where it is known; any other key is somebody's own."""
    known = None if others is None else {*keys, *others}

    def ours(file):
        try:
            found = json.loads(file.read(LONGEST))
        except (ValueError, RecursionError):
            return False
        listed = found if isinstance(found, list) else [found]
        return bool(listed) and all(
            isinstance(one, dict)
            and one.keys() >= set(keys)
            and (known is None or one.keys() <= known)
            for one in listed
        )

    return Written(what, ours)


def begins(what: str, *starts: str) -> Written:
    """Text that begins with one of `starts`."""
    return Written(what, lambda file: file.read(HEAD).startswith(tuple(s.encode() for s in starts)))


_LOG_LINE = re.compile(rb"(?m)^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ ")
_REMARK = re.compile(rb"(warning|error|note): ")


def _is_log(file):
    head = file.read(HEAD)
    lines = [line for line in head.splitlines() if line.strip()]
    return bool(_LOG_LINE.search(head)) or all(map(_REMARK.match, lines))


LOG = Written("a log of Caffe's", _is_log)
SCORES = json_of(
    "scores of score.py", "net", "weights", "hist", "mean_iu",
    others=(
        "images", "pixel_accuracy", "mean_accuracy", "fw_iu", "loss", "classes", "mean_dice",
        "mean_precision", "mean_recall", "boundary", "calibration", "averaged", "per_image",
    ),
)  # fmt: skip


# -- archives -----------------------------------------------------------------------------------


def archive_of(folder: str) -> Written:
    """A tar file, compressed or not, whose first member lies in `folder` and has no time."""

    def ours(file):
        head = file.read(HEAD)
        try:
            if head.startswith(b"\x1f\x8b"):
                head = zlib.decompressobj(31).decompress(head, tarfile.BLOCKSIZE)
            first = tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "replace")
        except (zlib.error, tarfile.TarError):
            return False
        return first.name.startswith(folder) and first.mtime == 0

    return Written("an archive that this command has packed", ours)
