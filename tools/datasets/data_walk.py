"""Every file of a data set read once, in worker processes: what tools/check_data.py reports on.

All reading goes through the data layers' own classes: what passes here, they read too.
"""

from __future__ import annotations

import collections
import hashlib
import os
import struct
import warnings
import zlib
from dataclasses import dataclass, field

import numpy as np
from segmentation.files import LABEL_ENDINGS, find
from segmentation.labels import VOID, check_labels, check_sizes
from segmentation.layer import locate
from segmentation.lists import IMAGE_ENDINGS, fault
from segmentation.params import DataError
from segmentation.pictures import orientation, read_palette

from prototxt.opening import open_regular
from tools.common import workers

BATCH = 16
"""Ids handed to a worker at a time, at most."""

Item = collections.namedtuple("Item", "split id sound")
Item.__doc__ = """One id to examine.

split  index into the list of (layer class, parsed parameters) that the workers were given
id     the id
sound  None, or (id, {top: path}) of a sound id of the same split: then each file is read with
       the other tops' files taken from there, so that one bad file hides no other
"""


@dataclass
class Contents:
    """What one id holds."""

    problems: list = field(default_factory=list)
    """(file, what is wrong with it)"""
    paths: dict = field(default_factory=dict)
    """{top: path} of the files that exist"""
    picture: str = ""
    """the top that is compared with other ids': the first that is no label"""
    digest: bytes | None = None
    """of the picture's bytes; None if it could not be read"""
    counts: np.ndarray | None = None
    """256 int64: pixels of each label value; None if the label is not sound"""
    size: tuple | None = None
    """(height, width) of the picture; None if it could not be read"""
    orientation: int = 1
    """the EXIF orientation that the picture was turned by"""
    colours: dict | None = None
    """{label value: (red, green, blue)} of a sound label's palette; None if it has none"""
    whole: bool = False
    """All its files were read"""


def class_count(layer, params):
    """How many classes the labels of a data layer have."""
    count = getattr(layer, "class_count", None)
    return (count(params) if count else params.get("classes")) or VOID


def problem(error, where, paths=()):
    """An exception as (file, what is wrong): errors of data layers begin with the file's path."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = "out of memory"
    elif isinstance(error, OSError) and error.strerror:
        return str(error.filename or where), error.strerror
    elif not hasattr(error, "exit_code"):
        text = f"{type(error).__name__}: {text}"
    for path in paths:
        if text.startswith(f"{path}: "):
            return path, text[len(path) + 2 :]
    head, found, tail = text.partition(": ")
    return (head, tail) if found and "/" in head.replace(os.sep, "/") else (where, text)


def examine(layer, params, source, name, sound=None):
    """Contents of the id `name` of a split; `sound` as in Item. Raises nothing but interrupts."""
    found = Contents()
    complete = _locate(found, source, name, sound)
    if sound is not None:
        arrays = {}
        for top, path in found.paths.items():
            arrays.update(_read(found, source, {**sound[1], top: path}, [top]))
    else:
        arrays = _read(found, source, found.paths, layer.top_names(params)) if complete else {}
    arrays = {t: a for t, a in arrays.items() if _checked(found, source, check_png, found.paths[t])}
    found.picture = next((top for top in layer.top_names(params) if top != "label"), "")
    if found.picture in arrays:
        found.digest = _digest(found.paths[found.picture])
        found.size = arrays[found.picture].shape[:2]
        found.orientation = orientation(found.paths[found.picture])
    found.whole = complete and len(arrays) == len(found.paths)
    (first, *others) = arrays or [None]
    for top in others:
        sizes = {found.paths[t]: arrays[t] for t in (first, top)}
        _checked(found, source, check_sizes, sizes, orientation)
    if "label" in arrays:
        path, label = found.paths["label"], arrays["label"]
        if _checked(found, source, check_labels, path, label, class_count(layer, params)):
            found.counts = np.bincount(label.astype(np.uint8).ravel(), minlength=256)
            if params.get("colours") is None:  # else a palette's numbers mean nothing
                found.colours = _colours(path, found.counts)
    return found


def _checked(found, source, check, *args):
    """Whether check(*args) raises nothing; what it raises goes into the problems."""
    try:
        check(*args)
    except Exception as error:
        found.problems.append(problem(error, source.where, list(found.paths.values())))
        return False
    return True


def _read(found, source, paths, tops):
    """{top: array} of `tops`; {} and a problem where they cannot be read."""
    try:
        arrays = source.read(paths)
        return {top: np.asarray(arrays[top]) for top in tops}
    except Exception as error:  # whatever a decoder raises: one bad file must not end the walk
        found.problems.append(problem(error, source.where, list(found.paths.values())))
        return {}


def _colours(path, counts):
    """{value: colour} of the values in a palette PNG; None for another file."""
    palette = read_palette(path) if path.lower().endswith(LABEL_ENDINGS) else None
    if palette is None:
        return None
    used = [v for v in np.flatnonzero(counts).tolist() if v < len(palette)]
    return {value: tuple(palette[value].tolist()) for value in used}


def check_png(path):
    """Raise DataError where a PNG is cut off or a chunk's checksum is wrong (ISO 15948, section
    5.3): Pillow reads some such files without a word. Other files pass."""
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size - 8
        kind = None if file.read(8) == b"\x89PNG\r\n\x1a\n" else b"IEND"
        while kind != b"IEND":
            head = file.read(8)
            length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (left, b"")
            left -= 12 + length
            if left < 0:
                raise DataError(f"{path}: the PNG is cut off; fetch it again")
            checksum = zlib.crc32(kind)
            for start in range(0, length, 1 << 20):
                checksum = zlib.crc32(file.read(min(length - start, 1 << 20)), checksum)
            if file.read(4) != struct.pack(">I", checksum):
                name = kind.decode("latin-1")
                raise DataError(f"{path}: damaged (checksum of {name!r}); fetch it again")


def _locate(found, source, name, sound):
    """Fill in `paths`; False and problems where a file is missing."""
    try:
        found.paths = dict(locate(source, name))
        return True
    except Exception as error:
        first = problem(error, source.where)
    found.problems.append(first)
    # `find` ends at the first file that is missing; the others' places follow from a sound id's.
    for top, path in sound[1].items() if sound and not fault(name) else ():
        if getattr(path, "id", ""):  # one file for all ids
            continue
        stem, endings = _place(path, sound[0], name, top)
        try:
            found.paths[top] = find(*os.path.split(stem), endings, "file") if stem else ""
        except DataError as error:
            if os.path.splitext(first[0])[0] != stem:
                found.problems.append(problem(error, source.where))
    found.paths = {top: path for top, path in found.paths.items() if path}
    return False


def _place(path, sound_name, name, top):
    """(path without ending, endings it may have) of the file that `name` has where `sound_name`
    has `path`; ("", ()) if the path does not show it."""
    folder, file = os.path.split(path)
    if os.path.basename(sound_name) != sound_name:  # ids with folders
        folder, file = "", path
    if file.count(sound_name) != 1:
        return "", ()
    stem, ending = os.path.splitext(os.path.join(folder, file.replace(sound_name, name)))
    photograph = top != "label" and ending.lower() in IMAGE_ENDINGS
    return stem, tuple(dict.fromkeys((ending.lower(), *(IMAGE_ENDINGS if photograph else ()))))


def _digest(path):
    """A hash of a file's bytes; None if it is gone."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open_regular(path) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return None
    return digest.digest()


def walk(splits, items, jobs):
    """Yield (Item, Contents) for every Item, in no certain order, from `jobs` worker processes.

    `splits` is a list of (layer class, parsed parameters). A file that kills its worker (out of
    memory, a decoder's crash) is a problem like any other.
    """
    # Not fresh: to import the layers means to import Caffe, seconds for each process.
    done = workers.each(_examine, items, jobs, _start, (splits,), fresh=False, batch=BATCH)
    for item, found in done:
        if found is workers.DIED:
            text = "the process that read it was killed: out of memory, or the decoder crashed"
            found = Contents([(f"id {item.id}", text)])
        yield item, found


_splits: list[list] = []  # in a worker: [layer class, parsed parameters, Source once it is open]


def _start(splits):
    warnings.simplefilter("ignore")  # Pillow's, on files that are reported anyway
    _splits[:] = [[layer, params, None] for layer, params in splits]


def _examine(item):
    layer, params, source = split = _splits[item.split]
    if source is None:
        source = split[2] = layer.open_source(params)
    return examine(layer, params, source, item.id, item.sound)
