"""Where the files of an id lie: one of the endings of its kind, in lower or upper case."""

from __future__ import annotations

import functools
import os

from segmentation.lists import IMAGE_ENDINGS, hidden
from segmentation.params import DataError

LABEL_ENDINGS = (".png",)
"""Of label maps that are pictures: JPEG would change the class numbers."""


def find(folder, name, endings, what):
    """The path of the one file of the id `name` that ends in one of `endings`, in any case.

    `what` it is, for the message. Raises DataError where there is none, and where there are two.
    """
    place, stem = os.path.split(os.path.join(folder, name))
    there = _by_stem(place).get(stem, ())
    found = [file for file in there if file[len(stem) :].lower() in endings]
    found = [path for path in (os.path.join(place, file) for file in found) if os.path.isfile(path)]
    if len(found) > 1:
        files = ", ".join(os.path.basename(path) for path in found)
        raise DataError(f"{found[0]}: more than one {what} of this id ({files}); keep one of them")
    if found:
        return found[0]
    for ending in endings:  # just written, or a file system that does not tell A from a
        path = os.path.join(place, stem + ending)
        if os.path.isfile(path):
            return path
    raise DataError(
        f"{os.path.join(place, stem + endings[0])}: {_missing(place, stem, endings, what)}"
    )


def images_in(names):
    """Those of the file names that are photographs by their endings, and not hidden."""
    return [n for n in names if n.lower().endswith(IMAGE_ENDINGS) and not hidden(n)]


def image_endings(images, labels):
    """The endings of photographs that lie in the folder `images`, whose labels lie in `labels`.

    Where that is one folder, a .png is a label.
    """
    same = os.path.realpath(images) == os.path.realpath(labels)
    return tuple(e for e in IMAGE_ENDINGS if not (same and e in LABEL_ENDINGS))


def _missing(place, stem, endings, what):
    """Why there is no file of these endings, as far as the folder tells."""
    if not os.path.isdir(place):
        return f"no such {what}, nor is there its folder"
    others = f" (nor {', '.join(endings[1:])})" if len(endings) > 1 else ""
    by_stem = _by_stem(place)
    of_id = sorted(by_stem.get(stem, ()))
    if of_id:
        lost = [file for file in of_id if os.path.splitext(file)[1].lower() in endings]
        if lost:
            return f"no such {what}: {lost[0]} is there, but is no file, or a link to none"
        kinds, article = ", ".join(endings), "an" if what[0] in "aeiou" else "a"
        return f"no such {what}{others}; there is {of_id[0]}, but {article} {what} ends in {kinds}"
    alike = [s for s in by_stem if s.lower() == stem.lower()] or [
        s for s in by_stem if s.startswith(stem) and not s[len(stem) : len(stem) + 1].isalnum()
    ]
    near = sorted(file for s in alike for file in by_stem[s])
    if near:
        return f"no such {what}{others}; there is {near[0]}, but its name must be the id's"
    return f"no such {what}{others}"


def _by_stem(folder):
    """{file name without its ending: [file names]} of a folder, without hidden files."""
    try:
        return _listed(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=1024)
def _listed(folder, changed):
    found: dict[str, list[str]] = {}
    for file in sorted(os.listdir(folder)):
        if not hidden(file):
            found.setdefault(os.path.splitext(file)[0], []).append(file)
    return found
