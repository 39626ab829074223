"""What is readable and yet unlikely to be meant: tools/check_data.py's warnings."""

from __future__ import annotations

import collections
from functools import partial

import numpy as np
from segmentation.labels import RECIPE, VOID

from prototxt.tasks import VOC_CLASSES
from tools.common.pictures import palette_kind
from tools.datasets.data_walk import class_count

MOSTLY = 0.5
"""Share of a split's pixels above which their being void, is warned of."""
BORDER = 0.2
"""Share of a label's pixels above which void, beside 0 alone, is more than the border of things."""
THUMBNAIL = 3
"""How many times a photograph's longer side goes into the usual one, for it to be a thumbnail."""
SIZES_TELL = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width: a label that does not has another size."""


def all_warnings(splits):
    """[(split, id or "-" for the split, file, warning)] of splits whose files were examined."""
    rows = []
    whole = [split for split in splits if _labelled(split)]
    for split in whole:
        texts = [*_classes(split, splits), *_void(split), *_one_class(split)]
        rows += [(split.name, "-", split.source.where, text) for text in texts]
    usual = _usual_colours(whole)
    side = _usual_side(splits)
    checks = (partial(_thumbnail, side), _turned, _zero_and_void, partial(_palette, usual))
    for split in splits:
        known_as_voc = tuple(split.classes) == VOC_CLASSES
        for check in (*checks, *([_voc_palette] if known_as_voc else [])):
            for name, found in split.found.items():
                file, text = check(found) if found is not None and found.whole else ("", "")
                if text:
                    rows.append((split.name, name, file, text))
    return rows


def _labelled(split):
    """The Contents of a split whose labels are sound."""
    return [f for f in split.found.values() if f is not None and f.counts is not None]


def _pixels(splits):
    """256 int64: pixels of each label value in the splits."""
    counts = [found.counts for split in splits for found in _labelled(split)]
    return np.sum(counts, axis=0) if counts else np.zeros(256, np.int64)


def _classes(split, splits):
    """Warnings of classes that have no pixel where they should."""
    count = class_count(split.layer, split.params)
    if count >= VOID and len(split.classes) != count:
        return  # nobody knows which classes there are
    names = split.classes if len(split.classes) == count else range(count)
    train = split.role == "train"
    others = [s for s in splits if s.role != split.role]
    here = _pixels([s for s in splits if s.role == split.role])[:count] > 0
    there = _pixels(others)[:count] > 0
    only_there, nowhere = np.flatnonzero(there & ~here), np.flatnonzero(~there & ~here)
    sound = all(len(_labelled(s)) == len(s.found) for s in splits)
    among = "" if sound else " of the labels that could be read"
    if len(only_there):
        only = f"only in {' and '.join(s.name for s in others)}"
        told = "a net cannot learn {}" if train else f"{split.name} does not score {{}}"
        yield _told(names, only_there, only + among, told)
    if len(nowhere) and (train or not others):  # the train split has said it
        where = "in none" + among if among else "in no split"
        yield _told(names, nowhere, where, "a net cannot learn {}")


def _told(names, classes, where, what):
    """`class 3 (tree) occurs <where>: <what>`, or the same of several classes.

    what has {} for them.
    """
    texts = [f"{c} ({names[c]})" if isinstance(names[c], str) else str(c) for c in classes]
    if len(texts) == 1:
        return f"class {texts[0]} occurs {where}: {what.format('it')}"
    listed = f"{', '.join(texts[:-1])} and {texts[-1]}"
    return f"classes {listed} occur {where}: {what.format('them')}"


def _void(split):
    """A warning where most of a split is void, or some of its labels are nothing else."""
    pixels = _pixels([split])
    share = pixels[VOID] / pixels.sum()
    if _only_zero_and_void(pixels) and class_count(split.layer, split.params) > 1:
        yield (
            f"the labels hold only 0 and {VOID}, and {VOID} is void: only class 0 is left to "
            f"learn. Masks of 0 and {VOID} for two classes? {RECIPE}"
        )
    elif share > MOSTLY:
        yield f"{100 * share:.1f} % of the pixels are void ({VOID}): neither learned nor scored"
    empty = [name for name, f in split.found.items() if f and f.counts is not None
             and f.counts[VOID] == f.counts.sum()]  # fmt: skip
    if empty:
        some = "1 image is" if len(empty) == 1 else f"{len(empty)} images are"
        yield f"{some} void ({VOID}) everywhere: {', '.join(empty[:3])}{', …' * (len(empty) > 3)}"


def _one_class(split):
    """A warning where every pixel that counts is of one class."""
    pixels = _pixels([split])
    there = np.flatnonzero(pixels[:VOID])
    # Of 0 and void alone, `_void` has said more.
    several = class_count(split.layer, split.params) > 1
    if len(there) == 1 and several and not _only_zero_and_void(pixels):
        yield f"all labels are of one class, {there[0]}: there is nothing to tell apart"


def _only_zero_and_void(counts):
    return bool(counts[0] and counts[VOID] and not counts[1:VOID].any())


def _usual_side(splits):
    """Median of the longer sides of all photographs, in pixels; 0 where there are none."""
    sides = [max(f.size) for s in splits for f in s.found.values() if f is not None and f.size]
    return float(np.median(sides)) if sides else 0


def _thumbnail(usual, found):
    height, width = found.size or (0, 0)
    if not found.size or max(found.size) * THUMBNAIL > usual:
        return "", ""
    text = f"{width}x{height} pixels, where {usual:.0f} is usual for the longer side: a thumbnail?"
    return found.paths[found.picture], text


def _turned(found):
    height, width = found.size or (0, 0)
    if found.orientation == 1 or (found.orientation in SIZES_TELL and height != width):
        return "", ""
    return found.paths[found.picture], (
        f"EXIF orientation {found.orientation}: the photograph is read as it is shown, turned or "
        "mirrored; see that its label is so too"
    )


def _zero_and_void(found):
    if found.counts is None or not _only_zero_and_void(found.counts):
        return "", ""
    share = found.counts[VOID] / found.counts.sum()
    if share <= BORDER:
        return "", ""
    text = f"holds only 0 and {VOID}, and {100 * share:.0f} % of it is void ({VOID})"
    return found.paths["label"], text


def _usual_colours(splits):
    """{label value: the colour that most palettes give it}."""
    votes: dict[int, collections.Counter] = collections.defaultdict(collections.Counter)
    for split in splits:
        for found in _labelled(split):
            for value, colour in (found.colours or {}).items():
                votes[value][colour] += 1
    return {value: counter.most_common(1)[0][0] for value, counter in votes.items()}


def _palette(usual, found):
    for value, colour in (found.colours or {}).items():
        if colour != usual.get(value, colour):
            return found.paths["label"], (
                f"palette: value {value} has the colour {_rgb(colour)}, elsewhere "
                f"{_rgb(usual[value])}; are the values still the class numbers?"
            )
    return "", ""


def _voc_palette(found):
    if not found.colours:
        return "", ""
    values = np.array(sorted(found.colours))
    palette = np.zeros((256, 3), np.uint8)
    palette[values] = [found.colours[v] for v in values.tolist()]
    if palette_kind(values[values < len(VOC_CLASSES)], palette) != "shuffled":
        return "", ""
    text = "palette: VOC's colours stand at other numbers; are the values still the class numbers?"
    return found.paths["label"], text


def _rgb(colour):
    return " ".join(map(str, colour))
