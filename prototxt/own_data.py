"""The keys of a TOML's [data] that say what labels and photographs are, besides class numbers in
pictures and colours: → entries of the data layer's `param_str`, and the blob's channels."""

from __future__ import annotations

import difflib

from prototxt.tasks import BANDS, VOC_MEAN, VOID

KEYS = dict(
    colours=dict, annotations=str, names=dict, other=str, unlabelled=str, crowd=str, overlap=str,
    channels=(list, dict), pixel_scale=(int, float), image_suffix=str, label_suffix=str,
)  # fmt: skip

WORDS: dict[object, str] = {
    (list, dict): "a list of the bands' names or numbers, or a table of both",
}

VOID_WORD = "void"
OF_ANNOTATIONS = ("names", "unlabelled", "crowd", "overlap")
OVERLAPS = ("later", "smaller", "void")
OWN_CLASS = "class"
MOST_BANDS = 64
FIRST = "background"
"""What pixels without a label are, where a class has this name."""


def label_entries(table, classes):
    """Entries of `param_str` for masks in colours or annotations; {} for class numbers."""
    colours, place = table.get("colours"), table.get("annotations")
    if colours is not None and place is not None:
        table.fail("colours", "are of masks, and annotations are none: leave one of them out")
    if place is None:
        for key in OF_ANNOTATIONS:
            if table.get(key) is not None:
                table.fail(key, "is of annotations, which the file does not name")
    if colours is None and place is None:
        if table.get("other") is not None:
            table.fail("other", "is of `colours` or `annotations`, and there are none")
        return {}
    found = {"colours": _colours(table, colours, classes)} if colours is not None else {}
    if place is not None:
        found = {"annotations": place, **_annotated(table, classes)}
    if table.get("other") is not None:
        found["other"] = _number(table, "other", table.get("other"), classes)
    return found


def suffix_entries(table):
    """Entries of `param_str` for names of files that go on behind the id."""
    keys = [key for key in ("image_suffix", "label_suffix") if table.get(key) is not None]
    for key in keys:
        if "/" in table.get(key):
            table.fail(key, f"is the end of a file's name, not a folder; is {table.get(key)!r}")
    return {key: table.get(key) for key in keys}


def _number(table, key, name, classes):
    """The number of a class, or of void."""
    if name == VOID_WORD and VOID_WORD not in classes:
        return VOID
    if name not in classes:
        near = difflib.get_close_matches(str(name), [*classes, VOID_WORD], 1)
        hint = f"did you mean {near[0]!r}?" if near else f'known: {", ".join(classes)}, "void"'
        table.fail(key, f"{name!r} is no class; {hint}")
    return classes.index(name)


def _colours(table, given, classes):
    """{class number or 255: [[red, green, blue], …]}"""
    if not given:
        table.fail("colours", "is empty: name a class and its [red, green, blue]")
    found: dict[int, list] = {}
    owner: dict[tuple, str] = {}
    for name, value in given.items():
        number = _number(table, "colours", name, classes)
        colours = value if isinstance(value, list) and value and isinstance(value[0], list) else [
            value
        ]  # fmt: skip
        for colour in colours:
            whole = isinstance(colour, list) and all(type(v) is int for v in colour)
            if not whole or len(colour) != 3 or not all(0 <= v <= 255 for v in colour):
                table.fail(
                    "colours",
                    f"a colour is [red, green, blue], each 0 to 255; {name!r} has {colour!r}",
                )
            other = owner.setdefault(tuple(colour), name)
            if other != name:
                table.fail("colours", f"{colour} is of {other!r} and of {name!r}")
        found.setdefault(number, []).extend(colours)
    missing = [name for number, name in enumerate(classes) if number not in found]
    if missing:
        table.fail("colours", f"has none for {', '.join(map(repr, missing[:6]))}")
    return found


def _annotated(table, classes):
    names = {name: number for number, name in enumerate(classes)}
    for name, labels in table.get("names", {}).items():
        number = _number(table, "names", name, classes)
        for label in labels if isinstance(labels, list) else [labels]:
            if not isinstance(label, str) or not label:
                table.fail("names", f"{name!r}: must be a list of labels, holds {label!r}")
            if names.setdefault(label, number) != number:
                table.fail("names", f"the label {label!r} stands for two classes")
    unlabelled = table.get("unlabelled", FIRST if FIRST in classes else VOID_WORD)
    found = {"names": names, "unlabelled": _number(table, "unlabelled", unlabelled, classes)}
    crowd = table.get("crowd", VOID_WORD)
    if crowd != OWN_CLASS:
        found["crowd"] = _number(table, "crowd", crowd, classes)
    overlap = table.get("overlap")
    if overlap is not None:
        if overlap not in OVERLAPS:
            table.fail("overlap", f"unknown {overlap!r}; known: {', '.join(OVERLAPS)}")
        found["overlap"] = overlap
    return found


def channel_entries(table):
    """Entries of `param_str` for photographs of other bands; {} for B, G, R."""
    given, scale = table.get("channels"), table.get("pixel_scale")
    if given is None:
        if scale is not None:
            table.fail("pixel_scale", "needs `channels`, which name the photographs' bands")
        return {}
    named = given if isinstance(given, list) else list(given)
    numbers = list(given.values()) if isinstance(given, dict) else given
    words = isinstance(given, list) and all(isinstance(v, str) and v.strip() for v in given)
    whole = all(type(v) is int and 1 <= v <= MOST_BANDS for v in numbers)
    if not 1 <= len(named) <= MOST_BANDS or not (words or whole):
        table.fail(
            "channels", f"must be 1 to {MOST_BANDS} names of bands, or their numbers from 1; "
            f"is {given!r}"
        )  # fmt: skip
    if words and len(set(named)) != len(named):
        table.fail("channels", "names a band twice")
    if table.get("jitter"):
        table.fail("jitter", "changes colours, not `channels`: leave one of them out")
    found = {"channels": given}
    if scale is not None:
        if not 0 < scale < 1e9:
            table.fail("pixel_scale", f"must be above 0, is {scale}")
        found["pixel_scale"] = scale
    return found


def channel_names(entries):
    """The names of the channels in such entries, "" for one without; () for B, G, R."""
    given = entries.get("channels", ())
    return tuple(name if isinstance(name, str) else "" for name in given)


def default_mean(names):
    """VGG's mean for the channels: of each colour, and of all colours for others."""
    known = dict(zip(("blue", "green", "red"), VOC_MEAN))
    gray = round(sum(VOC_MEAN) / len(VOC_MEAN), 8)
    return tuple(known.get(name, gray) for name in names) or VOC_MEAN


def inputs(names):
    """`Task.inputs` and `Task.fusion` for channels of these names; {} for B, G, R."""
    return dict(inputs=(("data", len(names)),), fusion=BANDS) if names else {}


def palette(source, classes):
    """The first of each class's colours in a DataSplit's masks; () where its labels have none."""
    colours = dict(source.extra).get("colours", {})
    return tuple(tuple(colours[number][0]) for number in range(classes)) if colours else ()
