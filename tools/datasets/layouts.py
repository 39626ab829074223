"""How a data set lies in a folder: which photograph has which label, and what its splits are."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field

from segmentation.lists import read_split
from segmentation.params import DataError

from tools.datasets.folder_scan import Scan, entries, kind_of, labelme_names

SHARE = 0.8
"""Of all images, those that are trained on where there are no lists."""
LABEL_WORDS = ("label", "mask", "annot", "segmentation", "gt", "ground", "target", "class")
IMAGE_WORDS = ("image", "img", "photo", "frame", "rgb", "leftimg8bit", "picture", "scan")
MOST_FOLDERS = 40
"""Folders that are tried for photographs, and for masks."""
VAL_NAMES = ("val", "valid", "validation", "dev", "test")
LIST_FOLDERS = ("ImageSets/Segmentation", "ImageSets", "splits", "lists", "split", "")


@dataclass
class Layout:
    """Where the files of a data set lie; the keys of a TOML's [data], relative to its root.

    kind    masks, labelme, coco, cvat
    ids     {split: ids}: "train" and "val", or as the folders and lists are called
    lists   the folder of lists that are there, or None where they are to be made
    names   {label of annotations: how many shapes}
    notes   what could not be decided, or was left out: comments for the TOML
    """

    kind: str
    images: str = ""
    labels: str = ""
    annotations: str = ""
    image_suffix: str = ""
    label_suffix: str = ""
    ids: dict[str, list[str]] = field(default_factory=dict)
    lists: str | None = None
    names: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_layout(found: Scan) -> Layout | None:
    """The Layout of what was found, or None."""
    for look in (_coco_or_cvat, _labelme, _cityscapes, _masks):
        layout = look(found)
        if layout is not None:
            _split(found, layout)
            return layout
    return None


# -- splits ---------------------------------------------------------------------------------------


def _split(found, layout):
    """Fill in `ids` and `lists` of a Layout whose ids are under "" or in folders of splits."""
    everything = layout.ids.pop("", None)
    if everything is None:
        _two_of(layout)
        return
    known = set(everything)
    for folder in LIST_FOLDERS:
        lists = _lists_in(found, folder, known)
        if lists:
            layout.ids, layout.lists = lists, folder
            _two_of(layout)
            if "val" in layout.ids or len(layout.ids) > 1:
                return
            layout.notes.append(f"{folder or '.'} has no list to score on: one is made of it")
            everything, layout.lists = next(iter(lists.values())), None
            break
    parts = _by_first_folder(everything)
    if parts:
        layout.ids = parts
        _two_of(layout)
        return
    layout.ids = by_hash(everything)
    layout.notes.append(
        f"no lists: {len(layout.ids['train'])} images to train on and {len(layout.ids['val'])} to "
        "score on, chosen by a hash of the id (80 / 20)"
    )


def by_hash(ids):
    """{"train": ids, "val": ids}: four of five by the SHA-256 of the id, and at least one in each
    where there are two. An id's place does not depend on the others."""
    place = {i: int(hashlib.sha256(i.encode()).hexdigest()[:8], 16) / 16**8 for i in ids}
    order = sorted(place, key=lambda i: place[i])
    count = sum(place[i] < SHARE for i in order)
    if len(order) == 1:
        return {"train": order, "val": order}
    count = min(max(count, 1), len(order) - 1)
    return {"train": sorted(order[:count]), "val": sorted(order[count:])}


def _lists_in(found, folder, known):
    """{split: ids} of the lists in a folder all of whose lines are ids."""
    lists = {}
    for path in found.texts:
        if os.path.dirname(path) == folder and path.endswith(".txt"):
            try:
                ids = read_split(os.path.join(found.root, path))
            except DataError:
                continue
            if set(ids) <= known:
                lists[os.path.splitext(os.path.basename(path))[0]] = ids
    return lists if any("train" in name for name in lists) else {}


def _by_first_folder(ids):
    parts: dict[str, list[str]] = {}
    for name in ids:
        parts.setdefault(name.split("/", 1)[0] if "/" in name else "", []).append(name)
    train = [part for part in parts if "train" in part.lower()]
    return parts if len(train) == 1 and _val_of(parts) else {}


def _val_of(names):
    """The split to score on among `names`: val before test."""
    lower = {name.lower(): name for name in names}
    exact = [lower[word] for word in VAL_NAMES if word in lower]
    near = [n for word in VAL_NAMES for n in sorted(names) if n.lower().startswith(word)]
    return next(iter(exact + near), None)


def _two_of(layout):
    """Keep the split that is trained on and the one that is scored on, and name the others."""
    train = sorted((n for n in layout.ids if "train" in n.lower()), key=lambda n: (n != "train", n))
    val = _val_of([n for n in layout.ids if n not in train[:1]])
    keep = [*train[:1], *([val] if val else [])]
    others = [n for n in layout.ids if n not in keep]
    if others:
        layout.notes.append(f"not used: {', '.join(sorted(map(repr, others))[:6])}")
    layout.ids = {name: layout.ids[name] for name in keep}


# -- masks ----------------------------------------------------------------------------------------


def _cityscapes(found):
    folders = [f for f in found.photographs if f.split("/")[0] == "leftImg8bit"]
    if not folders:
        return None
    stems = [stem for f, names in found.masks.items() if f.startswith("gtFine/") for stem in names]
    for label in ("_gtFine_labelTrainIds", "_gtFine_color", "_gtFine_labelIds"):
        if any(stem.endswith(label) for stem in stems):
            made = Layout("masks", "leftImg8bit", "gtFine", "", "_leftImg8bit", label)
            made.ids[""] = _pairs(found, "leftImg8bit", "gtFine", "_leftImg8bit", label)
            return made if made.ids[""] else None
    return None


def _masks(found):
    """The pair of folders that has most photographs with a mask."""
    tops = [
        sorted({*_prefixes(files)}, key=lambda f: (f.count("/"), f))[:MOST_FOLDERS]
        for files in (found.photographs, found.masks)
    ]
    best: tuple = (0,)
    for images in tops[0]:
        for labels in tops[1]:
            for suffix in _suffixes(found, images, labels):
                ids = _pairs(found, images, labels, "", suffix)
                rank = len(ids), _looks(images, labels, suffix), len(images) + len(labels)
                if len(ids) and rank > best[:3]:
                    best = (*rank, images, labels, suffix, ids)
    if not best[0]:
        return None
    _, looks, _, images, labels, suffix, ids = best
    if looks < 0 and images != labels:
        return None
    made = Layout("masks", images or ".", labels or ".", "", "", suffix, ids={"": ids})
    _with_split_folders(found, made)
    return made


def _prefixes(folders):
    """The folders, and those above them."""
    for folder in folders:
        parts = folder.split("/") if folder else []
        for count in range(len(parts) + 1):
            yield "/".join(parts[:count])


def _looks(images, labels, suffix):
    """How far the names say that one folder has photographs and the other labels."""

    def has(folder, words):
        return any(word in folder.lower() for word in words)

    score = 2 * has(labels, LABEL_WORDS) + has(images, IMAGE_WORDS) + bool(suffix)
    score -= 2 * has(images, LABEL_WORDS) + has(labels, IMAGE_WORDS)
    return score if images != labels or suffix else -9


def _suffixes(found, images, labels):
    """What may stand behind ids in the names of labels: nothing, or what is the same for all."""
    yield ""
    there = {s for f, names in found.photographs.items() if _below(f, images) for s in names}
    masks = [s for f, names in found.masks.items() if _below(f, labels) for s in names][:400]
    seen: dict[str, int] = {}
    for stem in masks:
        for cut in range(len(stem) - 1, max(0, len(stem) - 40), -1):
            if stem[:cut] in there and re.match(r"[_\-. ]", stem[cut:]):
                seen[stem[cut:]] = seen.get(stem[cut:], 0) + 1
    yield from sorted(seen, key=lambda suffix: -seen[suffix])[:3]


def _below(folder, top):
    return not top or folder == top or folder.startswith(top + "/")


def _ids(found, files, top, suffix):
    """{id: path} of the files below the folder `top` whose names end so."""
    made = {}
    for folder, names in files.items():
        if _below(folder, top):
            inner = folder[len(top) :].lstrip("/") if top else folder
            for stem in names:
                if stem.endswith(suffix) and len(stem) > len(suffix):
                    name = stem[: len(stem) - len(suffix)]
                    made[f"{inner}/{name}" if inner else name] = f"{folder}/{stem}"
    return made


def _pairs(found, images, labels, image_suffix, label_suffix):
    """The ids that have a photograph and a label, which are not one file."""
    photographs = _ids(found, found.photographs, images, image_suffix)
    masks = _ids(found, found.masks, labels, label_suffix)
    return sorted(i for i in photographs if i in masks and photographs[i] != masks[i])


def _with_split_folders(found, layout):
    """For train/images, train/labels and trainannot: folders with {split} in their names."""
    places = []
    for name in (layout.images, layout.labels):
        match = re.fullmatch(r"(.*?)(train)([^/]*(?:/.*)?)", name, re.I)
        if not match:
            return
        places.append((match[1], match[2], match[3]))
    splits = {}
    for split in ("train", *VAL_NAMES):
        images, labels = (before + split + behind for before, _, behind in places)
        ids = _pairs(found, images, labels, "", layout.label_suffix)
        if ids:
            splits[split] = ids
    if "train" in splits and len(splits) > 1:
        layout.images, layout.labels = (b + "{split}" + e for b, _, e in places)
        layout.ids = splits


# -- annotations ----------------------------------------------------------------------------------


def _labelme(found):
    files = [path for path in found.jsons if kind_of(os.path.join(found.root, path)) == "labelme"]
    if not files:
        return None
    tops = {"/".join(path.split("/")[:-1]) for path in files}
    labels = os.path.commonpath(tops) if all(tops) else ""
    stems = {os.path.splitext(path)[0][len(labels) :].lstrip("/"): path for path in files}
    best: tuple[int, str, list[str]] = (0, "", [])
    for images in sorted({*_prefixes(found.photographs)}, key=lambda f: (f != labels, f)):
        ids = sorted(set(_ids(found, found.photographs, images, "")) & set(stems))
        if len(ids) > best[0]:
            best = len(ids), images, ids
    count, images, ids = best
    if not count:
        return None
    made = Layout("labelme", images or ".", "", labels or ".", ids={"": ids})
    made.names, problems = labelme_names(os.path.join(found.root, stems[i]) for i in ids)
    made.notes += problems[:5]
    if len(files) > count:
        made.notes.append(f"{len(files) - count} labelme files have no photograph of their name")
    return made


def _coco_or_cvat(found):
    files = {}
    notes: list[str] = []
    for path in [*found.jsons, *found.xmls]:
        whole = os.path.join(found.root, path)
        kind = kind_of(whole)
        if kind in ("coco", "cvat"):
            pictures, problem = entries(whole)
            if pictures is None:
                notes.append(problem)
            elif any(picture.shapes for picture in pictures.values()):
                files[path] = kind, pictures
    if not files:
        return None
    pair = _pair_of(found, files)
    made = pair or _single(found, *max(files.items(), key=lambda item: len(item[1][1])))
    if made is not None:
        made.notes += notes
    return made


def _place(found, pictures):
    """(folder of photographs, [ids that have one]): the one that has most of the entries."""
    best: tuple[int, str, list[str]] = (0, "", [])
    for images in sorted({*_prefixes(found.photographs)}):
        there = _ids(found, found.photographs, images, "")
        ids = [name for name in pictures if name in there]
        if len(ids) < len(pictures):
            bare = {name.rsplit("/", 1)[-1] for name in pictures}
            if len(bare) == len(pictures):
                ids = max(ids, sorted(bare & set(there)), key=len)
        if len(ids) > best[0]:
            best = len(ids), images, ids
    return best[1:]


def _count_names(layout, pictures):
    for picture in pictures.values():
        for shape in picture.shapes:
            layout.names[shape.name] = layout.names.get(shape.name, 0) + 1


def _single(found, path, file):
    kind, pictures = file
    images, ids = _place(found, pictures)
    if not ids:
        return None
    made = Layout(kind, images or ".", "", path, ids={"": ids})
    _count_names(made, pictures)
    if len(ids) < len(pictures):
        made.notes.append(f"{len(pictures) - len(ids)} entries of {path} have no photograph")
    return made


def _pair_of(found, files):
    """The Layout of a file for each split, whose names differ in the split's name alone."""
    for path, (kind, _) in files.items():
        match = re.search(r"train[^/._]*", path, re.I)
        if not match:
            continue
        pattern = re.escape(path[: match.start()]) + r"([^/._]+)" + re.escape(path[match.end() :])
        parts = {m[1]: other for other in files if (m := re.fullmatch(pattern, other))}
        val = _val_of([name for name in parts if name != match[0]])
        if val is None:
            continue
        splits = {}
        for split in (match[0], val):
            splits[split] = *_place(found, files[parts[split]][1]), files[parts[split]][1]
        images = {split: place for split, (place, _, _) in splits.items()}
        if all(split in images[split] for split in images):
            shown = {place.replace(split, "{split}", 1) for split, place in images.items()}
        else:
            shown = set(images.values())
        if len(shown) != 1 or not all(ids for _, ids, _ in splits.values()):
            continue
        named = path[: match.start()] + "{split}" + path[match.end() :]
        made = Layout(kind, shown.pop() or ".", "", named)
        made.ids = {split: ids for split, (_, ids, _) in splits.items()}
        for _, _, pictures in splits.values():
            _count_names(made, pictures)
        return made
    return None
