"""What every field of the losses' messages does."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np

from caffe.proto import caffe_pb2
from tests.engine.layers.field_rows import CLASSES, IMAGE, SCORES, Layers

IGNORING = ("ContrastiveLoss", "EuclideanLoss", "HingeLoss", "MultinomialLogisticLoss")

_FOLDER = Path(tempfile.mkdtemp(prefix="every-field-losses-"))
atexit.register(shutil.rmtree, _FOLDER, True)


def matrix(seed) -> str:
    path = _FOLDER / f"{seed}.binaryproto"
    values = np.random.RandomState(seed).rand(4, 4).ravel().tolist()
    path.write_bytes(caffe_pb2.BlobProto(num=1, channels=1, height=4, width=4, data=values)
                     .SerializeToString())  # fmt: skip
    return str(path)


def contrastive_loss():
    arrays = [SCORES, SCORES[::-1].copy(), CLASSES % 2]
    rows = Layers("ContrastiveLoss", "ContrastiveLossParameter", *arrays, common="margin: 3")
    alone = Layers("ContrastiveLoss", "ContrastiveLossParameter", *arrays)
    return {
        "margin": alone.differ("margin: 3"),
        "legacy_version": rows.differ("legacy_version: true"),
    }


def hinge_loss():
    rows = Layers("HingeLoss", "HingeLossParameter", SCORES, CLASSES)
    return {"norm": rows.differ("norm: L2")}


def infogain_loss():
    deep = (np.arange(32).reshape(2, 4, 4) % 7, np.arange(8).reshape(2, 4) % 4)
    rows = Layers("InfogainLoss", "InfogainLossParameter", *deep)
    source = f'source: "{matrix(0)}"'
    return {
        "source": rows.differ(f'source: "{matrix(1)}"', source),
        "axis": rows.differ(f"{source} axis: 2", source),
    }


def loss():
    softmax = Layers("SoftmaxWithLoss", "LossParameter", IMAGE, np.arange(60).reshape(2, 5, 6) % 4)
    targets = np.arange(240).reshape(IMAGE) % 2
    sigmoid = Layers("SigmoidCrossEntropyLoss", "LossParameter", IMAGE, targets)
    infogain = Layers("InfogainLoss", "LossParameter", SCORES, CLASSES,
                      rest=f'infogain_loss_param {{ source: "{matrix(0)}" }}')  # fmt: skip
    pairs = [SCORES, SCORES[::-1].copy(), CLASSES % 2]
    bottoms = {"ContrastiveLoss": pairs, "EuclideanLoss": pairs[:2]}
    others = [
        Layers(kind, "LossParameter", *bottoms.get(kind, [abs(SCORES), CLASSES]))
        for kind in IGNORING
    ]
    ignored = "ignore_label: 0"
    found = {
        "ignore_label": [rows.differ(ignored) for rows in (softmax, sigmoid, infogain)],
        "normalize": [
            softmax.differ("normalize: false"),
            sigmoid.differ(f"{ignored} normalize: true", ignored),
            infogain.refuse("normalize: true", "use normalization"),
        ],
        "normalization": [
            rows.differ(f"{ignored} normalization: {a}", f"{ignored} normalization: {b}")
            for rows in (softmax, sigmoid, infogain)
            for a, b in (("FULL", "VALID"), ("VALID", "NONE"))
        ]
        + [
            rows.differ(f"{ignored} normalization: BATCH_SIZE", f"{ignored} normalization: FULL")
            for rows in (softmax, sigmoid)
        ],
    }
    for name, text in {"ignore_label": ignored, "normalize": "normalize: false",
                       "normalization": "normalization: FULL"}.items():  # fmt: skip
        found[name] += [rows.warn(text, "loss_param has no effect") for rows in others]
    return found


TABLE = {
    "ContrastiveLossParameter": contrastive_loss,
    "HingeLossParameter": hinge_loss,
    "InfogainLossParameter": infogain_loss,
    "LossParameter": loss,
}
