"""Folders as trainings leave them, with a net that predicts by the brightest channel."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np

import caffe
from tests.helpers.data_sets import IMAGES, LABELS, LISTS, VAL, net

HOSTILE = ("</script><script>document.title='x'</script>", "<img src=x onerror=alert(1)>",
           "a\"b'c&amp;", "\u202egreen")  # fmt: skip
MEAN = (100.0, 110.0, 120.0)
SCORE = (
    'layer { name: "score" type: "Convolution" bottom: "data" top: "score"'
    " convolution_param { num_output: 4 kernel_size: 1 } }\n"
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"'
    " loss_param { ignore_label: 255 } }\n"
)
TASK = """\
name = "small"
classes = {classes}
nets = ["fcn8s-atonce-vgg16"]

[data]
root = {root}
train = "train"
val = "val"

[training]
base_lr = {rate}
iterations = 20
"""


def lay_out(folder, data, classes=("sky", "road", "car", "tree"), at=20, turned=False, **more):
    """A run in `folder` on the data set `data` of data_sets.write_voc: net, a snapshot of iteration
    `at`, metrics, settings, a receipt. turned: another net, which takes the darkest channel;
    more: parameters of the data layer."""
    folder.mkdir(parents=True)
    path = net(folder / "val.prototxt", "val", voc_dir=str(data), mean=MEAN, classes=4, **more)
    with open(path, "a", encoding="utf-8") as file:
        file.write(SCORE)
    save_weights(path, folder / f"train_iter_{at}.caffemodel", -0.1 if turned else 0.1)
    rate = "1e-4" if turned else "1e-3"
    task = TASK.format(classes=json.dumps(classes), root=json.dumps(str(data)), rate=rate)
    (folder / "task.toml").write_text(task, encoding="utf-8")
    settings = [f"base_lr: {rate}", "momentum: 0.9", 'lr_policy: "fixed"']
    (folder / "solver_in_force.prototxt").write_text("\n".join(["# in force", *settings, ""]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines(classes)))
    (folder / "receipt.json").write_text(json.dumps(receipt(folder)))
    return folder


def save_weights(path, out, weight):
    caffe.set_mode_cpu()
    made = caffe.Net(path, caffe.TEST)
    made.params["score"][0].data[:3, :, 0, 0] = weight * np.eye(3)
    made.params["score"][1].data[3:] = -1000
    made.save(str(out))


def lines(classes):
    """Of a metrics.jsonl: 5 displayed iterations, two scores."""
    found: list[dict] = []
    for at in range(0, 25, 5):
        loss = None if at == 10 else 2 / (1 + at)
        found.append({"iter": at, "loss": loss, "lr": 1e-3, "seconds": at * 1.5, "memory": 9.5})
        if at in (10, 20):
            scores = {"pixel_accuracy": 0.5, "mean_accuracy": 0.4, "mean_iu": at / 100,
                      "fw_iu": 0.3, "loss": 1.5}  # fmt: skip
            ius = dict.fromkeys(classes, at / 50)
            found.append({"iter": at, "scores": scores, "classes": ius})
    return found


def receipt(folder):
    part = {
        "from": 0, "when": "2030-01-01T00:00:00Z", "solver": str(folder / "solver.prototxt"),
        "set": ["base_lr=1e-3"], "options": [], "processes": 1,
        "start": {"path": "init.caffemodel", "sha256": "ab" * 32},
        "files": {"train.prototxt": "cd" * 32}, "toolkit": {"commit": "ef" * 20, "changed": []},
        "machine": {"processor": "<i>fast</i>", "threads": "1"}, "data": 0,
    }  # fmt: skip
    data = {"data": {"items": 5, "list": "12" * 32, "seed": 7, "files": {"a.jpg": "34" * 32}}}
    return {"parts": [part], "data": [data]}


def rename_image(data, old, new):
    """Give an image of the val split of a data set another name."""
    for folder, ending in ((IMAGES, "jpg"), (LABELS, "png")):
        shutil.move(data / folder / f"{old}.{ending}", data / folder / f"{new}.{ending}")
    ids = [new if name == old else name for name in VAL]
    text = "".join(f"{name}{os.linesep}" for name in ids)
    (data / LISTS / "val.txt").write_text(text, encoding="utf-8")
