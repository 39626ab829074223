"""The tasks: what a net learns, from which data, on which schedule. The only home of these facts.

A data set that a user brings is one more `Task`, read from a TOML file by `prototxt.own`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

VOID = 255
"""Label of pixels that neither loss nor score counts."""

SEED = 1337
"""Seed of the data layers' random order."""

VOC_MEAN = (104.00698793, 116.66876762, 122.67891434)
"""Mean B, G, R of the images that VGG was trained on, 0 to 255."""

BANDS = "bands"

BGR = ("data", 3)
"""The input of most tasks: the blob and its number of channels."""

VOC_CLASSES = (
    "background",
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip

CONTEXT_CLASSES = VOC_CLASSES + (
    "bag", "bed", "bench", "book", "building", "cabinet", "ceiling", "clothes", "computer", "cup",
    "door", "fence", "floor", "flower", "food", "grass", "ground", "keyboard", "light", "mountain",
    "mouse", "curtain", "platform", "sign", "plate", "road", "rock", "shelves", "sidewalk", "sky",
    "snow", "bedcloth", "track", "tree", "truck", "wall", "water", "window", "wood",
)  # fmt: skip
"""PASCAL-Context's 59-class task (Mottaghi et al. 2014) behind background."""

NYUD_CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
    "floor mat", "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel",
    "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip
"""NYUDv2's 40-class task (Gupta, Arbelaez, Malik 2013), names as they are spelt there."""


DILATED = ("dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19")
STAGED = ("fcn32s-vgg16", "fcn16s-vgg16", "fcn8s-vgg16")
AT_ONCE = "fcn8s-atonce-vgg16"


@dataclass(frozen=True)
class DataSplit:
    """One split of a data set, as a Python data layer reads it."""

    module: str
    layer: str
    folder_key: str
    """Name under which the layer takes the data set's folder."""
    folder: str
    """The data set's folder, relative to the folder that holds all data."""
    split: str
    images: int
    """How many images the split has; 0 if not counted."""
    extra: tuple[tuple[str, object], ...] = ()
    """Further entries of `param_str`: further folders (relative to the same one) and settings."""
    mean: tuple[float, ...] = ()
    """Mean of the image's channels; empty where the layer has its own."""


class Folder(str):
    """A value of `DataSplit.extra` that is a folder, relative to the folder that holds all data."""


@dataclass(frozen=True)
class Schedule:
    """What the solver is told. Defaults are the paper's for every task."""

    base_lr: float
    iterations: int
    type: str = "SGD"
    momentum: float | None = 0.99
    momentum2: float | None = None
    delta: float | None = None
    rms_decay: float | None = None
    """momentum … rms_decay: None where the solver's type has no such parameter."""
    weight_decay: float = 0.0005
    lr_policy: str = "fixed"
    policy: tuple[tuple[str, object], ...] = ()
    """Parameters of `lr_policy`: gamma, power, stepsize, stepvalue."""
    iter_size: int = 1
    display: int = 20
    average_loss: int = 20
    snapshot: int = 5000
    clip_gradients: float | None = None
    random_seed: int | None = None


@dataclass(frozen=True)
class Task:
    """A data set with its classes, and how a net is trained on it."""

    name: str
    classes: tuple[str, ...]
    """Class names; the index is the label."""
    train: DataSplit
    val: DataSplit
    schedule: Schedule
    """Of every net that is not in `schedules`."""
    nets: tuple[str, ...] = DILATED
    """Names in `prototxt.build.NETS`."""
    schedules: dict[str, Schedule] = field(default_factory=dict)
    """Net → its own schedule."""
    starts: dict[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)
    """Net → (task, net, suffix) of each trained net that it goes on from; layer x of that becomes
    x + suffix. Nets that are not here start from VGG's weights."""
    inputs: tuple[tuple[str, int], ...] = (BGR,)
    """(blob, channels) of each image top of the data layer."""
    fusion: str = ""
    """How several inputs meet: "early" (concatenated into `data`, whose first layer is
    conv1_1_bgrd) or "late" (a stream for each, suffixed with its blob's name); BANDS: one input,
    `data`, of other channels than B, G, R, whose first layer is conv1_1_bands."""
    freeze: tuple[str, ...] = ()
    """Stages that keep their weights: conv1 … conv5, fc6, fc7."""
    loss_normalize: bool = False
    """Mean over the pixels that are not void, in place of the published sum."""
    balance: str | tuple[float, ...] = ()
    """How much each class counts in the training's loss; "median": by median frequency balancing of
    the train split's labels; empty: all the same."""
    balance_file: str = ""
    """Where the matrix of such a loss lies."""
    score_filler: tuple[tuple[str, object], ...] = ()
    """Filler of the 1×1 score layers; none, as published, starts them at 0."""
    fc_outputs: int = 4096
    """Outputs of fc6 and fc7."""
    fc_filler: tuple[tuple[str, object], ...] = ()
    """Filler of fc6 and fc7, where they have no pretrained weights; none, as published: 0."""
    fc_lr_mult: float = 1.0
    """lr_mult of the weights of fc6 and fc7; their biases have twice that."""
    dropout: float = 0.5
    """dropout_ratio behind fc6 and fc7."""
    score_lr_mult: float = 1.0
    """lr_mult of the score layers' weights; their biases have twice that."""
    skip_scales: tuple[float, ...] = (1e-2, 1e-4, 1e-6, 1e-8)
    """Fixed scales of the skips from pool4, pool3, pool2, pool1. The published ones suit a loss
    that is summed over pixels, with rates near 1e-10."""
    palette: tuple[tuple[int, int, int], ...] = ()
    """Red, green, blue of each class in pictures; empty: VOC's colours."""


def staged(schedule):
    """{net: schedule} of the FCN reference: every skip is added at a hundredth of the rate."""
    return {
        net: replace(schedule, base_lr=schedule.base_lr * rate)
        for net, rate in zip(STAGED, (1, 1e-2, 1e-4))
    }


def staged_starts(task):
    """{net: what it goes on from}: FCN-16s from FCN-32s, FCN-8s from FCN-16s."""
    return {net: ((task, before, ""),) for before, net in zip(STAGED, STAGED[1:])}


def _fcn(iterations, at_once=0, base_lr=1e-10):
    """{net: schedule} as in the FCN reference's solvers."""
    made = staged(Schedule(base_lr=base_lr, iterations=iterations))
    if at_once:
        made[AT_ONCE] = Schedule(base_lr=base_lr, iterations=at_once)
    return made


def _voc(split, images):
    return DataSplit(
        "voc_layers", "VOCSegDataLayer", "voc_dir", "voc", split, images, mean=VOC_MEAN
    )


def _sbd(split, images):
    return DataSplit(
        "voc_layers", "SBDDSegDataLayer", "sbdd_dir", "sbd", split, images, mean=VOC_MEAN
    )


def _context(split, images):
    layer = "PASCALContextSegDataLayer"
    extra = (("context_dir", Folder("pascal-context")),)
    return DataSplit(
        "pascalcontext_layers", layer, "voc_dir", "pascal", split, images, extra, VOC_MEAN
    )


def _nyud(name, tops, schedule, **more):
    """A task on NYUDv2; `tops` are the data layer's."""

    def source(split, images):
        extra = (("tops", [*tops, "label"]),)
        return DataSplit(
            "nyud_layers", "NYUDSegDataLayer", "nyud_dir", "nyud", split, images, extra
        )

    return Task(
        name=name,
        classes=NYUD_CLASSES,
        train=source("trainval", 795),
        val=source("test", 654),
        schedule=schedule,
        nets=(*DILATED, STAGED[0]),
        **more,
    )


# VOC2012 val less every image of SBD, so that nets trained on SBD can be scored on it too.
_SEG12VAL = _voc("seg12val", 346)
_VOC_NETS = (*DILATED, *STAGED, AT_ONCE)
_COLOR, _HHA, _DEPTH = ("color", 3), ("hha", 3), ("depth", 1)

TASKS = {
    task.name: task
    for task in (
        Task(
            name="voc",
            classes=VOC_CLASSES,
            train=_voc("train", 1464),
            val=_SEG12VAL,
            schedule=Schedule(base_lr=1e-10, iterations=100000),
            nets=_VOC_NETS,
            schedules=_fcn(100000, 300000),
            starts=staged_starts("voc"),
        ),
        Task(
            name="sbd",
            classes=VOC_CLASSES,
            train=_sbd("trainval", 11355),
            val=_SEG12VAL,
            schedule=Schedule(base_lr=1e-10, iterations=200000),
            nets=_VOC_NETS,
            schedules=_fcn(100000, 300000),
            # The paper's second stage goes on from its first; the FCN reference starts here.
            starts={**staged_starts("sbd"), **{net: (("voc", net, ""),) for net in DILATED}},
        ),
        Task(
            name="pascal-context",
            classes=CONTEXT_CLASSES,
            train=_context("train", 4998),
            val=_context("val", 5105),
            schedule=Schedule(base_lr=1e-9, iterations=300000),
            nets=(*DILATED, *STAGED),
            schedules=_fcn(300000),
            starts=staged_starts("pascal-context"),
        ),
        _nyud(
            "nyud-rgb",
            ["color"],
            Schedule(base_lr=1e-9, iterations=150000),
            schedules={STAGED[0]: Schedule(base_lr=1e-10, iterations=300000)},
        ),
        _nyud(
            "nyud-hha",
            ["hha"],
            Schedule(base_lr=1e-9, iterations=150000),
            schedules={STAGED[0]: Schedule(base_lr=1e-10, iterations=300000)},
        ),
        _nyud(
            "nyud-rgbd",
            ["color", "depth"],
            Schedule(base_lr=1e-9, iterations=150000),
            schedules={STAGED[0]: Schedule(base_lr=1e-10, iterations=300000)},
            inputs=(_COLOR, _DEPTH),
            fusion="early",
        ),
        _nyud(
            "nyud-rgb-hha",
            ["color", "hha"],
            # From two trained nets, at a hundredth of their rate (the FCN reference's choice).
            Schedule(base_lr=1e-11, iterations=150000),
            schedules={STAGED[0]: Schedule(base_lr=1e-12, iterations=300000)},
            inputs=(_COLOR, _HHA),
            fusion="late",
            starts={
                net: (("nyud-rgb", net, "color"), ("nyud-hha", net, "hha"))
                for net in (*DILATED, STAGED[0])
            },
        ),
    )
}
