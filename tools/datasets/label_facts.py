"""What the labels of a data set say of its classes: values or colours, and their names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import numpy as np
from segmentation.colours import read_codes
from segmentation.known_colours import (
    CITYSCAPES,
    CITYSCAPES_IDS,
    KNOWN,
    VOC,
    recognised,
    voc_palette,
)
from segmentation.labels import VOID
from segmentation.lists import read_lines
from segmentation.params import DataError
from segmentation.pictures import read_label, read_palette

from prototxt.tasks import VOC_CLASSES

MOST_READ = 200
"""Labels that are looked into."""
MOST_COLOURS = 256
NAME_FILES = ("labelmap.txt", "label_colors.txt", "class_dict.csv")
PLAIN_NAMES = ("class_names.txt", "classes.txt", "codes.txt", "labels.txt", "classes.names")
VOID_NAMES = ("void", "ignore", "__ignore__", "unlabelled", "unlabeled", "ignored")
VOC_FOLDERS = "JPEGImages", "SegmentationClass"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass
class Classes:
    """What a TOML says of classes.

    colours  {class or "void": colours}, where labels are masks in colours; else empty
    palette  their colours in pictures, where they are known; else empty
    other    what `colours` lacks, or ""
    """

    names: list[str] = field(default_factory=list)
    colours: dict[str, tuple] = field(default_factory=dict)
    palette: list[tuple] = field(default_factory=list)
    other: str = ""
    notes: list[str] = field(default_factory=list)


def of_masks(found, layout, paths) -> Classes:
    """The Classes of the masks `paths`, some of which are read. Raises DataError."""
    step = max(1, -(-len(paths) // MOST_READ))
    some = paths[::step]
    made = Classes()
    if step > 1:
        made.notes.append(f"{len(some)} of {len(paths)} labels were read for this")
    table = _table_beside(found, made)
    if layout.label_suffix.endswith("_color"):
        _known(made, "Cityscapes")
    elif layout.label_suffix.endswith("_labelIds"):
        made.names = [*CITYSCAPES_IDS]
        made.colours = {name: ((v, v, v),) for name, v in CITYSCAPES_IDS.items()}
        made.palette = [CITYSCAPES[name][0] for name in made.names]
        made.other = "void"
        made.notes.append("gray values are Cityscapes' label ids; those that are not scored, void")
    elif layout.label_suffix.endswith("_labelTrainIds"):
        made.names = [name for name in CITYSCAPES if name != "void"]
        made.palette = [CITYSCAPES[name][0] for name in made.names]
    else:
        _read(made, some, layout, table, _plain_names(found))
    return made


def _read(made, paths, layout, table, plain):
    values, seen, in_colours = _contents(paths)
    name = recognised(seen)
    if in_colours or (values is not None and _shuffled(paths, name)):
        if table and seen <= {c for colours in table.values() for c in colours}:
            _take(made, table)
        elif name:
            _known(made, name)
        else:
            _made_up(made, seen)
    elif values is not None and set(values) <= {0, VOID} and VOID in values and not plain:
        made.names = ["background", "foreground"]
        made.colours = {"background": (BLACK,), "foreground": (WHITE,)}
        made.notes.append("masks of 0 and 255: 255 is taken for a class, and nothing for void")
    else:
        as_voc = name == VOC and (layout.images, layout.labels) == VOC_FOLDERS
        _numbered(made, values, table, plain, as_voc)


def _contents(paths):
    """({class number: pixels} or None, {colours}, whether masks are in colours)."""
    counts, colours, coloured = np.zeros(256, np.int64), set(), False
    for path in paths:
        codes = np.unique(read_codes(path))
        if len(codes) > MOST_COLOURS:
            raise DataError(
                f"{path}: {len(codes)} colours: a photograph, or a mask whose edges are smoothed"
            )
        colours |= {(c >> 16, c >> 8 & 255, c & 255) for c in codes.tolist()}
        if not coloured:
            try:
                counts += np.bincount(read_label(path).ravel(), minlength=256)
            except DataError:
                coloured = True
    found = {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    return (None if coloured else found), colours, coloured


def _shuffled(paths, name):
    """Whether palette PNGs have a known palette's colours at other numbers than its own."""
    if name is None:
        return False
    voc = voc_palette()
    for path in paths[:20]:
        palette = read_palette(path)
        if palette is None:
            return False
        used = np.unique(read_label(path))
        used = used[used < len(palette)]
        if (palette[used] != voc[used]).any():
            return True
    return False


def _known(made, name):
    palette = KNOWN[name]
    if name == VOC:
        palette = dict(zip((*VOC_CLASSES, "void"), palette.values()))
    _take(made, palette)
    made.notes.append(f"the masks' colours are those of {name}")


def _take(made, palette):
    """Take over {name: colours}, whose void is by its name."""
    void = [name for name in palette if name.lower() in VOID_NAMES]
    made.names = [name for name in palette if name not in void]
    made.colours = {name: palette[name] for name in made.names}
    if void:
        made.colours["void"] = tuple(c for name in void for c in palette[name])


def _made_up(made, seen):
    order = sorted(seen, key=lambda c: (c != BLACK, c))
    if len(order) > VOID:
        raise DataError(f"the masks have {len(order)} colours; at most {VOID} classes are possible")
    made.names = ["background" if c == BLACK else f"class {i}" for i, c in enumerate(order)]
    made.colours = {name: (colour,) for name, colour in zip(made.names, order)}
    made.notes.append(
        "the colours are no palette that is known: name the classes yourself; one that is void "
        "goes out of the classes and is called void in data.colours"
    )


def _numbered(made, values, table, plain, as_voc):
    """Class numbers: names from a file beside, VOC's where they fit, else made up."""
    count = max([v for v in values if v != VOID], default=0) + 1
    names = [n for n in (list(table) or plain) if n.lower() not in VOID_NAMES]
    if len(names) >= count:
        made.names = names
    elif as_voc and count <= len(VOC_CLASSES):
        made.names = list(VOC_CLASSES)
        made.notes.append("VOC's colours in VOC's folders: its 21 classes are assumed")
    else:
        made.names = [f"class {i}" for i in range(max(2, count))]
        made.notes.append("nothing beside the labels names the classes: name them yourself")
    lacking = [v for v in range(count) if v not in values]
    if lacking:
        made.notes.append(f"no label that was read has {', '.join(map(str, lacking[:10]))}")
    if VOID not in values:
        made.notes.append(f"no label has {VOID}, which is void; is another value meant as void?")


def of_annotations(names) -> Classes:
    """The Classes of annotations whose labels are `names`, {label: how many}."""
    made = Classes()
    known = (*VOID_NAMES, *FIRST)
    made.names = ["background", *sorted(n for n in names if n.lower() not in known)]
    return made


FIRST = ("background", "_background_")


def merged(names):
    """{class or "void": [labels]} of labels of annotations that mean void or background."""
    found: dict[str, list[str]] = {}
    for name in names:
        if name.lower() in VOID_NAMES and name != "void":
            found.setdefault("void", []).append(name)
        elif name.lower() in FIRST and name != "background":
            found.setdefault("background", []).append(name)
    if "void" in names:
        found.setdefault("void", []).append("void")
    return found


# -- names beside the labels ----------------------------------------------------------------------


def _table_beside(found, made):
    """{name: colours} of a table beside the labels: CVAT's labelmap.txt (name:r,g,b:…), CamVid's
    label_colors.txt (r g b name), class_dict.csv (name,r,g,b)."""
    for path in found.texts:
        if os.path.basename(path).lower() in NAME_FILES:
            table: dict[str, tuple] = {}
            try:
                for _, line in read_lines(os.path.join(found.root, path), "one class"):
                    name, colour = _row(line)
                    if name:
                        table[name] = (*table.get(name, ()), colour)
            except DataError:
                continue
            if table:
                made.notes.append(f"names and colours are those of {path}")
                return table
    return {}


def _row(line):
    three = r"(\d{1,3})[,\s]+(\d{1,3})[,\s]+(\d{1,3})"
    for pattern, order in ((rf"([^:#]+):{three}:.*", 0), (rf"{three}\s+(\S.*)", 3),
                           (rf"([^,#]+),\s*{three}", 0)):  # fmt: skip
        match = re.fullmatch(pattern, line.strip())
        if match:
            groups = list(match.groups())
            name = groups.pop(order).strip()
            colour = tuple(map(int, groups))
            return (name, colour) if max(colour) < 256 else ("", ())
    return "", ()


def _plain_names(found):
    """The class names in a list beside the labels, one a line, or []."""
    for path in found.texts:
        if os.path.basename(path).lower() in PLAIN_NAMES:
            try:
                lines = read_lines(os.path.join(found.root, path), "one class name")
            except DataError:
                continue
            names = [text for _, text in lines]
            if len(set(names)) == len(names):
                return names
    return []
