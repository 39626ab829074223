"""Split lists: one image id a line; every error names the file and, where it can, the line."""

from __future__ import annotations

import os
import re
import unicodedata

from segmentation.kinds import wrong_kind
from segmentation.opening import LARGEST_LIST, read_regular
from segmentation.params import DataError

IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm",
)  # fmt: skip
"""How the names of photographs end, in lower case; upper case is as good."""

FORM = "no folder, no extension, no second column"

_NO_LIST = ("<", "{", "version https://git-lfs")  # how web pages, messages and pointers begin
_NO_IMAGES = ("thumbs.db", "desktop.ini")
_BREAKS = re.compile(r"\r\n|\r|\n")  # not all that Unicode breaks lines at: an editor shows none
_COLUMNS = re.compile(r"[\s,;]+")
_ENDINGS = (*IMAGE_ENDINGS, ".mat", ".gif", ".txt")


def hidden(name):
    """Whether a file is one that systems leave in folders: `._x.jpg`, `.DS_Store`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in _NO_IMAGES


def read_lines(path, expected):
    """[(number, text)] of the lines of a text file that are not blank, stripped, from 1.

    `expected` says what a line should be, for the message. Raises DataError.
    """
    try:
        data = read_regular(path, LARGEST_LIST)
        lines = _BREAKS.split(data.decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is the data set's folder right?") from None
    except UnicodeDecodeError as error:
        wrong = wrong_kind(path, f"a text of {expected} a line", "text")
        if wrong:
            raise DataError(f"{path}: {wrong}") from None
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") and len(data) % 2 == 0:
            raise DataError(f"{path}: the text is UTF-16; save it as UTF-8") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: not a text file in UTF-8 (line {line}); expected {expected} a line"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if lines and lines[0].startswith(_NO_LIST):
        wrong = wrong_kind(path, f"a text of {expected} a line", "text")
        if wrong:
            raise DataError(f"{path}: {wrong}")
    return [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]


def read_split(path):
    """The ids of a split file, one a line, in its order. Raises DataError."""
    if not os.path.exists(path):
        made = "; tools/seg12val.py makes it" if path.endswith("seg12val.txt") else ""
        raise DataError(f"{path}: no such split file{made or _splits_beside(path)}")
    lines = read_lines(path, "one image id")
    wrong = [(number, name) for number, name in lines if not _safe(name)]
    if wrong:
        number, name = wrong[0]
        more = f" ({len(wrong)} such lines)" if len(wrong) > 1 else ""
        reason = fault(name) or f"{name[:60]!r} cannot be the name of a file; {FORM}"
        raise DataError(f"{path}:{number}: not an image id: {reason}{more}")
    if not lines:
        raise DataError(f"{path}: the split is empty; expected one image id a line")
    return [name for _, name in lines]


def split_file(folder, split):
    """`folder`/`split`.txt, where `split` is a plain name."""
    if not _safe(split):
        raise DataError(f"split {split!r} is not a name; expected one such as 'train' or 'val'")
    return os.path.join(folder, split + ".txt")


def fault(name):
    """What about the form of an id may keep its files from being found, in words; "" if nothing.

    An id may have spaces, folders and dots where its files have them: ask only once a file is
    missing.
    """
    first = _COLUMNS.split(name.strip().strip("\"'"))[0].strip("\"'")
    file = re.split(r"[/\\]", first)[-1]
    stem, ending = os.path.splitext(file)
    found = ["a second column"] * bool(_COLUMNS.search(name.strip()))
    found += ["a folder"] * bool(re.search(r"[/\\]", first))
    found += ["an extension"] * (ending.lower() in _ENDINGS)
    if name.startswith("#"):
        return f"{name[:60]!r} is a comment; write only ids, one a line"
    if hidden(file):
        return f"{name[:60]!r} is a hidden file and no image; take it out of the list"
    if not found:
        return "" if "'" not in name and '"' not in name else f"{name[:60]!r} has quotes; {FORM}"
    example = (stem if ending.lower() in _ENDINGS else file)[:40] or "0001TP_006690"
    has = " and ".join(part for part in (", ".join(found[:-1]), found[-1]) if part)
    return f"{name[:60]!r} has {has}; write one id a line, e.g. {example}: {FORM}"


def _safe(name):
    parts = name.split("/")
    return not (
        any(part in ("", ".", "..") for part in parts) or "\\" in name or any(map(_unseen, name))
    )


def _unseen(letter):
    """Whether it steers a terminal, breaks the line, or turns or hides what follows. The joiners
    of Arabic and Indian scripts are letters."""
    return unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") and letter not in "\u200c\u200d"


def _splits_beside(path):
    folder = os.path.dirname(path) or "."
    try:
        names = sorted(n[:-4] for n in os.listdir(folder) if n.endswith(".txt") and n[0] != ".")
    except OSError:
        return f", nor is there its folder {folder}; is the data set's folder right?"
    return f"; splits there: {', '.join(names[:8]) or 'none'}"
