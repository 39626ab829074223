"""A user's own data set: a TOML file → a `Task`. docs/own-data.md describes every key."""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
from typing import Any

from prototxt import own_data, schedules
from prototxt.build import NETS
from prototxt.errors import InputError
from prototxt.files import wrong_kind
from prototxt.opening import LARGEST_LIST, read_regular
from prototxt.parts import POOLS, STAGES
from prototxt.paths import absent, why_unreadable
from prototxt.tasks import (
    TASKS,
    VOC_MEAN,
    VOID,
    DataSplit,
    Task,
    staged,
    staged_starts,
)

COPY = "task.toml"
"""The name of the TOML's copy beside the nets that were made from it."""
COPIED = "# Copied from "
"""How the copy begins."""

NUMBER = (int, float)
SIDES = (int, list)
CHOICE = (str, list)

FILLER_KEYS: dict[str, Any] = dict(type=str, value=NUMBER, std=NUMBER, min=NUMBER, max=NUMBER)

KEYS: dict[str, dict[str, Any]] = {
    # table: {key: type it must have}
    "": dict(
        name=str, classes=list, palette=list, mean=list, nets=list, data=dict, training=dict,
    ),
    "data": dict(
        root=str, images=str, labels=str, splits=str, train=str, val=str, val_images=int,
        shrink=int, mirror=bool, scale=list, crop=SIDES, jitter=NUMBER, batch=int,
        **own_data.KEYS,
    ),
    "training": dict(
        base_lr=NUMBER, iterations=int, type=str, momentum=NUMBER, momentum2=NUMBER, delta=NUMBER,
        rms_decay=NUMBER, weight_decay=NUMBER, iter_size=int,
        display=int, average_loss=int, snapshot=int, clip_gradients=NUMBER, random_seed=int,
        lr_policy=str, gamma=NUMBER, power=NUMBER, stepsize=int, stepvalue=list,
        freeze=list, loss_normalize=bool, score_filler=dict, skip_scales=list,
        score_lr_mult=NUMBER, fc_outputs=int, fc_filler=dict,
        fc_lr_mult=NUMBER, dropout=NUMBER, balance=CHOICE,
    ),
    "training.fc_filler": FILLER_KEYS,
    "training.score_filler": FILLER_KEYS,
}  # fmt: skip

FOLDERS = dict(images="image_dir", labels="label_dir", splits="split_dir")
"""TOML key → entry of the data layer's param_str; without them it reads the VOC layout."""

WORDS: dict[object, str] = {str: "a string", list: "a list", dict: "a table", int: "a whole number",
         bool: "true or false", NUMBER: "a number",
         SIDES: "a side, or a list of height and width",
         CHOICE: '"median", or a list of numbers', **own_data.WORDS}  # fmt: skip


def read_toml(path):
    """The parsed file. Raises InputError if it is missing or is not TOML."""
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ImportError:
        raise InputError(
            f"{path}: reading TOML needs Python 3.11 or later, or the package tomli"
        ) from None
    try:
        return tomllib.loads(read_regular(path).decode())
    except OSError as err:
        raise InputError(f"{path}: {why_unreadable(path, err)}") from None
    except ValueError as err:
        wrong = wrong_kind(path, "TOML", "text")
        if wrong:
            raise InputError(f"{path}: {wrong}") from None
        raise InputError(f"{path}: not TOML: {' '.join(str(err).split())}") from None


def _fits(value):
    """False for a number that a field of 32 bits cannot hold."""
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) < 3e38
    return not isinstance(value, int) or abs(value) < 2**31


class _Table:
    """One table of the file, its keys and types checked; errors name file and key."""

    def __init__(self, path, name, values):
        self.path, self.name, self.values = path, name, values
        for key, value in values.items():
            if key not in KEYS[name]:
                near = difflib.get_close_matches(key, KEYS[name], 1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KEYS[name])}"
                self.fail(key, f"unknown key; {hint}")
            kind = KEYS[name][key]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                self.fail(key, f"must be {WORDS[kind]}, is {value!r}")
            if kind is str and not value.strip():
                self.fail(key, "is empty")
            if not _fits(value):
                self.fail(key, f"{value} is out of range")

    def fail(self, key, problem):
        place = f"{self.name}.{key}" if self.name else key
        raise InputError(" ".join(f"{self.path}: {place}: {problem}".split()))

    def get(self, key, default=None):
        return self.values.get(key, default)

    def need(self, key, what):
        if key not in self.values:
            self.fail(key, f"is missing: {what}")
        return self.values[key]

    def table(self, key):
        return _Table(self.path, f"{self.name}.{key}".lstrip("."), self.values.get(key, {}))

    def strings(self, key, allowed=None, default=()):
        """A list of strings without repeats, each one of `allowed` if that is given."""
        values = self.values.get(key, default)
        for value in values:
            if not isinstance(value, str) or not value.strip():
                self.fail(key, f"must be a list of strings, holds {value!r}")
            if allowed is not None and value not in allowed:
                near = difflib.get_close_matches(value, allowed, 1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(allowed)}"
                self.fail(key, f"unknown {value!r}; {hint}")
            if list(values).count(value) > 1:
                self.fail(key, f"{value!r} is listed twice; each may be listed once")
        return tuple(values)

    def numbers(self, key, default):
        values = self.values.get(key, default)
        for value in values:
            if not isinstance(value, NUMBER) or isinstance(value, bool) or not _fits(value):
                self.fail(key, f"must be a list of numbers, holds {value!r}")
        return tuple(values)

    def at_least(self, key, least):
        value = self.values.get(key)
        if value is not None and value < least:
            self.fail(key, f"must be at least {least}, is {value}")
        return value

    def below_one(self, key):
        """Refuses a value that is not at least 0 and below 1; None or no value passes."""
        value = self.values.get(key, 0)
        if not 0 <= value < 1:
            self.fail(key, f"must be at least 0 and below 1, is {value}")

    def choice(self, key, value, table):
        """`value` must be a key of `table`, whose entry lists the parameters it needs.

        Returns those, and refuses the parameters of the other choices.
        """
        if value not in table:
            self.fail(key, f"unknown {value!r}; known: {', '.join(table)}")
        for other in sorted(set().union(*table.values())):
            if other in table[value]:
                self.need(other, f"{value!r} needs it")
            elif other in self.values:
                self.fail(other, f"{value!r} does not use it")
        return table[value]


def _count(table, folder, split):
    """Images of the val split: `val_images`, or the lines of its split file."""
    if table.get("val_images") is not None:
        return table.at_least("val_images", 1)
    if not os.path.isdir(folder):
        table.fail("root", f"{folder}: {absent(folder, 'folder')}")
    splits = os.path.join(folder, table.get("splits", "ImageSets/Segmentation"))
    listed = os.path.join(splits, f"{split}.txt")
    try:
        lines = (
            read_regular(listed, LARGEST_LIST).decode("utf-8-sig").replace("\r", "\n").split("\n")
        )
        count = sum(1 for line in lines if line.strip())
    except (OSError, ValueError) as err:
        why = getattr(err, "strerror", None) or "not text"
        table.fail("val_images", f"is not given, and the ids of {listed} cannot be counted: {why}")
    if not count:
        table.fail("val", f"{listed} names no image; it needs one id a line")
    return count


def _augmented(table):
    """The entries of the train split's `param_str` that draw at random, and its batch."""
    found: dict[str, object] = {"mirror": True} if table.get("mirror") else {}
    if table.get("scale") is not None:
        scale = table.numbers("scale", ())
        if len(scale) != 2 or not 0.1 <= scale[0] <= scale[1] <= 10:
            table.fail("scale", f"must be two factors, 0.1 to 10, the smaller one first: {scale}")
        found["scale"] = scale
    if table.get("crop") is not None:
        crop = table.get("crop")
        sides = crop if isinstance(crop, list) else [crop, crop]
        if len(sides) != 2 or not all(type(v) is int and 1 <= v <= 8192 for v in sides):
            table.fail("crop", f"must be a side, or [height, width], 1 to 8192; is {crop!r}")
        found["crop"] = tuple(sides)
    if table.get("jitter"):
        if not 0 <= table.get("jitter") < 1:
            table.fail("jitter", f"must be at least 0 and below 1, is {table.get('jitter')}")
        found["jitter"] = table.get("jitter")
    if table.get("batch") not in (None, 1):
        if not 1 <= table.get("batch") <= 1024:
            table.fail("batch", f"must be 1 to 1024, is {table.get('batch')}")
        if "crop" not in found:
            table.fail("crop", "is missing: a batch needs images of one size")
        found["batch"] = table.get("batch")
    return found


def _sources(table, root, classes, mean, bands, counted):
    """The train and the val DataSplit, with what the data layer must know of the folders."""
    folder = os.path.expanduser(root or table.need("root", "the folder of the data set"))
    train, val = table.get("train", "train"), table.get("val", "val")
    # The data layers draw at random only from splits with "train" in their name.
    if "train" not in train:
        table.fail("train", f"the split's name must contain 'train', is {train!r}")
    extra = {FOLDERS[key]: table.get(key) for key in FOLDERS if table.get(key)}
    extra["classes"] = len(classes)
    extra.update(own_data.label_entries(table, classes))
    extra.update({**own_data.suffix_entries(table), **bands})
    if table.get("shrink") is not None:
        extra["shrink"] = table.at_least("shrink", 1)
    only_train = _augmented(table)
    only_val = {"randomize": False} if "train" in val else {}

    def source(split, images, only):
        entries = tuple({**extra, **only}.items())
        return DataSplit(
            "voc_layers", "VOCSegDataLayer", "voc_dir", folder, split, images, entries, mean
        )

    # Nothing needs the number of training images.
    images = _count(table, folder, val) if counted else 0
    return source(train, 0, only_train), source(val, images, only_val)


def _palette(table, count):
    """The colours of the classes as tuples; () where the file gives none."""
    colours = table.get("palette", ())
    for colour in colours:
        whole = isinstance(colour, list) and all(type(v) is int for v in colour)
        if not whole or len(colour) != 3 or not all(0 <= v <= 255 for v in colour):
            table.fail("palette", f"a colour is [red, green, blue], each 0 to 255; not {colour!r}")
    if colours and len(colours) != count:
        table.fail("palette", f"needs a colour for each of the {count} classes, has {len(colours)}")
    return tuple(map(tuple, colours))


def _balance(table, classes):
    """ "median", a weight for each class, or () for none."""
    given = table.get("balance", ())
    if isinstance(given, str):
        if given != "median":
            table.fail("balance", f'must be "median", or a list of numbers; is {given!r}')
        return given
    weights = table.numbers("balance", ())
    if weights and (len(weights) != len(classes) or min(weights) < 0 or not any(weights)):
        table.fail("balance", f"must be a number for each of the {len(classes)} classes, 0 or more")
    return weights


def _skip_scales(table):
    scales = table.numbers("skip_scales", Task.skip_scales)
    if len(scales) != len(POOLS):
        pools = ", ".join(POOLS)
        table.fail("skip_scales", f"must be one number for each of {pools}; has {len(scales)}")
    return scales


def copy_text(path):
    """The text of the TOML file `path` for its copy beside the nets. Raises InputError."""
    try:
        text = read_regular(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: {getattr(err, 'strerror', None) or 'not UTF-8'}") from None
    made_by = "by `python -m prototxt.generate --own`, for the names of the classes.\n"
    if text.startswith(COPIED) and made_by in text:
        return text
    return f"{COPIED}{os.path.basename(path)} {made_by}{text}"


def load(path, root=None, counted=True):
    """The Task that the TOML file `path` describes.

    `root` is the data set's folder, in place of the file's; where it need not be there, `counted`
    False leaves the val split's images uncounted. Raises InputError (one line, naming
    file and key).
    """
    path = os.fspath(path)
    top = _Table(path, "", read_toml(path))
    name = top.need("name", "the task's name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        top.fail("name", f"{name!r} must be letters, digits, '.', '_' and '-' (it names a folder)")
    if name in TASKS:
        top.fail("name", f"{name!r} is a built-in task; choose another")
    top.need("classes", "the list of class names; the first is label 0")
    classes = top.strings("classes")
    if not classes:
        top.fail("classes", "is empty: name at least one class")
    if len(classes) > VOID:
        top.fail("classes", f"{len(classes)} classes; at most {VOID}, as label {VOID} means void")
    data = top.table("data")
    bands = own_data.channel_entries(data)
    channels = own_data.channel_names(bands)
    mean = top.numbers("mean", own_data.default_mean(channels))
    if len(mean) != (len(channels) or len(VOC_MEAN)):
        of = f"{len(channels)} numbers (one for each of `channels`)"
        of = of if channels else "3 numbers (B, G, R)"
        top.fail("mean", f"must be {of}, has {len(mean)}")
    nets = top.strings("nets", tuple(NETS), default=tuple(NETS))
    if not nets:
        top.fail("nets", f"is empty; known: {', '.join(NETS)}")
    train, val = _sources(data, root, classes, mean, bands, counted)
    training = top.table("training")
    schedule = schedules.schedule(training)
    training.at_least("fc_lr_mult", 0)
    training.at_least("score_lr_mult", 0)
    training.at_least("fc_outputs", 1)
    training.below_one("dropout")
    return Task(
        name=name,
        classes=classes,
        palette=_palette(top, len(classes)) or own_data.palette(train, len(classes)),
        train=train,
        val=val,
        schedule=schedule,
        nets=nets,
        schedules=staged(schedule),
        starts=staged_starts(name),
        freeze=training.strings("freeze", STAGES),
        loss_normalize=training.get("loss_normalize", False),
        balance=_balance(training, classes),
        fc_filler=schedules.filler(training.table("fc_filler")),
        score_filler=schedules.filler(training.table("score_filler")),
        skip_scales=_skip_scales(training),
        fc_outputs=training.get("fc_outputs", Task.fc_outputs),
        fc_lr_mult=training.get("fc_lr_mult", Task.fc_lr_mult),
        dropout=training.get("dropout", Task.dropout),
        score_lr_mult=training.get("score_lr_mult", Task.score_lr_mult),
        **own_data.inputs(channels),
    )
