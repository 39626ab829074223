"""Write a TOML for a data set, from what lies in its folder.

    python tools/new_task.py FOLDER [--out my.toml]

Knows the layouts of VOC and Cityscapes, photographs and masks in folders of their own (images/train
and labels/train, train/images and train/labels, CamVid's train and trainannot), labelme's files,
COCO's annotations and CVAT's. Where there are no lists, makes some beside the TOML: of the folders
of splits, or by a hash of the ids, four of five to train on. What could not be decided is a
comment in the TOML. Nothing is written into FOLDER unless --out is there.
"""

from __future__ import annotations

import json
import os
import re

from segmentation.params import DataError

from prototxt import own
from prototxt.tasks import TASKS
from tools.common.arguments import Parser
from tools.common.cli import UserError, run, warn
from tools.common.files import check_ours, make_folder, write
from tools.common.written import Written
from tools.datasets import band_facts, label_facts
from tools.datasets.folder_scan import scan
from tools.datasets.layouts import find_layout

MADE = "# Made by tools/new_task.py"
KNOWN = (
    "folders of photographs and of PNG masks with the same names, labelme's .json beside "
    "photographs, COCO's .json, CVAT's .xml"
)
TOML = Written(
    "a TOML that new_task.py has made", lambda file: file.readline(256).decode("utf-8", "replace")
    .startswith(MADE),
)  # fmt: skip


def parser():
    p = Parser(prog="new_task.py", description="Write a TOML for a data set from its folder.")
    p.add_argument("folder", metavar="FOLDER")
    p.add_argument("--out", metavar="TOML", help="default: NAME.toml, here")
    p.add_argument("--name", help="the task's name (default: the folder's)")
    return p


def task_name(args, folder):
    """A name that a TOML may have. Raises UserError."""
    name = args.name or re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(folder)).strip("-._")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name or ""):
        raise UserError(f"--name: {name!r} must be letters, digits, '.', '_' and '-'")
    if name in TASKS:
        if args.name:
            raise UserError(f"--name {name}: is a built-in task; choose another")
        name = f"my-{name}"
    return name


def targets(args, name, folder):
    """(path of the TOML, folder of the lists). Raises UserError."""
    out = args.out or f"{name}.toml"
    if not out.endswith(".toml"):
        raise UserError(f"--out {out}: the name must end in .toml")
    inside = os.path.realpath(out).startswith(os.path.join(os.path.realpath(folder), ""))
    if inside and not args.out:
        raise UserError(f"{out} would lie in {folder}; name a place with --out")
    check_ours(out, TOML)
    return out, os.path.splitext(out)[0] + "-lists"


def list_kind(ids):
    """A Written for lists that hold nothing but `ids`."""
    known = set(ids)

    def ours(file):
        lines = file.read().decode("utf-8", "replace").splitlines()
        return all(line.strip() in known for line in lines if line.strip())

    return Written("a list of these images", ours)


# -- the text -------------------------------------------------------------------------------------


def quoted(text):
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key(text):
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else quoted(text)


def strings(values, indent=""):
    """A list of strings, broken into lines of at most 90 characters."""
    lines, line = [], ""
    for value in map(quoted, values):
        if line and len(line) + len(value) > 86:
            lines.append(line.rstrip())
            line = ""
        line += value + ", "
    lines.append(line.rstrip().rstrip(","))
    if len(lines) == 1:
        return f"[{lines[0]}]"
    return "[\n" + "".join(f"{indent}  {line}\n" for line in lines) + f"{indent}]"


def comments(notes):
    return [f"# {' '.join(str(note).split())}" for note in notes]


def number(value):
    return repr(round(value, 12)) if value < 1 else f"{value:g}" if value != int(value) else (
        str(float(value)))  # fmt: skip


def text_of(name, folder, layout, classes, bands, lists, counts):
    """The TOML's text."""
    lines = [f"{MADE}; see docs/own-data.md for all keys.", f"# {counts}"]
    lines += [f"name = {quoted(name)}", *comments(classes.notes)]
    lines.append(f"classes = {strings(classes.names)}")
    if classes.palette:
        lines.append(f"palette = {json.dumps([list(c) for c in classes.palette])}")
    if bands is not None:
        lines.append(f"mean = {json.dumps(bands.mean)}  # of the channels, times pixel_scale")
    lines += ["", "[data]", *comments(layout.notes), f"root = {quoted(folder)}"]
    places = [("images", layout.images), ("image_suffix", layout.image_suffix)]
    places += [("labels", layout.labels), ("label_suffix", layout.label_suffix)]
    places += [("annotations", layout.annotations), ("splits", lists)]
    places += list(zip(("train", "val"), layout.ids))
    lines += [f"{key} = {quoted(value)}" for key, value in places if value]
    if layout.kind != "masks":
        lines.append('unlabelled = "background"  # what no annotation covers; or "void"')
        for owner, labels in label_facts.merged(layout.names).items():
            lines.append(f"names.{owner} = {strings(labels)}")
    if bands is not None:
        lines += [*comments(bands.notes), f"channels = {list(range(1, bands.count + 1))}"]
        if bands.scale != 1:
            lines.append(f"pixel_scale = {number(bands.scale)}")
    if classes.other:
        lines.append(f"other = {quoted(classes.other)}")
    if classes.colours:
        lines += ["", "[data.colours]  # red, green, blue of each class in masks"]
        for owner, colours in classes.colours.items():
            shown = [list(c) for c in colours]
            lines.append(f"{key(owner)} = {shown[0] if len(shown) == 1 else shown}")
    lines += [
        "", "[training]",
        '# The published sum over pixels; "Choosing the schedule" in docs/own-data.md has others.',
        "base_lr = 1e-10", "iterations = 100000",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


# -- the command ----------------------------------------------------------------------------------


def files_of(found, layout):
    """(paths of the photographs, paths of the masks) of all ids, in order."""
    photographs, masks = [], []
    for split, ids in layout.ids.items():
        places = [p.replace("{split}", split) for p in (layout.images, layout.labels)]
        for name in ids:
            stem = os.path.normpath(os.path.join(places[0], name + layout.image_suffix))
            folder, file = os.path.split(stem)
            ending = found.photographs.get(folder.replace(os.sep, "/"), {}).get(file, "")
            photographs.append(os.path.join(found.root, stem + ending))
            if layout.kind == "masks":
                stem = os.path.join(places[1], name + layout.label_suffix)
                masks.append(os.path.normpath(os.path.join(found.root, stem + ".png")))
    return photographs, masks


def main(argv):
    args = parser().parse_args(argv)
    folder = os.path.normpath(args.folder)
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder")
    name = task_name(args, os.path.realpath(folder))
    out, lists = targets(args, name, folder)
    found = scan(folder)
    layout = find_layout(found)
    if layout is None:
        raise UserError(f"{folder}: no photographs with labels are known in it; looked for {KNOWN}")
    photographs, masks = files_of(found, layout)
    try:
        bands = band_facts.of_photographs(photographs)
        if layout.kind == "masks":
            classes = label_facts.of_masks(found, layout, masks)
        else:
            classes = label_facts.of_annotations(layout.names)
    except DataError as error:
        raise UserError(str(error)) from None
    if len(layout.ids) < 2:
        only = next(iter(layout.ids))
        layout.ids["val"] = layout.ids[only]
        layout.notes.append("one split alone: it is scored on what it was trained on")
    made = layout.lists
    if made is None:
        made = os.path.abspath(lists)
        _write_lists(lists, layout.ids)
    counts = ", ".join(f"{split}: {len(ids)} images" for split, ids in layout.ids.items())
    make_folder(os.path.dirname(out) or ".")
    write(out, text_of(name, folder, layout, classes, bands, made or ".", counts), TOML)
    print(f"{out}: {layout.kind}, {len(classes.names)} classes; {counts}")
    for note in [*classes.notes, *layout.notes, *(bands.notes if bands else [])]:
        print(f"  {note}")
    try:
        own.load(out)
    except ValueError as error:
        warn(f"{error}; mend it by hand")
        return 1
    print(f"next: python tools/check_data.py --own {out}")
    return 0


def _write_lists(folder, splits):
    everything = [name for ids in splits.values() for name in ids]
    kind = list_kind(everything)
    for split in splits:
        check_ours(os.path.join(folder, f"{split}.txt"), kind)
    make_folder(folder)
    for split, ids in splits.items():
        write(os.path.join(folder, f"{split}.txt"), "".join(f"{i}\n" for i in ids), kind)


if __name__ == "__main__":
    run(main)
