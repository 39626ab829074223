"""What the stage training trains on: the recipe's nets, and CamVid or pictures made up."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from pathlib import Path

import numpy as np
from PIL import Image

from prototxt.files import write_atomic
from prototxt.tasks import VOID
from tools.common.pictures import save_indexed
from tools.gpu.pack import DATA, TRUNK

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "prototxt" / "examples" / "camvid-gpu.toml"
MADE_BY = "Made by tools/gpu/training.py from camvid-gpu.toml."
SMALL = 4
"""In a dry run frames are used at 1/4 of their size."""
DRY_TRAIN, DRY_VAL = 12, 4

DataSet = namedtuple("DataSet", "folder real train val size dry")
DataSet.__doc__ = """What is trained on.

folder      in VOC layout
real        whether it is CamVid; else pictures made up
train, val  ids
size        height and width as the nets get them
dry         whether only a few frames are scored, and all at 1/4 of their size
"""


def data_set(job):
    """The DataSet of a job: the pack's, or one made up in the job's folder."""
    dry = job.gpu is None or job.shrink > 1
    folder = job.folder / "made-up" if job.data is None else job.data / DATA
    if job.data is None:
        make_up(folder)
    train, val = (_ids(folder, split) for split in ("train", "val"))
    if dry:
        train, val = train[:DRY_TRAIN], val[:: max(1, len(val) // DRY_VAL)][:DRY_VAL]
    with Image.open(folder / "JPEGImages" / f"{val[0]}.jpg") as image:
        size = (image.height, image.width)
    if dry:
        size = tuple(side // SMALL for side in size)
    return DataSet(folder, job.data is not None, train, val, size, dry)


def _ids(folder, split):
    text = (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text()
    return text.split()


def make_up(folder, train=DRY_TRAIN, val=DRY_VAL, size=(360, 480)):
    """Write pictures in CamVid's layout and size: sky, houses, road, cars, at places drawn by lot.

    They are nothing but a stand-in for the real ones: what a net learns of them says nothing.
    """
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    random = np.random.RandomState(1)
    splits = {"train": train, "val": val}
    for split, count in splits.items():
        names = [f"{split}{i:02d}" for i in range(count)]
        listed = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        listed.write_text("\n".join(names) + "\n")
        for name in names:
            rgb, labels = _scene(random, *size)
            Image.fromarray(rgb).save(folder / "JPEGImages" / f"{name}.jpg", quality=90)
            save_indexed(folder / "SegmentationClass" / f"{name}.png", labels)


SKY, BUILDING, ROAD, SIDEWALK, TREE, CAR = 0, 1, 3, 4, 5, 8
COLOURS = {
    SKY: (150, 180, 220), BUILDING: (130, 100, 80), ROAD: (90, 90, 95), SIDEWALK: (160, 155, 150),
    TREE: (60, 100, 50), CAR: (150, 30, 30), VOID: (0, 0, 0),
}  # fmt: skip


def _scene(random, height, width):
    """(H x W x 3 uint8 RGB, H x W labels) of a made-up street."""
    labels = np.full((height, width), SKY, np.uint8)
    horizon = int(height * random.uniform(0.4, 0.6))
    edge = 0
    while edge < width:
        wide = int(width * random.uniform(0.1, 0.3))
        kind = (BUILDING, TREE)[random.randint(2)]
        labels[int(horizon * random.uniform(0.2, 0.8)) : horizon, edge : edge + wide] = kind
        edge += wide
    labels[horizon:] = ROAD
    labels[horizon : horizon + height // 12] = SIDEWALK
    for _ in range(3):
        y, x = random.randint(horizon, height - height // 8), random.randint(width - width // 6)
        labels[y : y + height // 8, x : x + width // 6] = CAR
    labels[:3] = VOID
    colours = np.array([COLOURS.get(k, (0, 0, 0)) for k in range(256)], np.int64)
    rgb = colours[labels] + random.randint(-12, 13, (height, width, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8), labels


def recipe(data, folder):
    """The recipe's Task on a DataSet; `folder` is where lists of a dry run's frames are put."""
    from prototxt import own

    task = own.load(RECIPE, root=str(data.folder))
    if not data.dry:
        return task
    lists = Path(folder) / "lists"
    lists.mkdir(exist_ok=True)
    for split, ids in (("train", data.train), ("val", data.val)):
        (lists / f"{split}.txt").write_text("\n".join(ids) + "\n")
    more = {"shrink": SMALL, "split_dir": str(lists)}

    def smaller(source, images):
        extra = {**dict(source.extra), **more}
        if "crop" in extra:
            extra["crop"] = tuple(max(1, side // SMALL) for side in extra["crop"])
        return dataclasses.replace(source, extra=tuple(extra.items()), images=images)

    return dataclasses.replace(
        task, train=smaller(task.train, 0), val=smaller(task.val, len(data.val))
    )


def write_nets(task, net, folder, shrink):
    """Write a net's four prototxts, and the matrix of a weighted loss, into `folder`; channels but
    the scores' divided by `shrink`."""
    from google.protobuf import text_format

    from caffe.proto import caffe_pb2
    from prototxt import build, generate
    from tools.benchmark.nets import narrow

    folder.mkdir(parents=True, exist_ok=True)
    task, beside = generate.balanced(task, str(folder))
    for path, content in beside.items():
        write_atomic(path, content)
    for name, text in build.files(
        task, net, str(folder), str(folder / "train"), "", MADE_BY
    ).items():
        if shrink > 1 and name != "solver.prototxt":
            message = text_format.Parse(text, caffe_pb2.NetParameter())
            text = text_format.MessageToString(narrow(message, shrink, len(task.classes)))
        write_atomic(folder / name, text)


def trunk(job):
    """The caffemodel that the nets start from: the pack's trunk. Where the nets are narrow, its
    first channels; without a pack, random weights."""
    if job.data is not None and job.shrink == 1:
        return job.data / TRUNK
    from tools.float16 import write

    if job.data is not None:
        from surgery.importers import read_source

        whole = read_source(str(job.data / TRUNK), (0, 0, 0))
        weights = {name: _first(arrays, job.shrink) for name, arrays in whole.items()}
    else:
        weights = _random(job.shrink)
    path = job.folder / "trunk.caffemodel"
    write(path, weights)
    return path


def _first(arrays, shrink):
    kernel, bias = arrays
    outputs, inputs = (max(1, n // shrink) for n in kernel.shape[:2])
    inputs = kernel.shape[1] if kernel.shape[1] == 3 else inputs
    return [kernel[:outputs, :inputs], bias[:outputs]]


def _random(shrink):
    """VGG-16's 13 convolutions by msra's rule."""
    from prototxt.parts import CHANNELS, CONVOLUTIONS
    from surgery.fillers import msra

    inputs, weights = 3, {}
    for stage, (count, width) in enumerate(zip(CONVOLUTIONS[16], CHANNELS), start=1):
        outputs = max(1, width // shrink)
        for name in (f"conv{stage}_{j}" for j in range(1, count + 1)):
            weights[name] = [msra((outputs, inputs, 3, 3), 0, name), np.zeros(outputs, "f4")]
            inputs = outputs
    return weights
