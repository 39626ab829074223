"""The tasks: what a net learns, from which data, on which schedule. The only home of these facts.

A data set that a user brings is one more `Task`, read from a TOML file by `prototxt.own`.
"""

from __future__ import annotations

from dataclasses import dataclass

VOID = 255
"""Label of pixels that neither loss nor score counts."""

SEED = 1337
"""Seed of the data layers' random order."""

VOC_MEAN = (104.00698793, 116.66876762, 122.67891434)
"""Mean B, G, R of the images that VGG was trained on, 0 to 255."""

VOC_CLASSES = (
    "background",
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
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
    """Further entries of `param_str`."""


@dataclass(frozen=True)
class Schedule:
    """What the solver is told. Defaults are the paper's for every task."""

    base_lr: float
    iterations: int
    momentum: float = 0.99
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
    mean: tuple[float, ...]
    """One number per channel of `data`, in the channels' order (B, G, R)."""
    train: Source
    val: Source
    schedule: Schedule
    nets: tuple[str, ...] = ("dilated-fcn2s-vgg16", "dilated-fcn2s-vgg19")
    """Names in `prototxt.build.NETS`."""
    freeze: tuple[str, ...] = ()
    """Stages that keep their weights: conv1 … conv5, fc6, fc7."""
    loss_normalize: bool = False
    """Mean over the pixels that are not void, in place of the published sum."""
    score_filler: tuple[tuple[str, object], ...] = ()
    """Filler of the 1×1 score layers; none, as published, starts them at 0."""
    dropout: float = 0.5
    """dropout_ratio behind fc6 and fc7."""
    score_lr_mult: float = 1.0
    """lr_mult of the score layers' weights; their biases have twice that."""
    skip_scales: tuple[float, ...] = (1e-2, 1e-4, 1e-6, 1e-8)
    """Fixed scales of the skips from pool4, pool3, pool2, pool1. The published ones suit a loss
    that is summed over pixels, with rates near 1e-10."""


def _voc(split, images):
    return Source("voc_layers", "VOCSegDataLayer", "voc_dir", "voc", split, images)


def _sbd(split, images):
    return Source("voc_layers", "SBDDSegDataLayer", "sbdd_dir", "sbd", split, images)


# VOC2012 val less every image of SBD, so that nets trained on SBD can be scored on it too.
_SEG12VAL = _voc("seg12val", 346)

TASKS = {
    task.name: task
    for task in (
        Task(
            name="voc",
            classes=VOC_CLASSES,
            mean=VOC_MEAN,
            train=_voc("train", 1464),
            val=_SEG12VAL,
            schedule=Schedule(base_lr=1e-10, iterations=100000),
        ),
        Task(
            name="sbd",
            classes=VOC_CLASSES,
            mean=VOC_MEAN,
            train=_sbd("trainval", 11355),
            val=_SEG12VAL,
            schedule=Schedule(base_lr=1e-10, iterations=200000),
        ),
    )
}
