"""How much each class counts in the loss: a user's own numbers, or median frequency balancing.

The weights are the diagonal of the matrix of an InfogainLoss, which every Caffe trains with; with
weights of 1 it is SoftmaxWithLoss. The matrix is a file, beside the nets.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from caffe.proto import caffe_pb2
from prototxt.errors import InputError
from prototxt.opening import read_regular

MATRIX = "balance.binaryproto"
COUNTS = "class_counts.json"
"""What was counted in the labels, kept so that they are read once."""
SECONDS = 2.0
"""Between lines on how far the counting is."""


def median_frequency(pixels: Sequence[int], around: Sequence[int]) -> tuple[float, ...]:
    """The weight of each class: the median of all classes' frequencies divided by its own (Eigen
    and Fergus, ICCV 2015). A class's frequency is its share of the pixels of those images that
    show it. 1 for classes that none shows.

    pixels: of each class, in all images; around: pixels, void not counted, of the images with it.
    """
    shares = [own / whole if own else 0.0 for own, whole in zip(pixels, around)]
    middle = statistics.median([share for share in shares if share] or [1.0])
    return tuple(middle / share if share else 1.0 for share in shares)


def count(labels: Iterable[np.ndarray], classes: int) -> tuple[list[int], list[int]]:
    """(pixels, around), as `median_frequency` takes them, of H x W uint8 label maps."""
    pixels, around = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for label in labels:
        found = np.bincount(label.ravel(), minlength=256)[:classes]
        pixels += found
        around += np.where(found > 0, found.sum(), 0)
    return pixels.tolist(), around.tolist()


def counts(task, kept: str) -> dict:
    """What is counted in the labels of a Task's train split, or was, by the file `kept`, if the
    labels are the same by their number and sizes. Raises InputError where one cannot be read."""
    from segmentation import label_files
    from segmentation.params import DataError
    from voc_layers import VOCSegDataLayer

    source = task.train
    try:
        params = VOCSegDataLayer.parse(
            {source.folder_key: source.folder, "split": source.split, "mean": source.mean,
             **dict(source.extra)}
        )  # fmt: skip
        split = VOCSegDataLayer.open_source(params)
        paths = [split.find(name) for name in split.ids]
        sizes = [os.path.getsize(path["label"]) for path in paths]
        manner = {key: params[key] for key in label_files.SCHEMA if params[key] is not None}
        classes = len(task.classes)
        seen = {
            "labels": len(paths),
            "classes": classes,
            "crc32": zlib.crc32(repr([*split.ids, *sizes, manner]).encode()),
        }
        before = _kept(kept)
        if before is not None and all(before.get(key) == value for key, value in seen.items()):
            return before
        pixels, around = count(_checked(split, _told(paths), classes), classes)
    except (DataError, OSError) as error:
        raise InputError(f"balance: {error}") from None
    return {**seen, "pixels": pixels, "around": around}


def _checked(split, paths: Iterable[dict], classes: int) -> Iterable[np.ndarray]:
    """The labels, whose values are classes or void; else DataError, as in training."""
    from segmentation.labels import check_labels

    for found in paths:
        label = split.label(found)
        check_labels(found["label"], label, classes)
        yield label


def _kept(path: str) -> dict | None:
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"pixels", "around"} <= found.keys() else None


def _told(paths: Sequence[dict]) -> Iterable[dict]:
    """The paths, with a line on how far they are now and then."""
    then = time.monotonic()
    for number, path in enumerate(paths):
        if time.monotonic() - then > SECONDS:
            then = time.monotonic()
            print(f"classes counted in {number} of {len(paths)} labels", file=sys.stderr)
        yield path


def matrix(weights: Sequence[float]) -> bytes:
    """The file of an InfogainLoss's matrix with `weights` on its diagonal: a BlobProto."""
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=len(weights), width=len(weights))
    blob.data.extend(np.diag(np.array(weights, np.float32)).ravel().tolist())
    return blob.SerializeToString()


def is_matrix(content: bytes) -> bool:
    """Whether a file holds such a matrix."""
    try:
        blob = caffe_pb2.BlobProto.FromString(content)
        square = np.reshape(blob.data, (blob.height, blob.width))
    except Exception:  # protobuf's and NumPy's own, for other files
        return False
    return square.size > 0 and not (square - np.diag(np.diag(square))).any()


def is_counts(content: bytes) -> bool:
    """Whether a file holds what `counts` gives."""
    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and {"pixels", "around", "crc32"} <= found.keys()
