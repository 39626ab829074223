"""Well-known nets (models.py), whole: in TRAIN forward and backward, in TEST, and for deployment.

The images are a photograph and its mirror image at the nets' own size. Each side builds the net
with its own NetSpec. Every blob comes of each side's own forward pass; gradients of the same
blobs, BVLC Caffe's, since a ReLU or a max pool that rounding turns shows in all of them.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.conformance import both, models, pictures, report

LIMIT = 1e-4

TRUNK = 56_868_224
"""Parameters of AlexNet below its 1000 classes: 60,965,224 with them."""
LEARNED = {
    "alexnet": (60_965_224, 60_965_224),
    "caffenet": (60_965_224, 60_965_224),
    "googlenet": (13_378_280, 6_998_552),
    "rcnn_ilsvrc13": (TRUNK + 4097 * 200, TRUNK + 4097 * 200),
    "fcn32s_alexnet": (TRUNK + 4097 * 21, TRUNK + 4097 * 21),
}
"""Learned parameters, for training and for deployment. GoogLeNet's auxiliary classifiers are the
difference: 1x1 to 128 channels, 2048 to 1024 units, 1024 to 1000 classes, each with biases."""
AUXILIARY = [128 * (channels + 1) + 1024 * 2049 + 1000 * 1025 for channels in (512, 528)]

SHAPES = {
    "alexnet": {"conv1": 55, "norm1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "pool5": 6},
    "caffenet": {"conv1": 55, "norm1": 27, "pool1": 27, "conv2": 27, "pool2": 13, "pool5": 6},
    "googlenet": {
        "conv1/7x7_s2": 112, "pool1/3x3_s2": 56, "pool2/3x3_s2": 28, "pool3/3x3_s2": 14,
        "pool4/3x3_s2": 7, "pool5/7x7_s1": 1,
    },
    "rcnn_ilsvrc13": {"conv1": 55, "pool5": 6},
    "fcn32s_alexnet": {"conv1": 105, "pool5": 13, "fc6": 8, "upscore": 287, "score": 227},
}  # fmt: skip
"""Height and width of blobs, as published or by arithmetic."""

every_model = pytest.mark.parametrize("model", models.MODELS)


def inputs(model, real_data):
    """A photograph and its mirror image, with classes or, for FCN, label maps with void."""
    image, label = pictures.photograph(real_data)
    size = (224, 224) if model == "googlenet" else (227, 227)
    image, label = image.resize(size, Image.BILINEAR), label.resize(size, Image.NEAREST)
    one = pictures.blobs(image, label)
    pair = {name: np.concatenate([value, value[..., ::-1]]) for name, value in one.items()}
    if model != "fcn32s_alexnet":
        pair["label"] = np.array([17, 130], np.float32)
    return pair


def compared(model, arrays, part, **args):
    """One pass under both sides, compared; BVLC Caffe's results."""
    args = {"model": model, **args}
    theirs, ours = both.one_after_the_other("model_pass", args, arrays, timeout=300, threads=2)
    errors = both.compare(theirs, ours, LIMIT)
    report.record_parts("models", f"{model} {part}: ", errors)
    return theirs


def learned(results):
    """How many parameters the results' net has, but for upsampling's."""
    shapes = results["param_shapes"]
    return sum(np.prod(s) for name in shapes if name != "upscore" for s in shapes[name])


@every_model
def test_train_agrees_forward_and_backward(model, real_data):
    args = {"deploy": False, "phase": "TRAIN", "backward": True}
    theirs = compared(model, inputs(model, real_data), "TRAIN", **args)
    assert learned(theirs) == LEARNED[model][0]
    # The comparison means something: every layer learns (upsampling is fixed), from losses of a
    # net that still guesses.
    for name in theirs:
        if name.startswith("gradient "):
            assert (np.abs(theirs[name]).max() > 0) == ("upscore" not in name), name
    losses = {name: float(theirs["data " + name]) for name in theirs["outputs"]}
    assert len(losses) == (3 if model == "googlenet" else 1)
    assert all(0.5 < loss < 500 for loss in losses.values()), losses


SCORES = {
    "alexnet": ("fc8", "accuracy"),
    "caffenet": ("fc8", "accuracy"),
    "googlenet": ("loss3/classifier", "loss3/top-1"),
}
"""The blobs with the scores of the classes, and the accuracy of them."""


def best_and_third(scores):
    """The classes with the best score of the first image, the third best of the second: half of
    the images are right at once, both in five."""
    order = np.argsort(-scores, axis=1)
    return np.array([order[0, 0], order[1, 2]], np.float32)


@every_model
def test_test_agrees(model, real_data):
    arrays = inputs(model, real_data)
    args = {"deploy": False, "phase": "TEST", "backward": False}
    scores, accuracy = SCORES.get(model, (None, None))
    if scores:
        first = both.run("bvlc", "model_pass", {"model": model, **args}, arrays, threads=2)
        arrays["label"] = best_and_third(first["data " + scores])
    theirs = compared(model, arrays, "TEST", **args)
    assert theirs["types"].count("Accuracy") == (6 if model == "googlenet" else bool(scores))
    if scores:
        assert theirs["data " + accuracy] == 0.5
    if model == "googlenet":
        assert theirs["data loss3/top-5"] == 1


@every_model
def test_deploy_agrees(model, real_data):
    arrays = {"data": inputs(model, real_data)["data"]}
    args = {"deploy": True, "phase": "TEST", "backward": False}
    theirs = compared(model, arrays, "deploy", **args)
    assert learned(theirs) == LEARNED[model][1]
    for name, side in SHAPES[model].items():
        assert theirs["blob_shapes"][name][2:] == [side, side], name
    if "prob" in theirs["outputs"]:
        prob = theirs["data prob"]
        assert prob.shape == (models.BATCH, 1000)
        # Neither certain nor without an opinion: a softmax of either hides differences.
        assert 2e-3 < prob.max() < 0.99


def test_the_models_are_the_published_ones():
    assert sum(AUXILIARY) == LEARNED["googlenet"][0] - LEARNED["googlenet"][1]
    assert LEARNED["alexnet"][0] == TRUNK + 4097 * 1000
    layers = {
        name: {one.name: one for one in net(True).layer} for name, net in models.MODELS.items()
    }
    assert layers["alexnet"]["norm1"].bottom == ["conv1"]
    assert layers["caffenet"]["norm1"].bottom == ["pool1"]
    assert [layers["alexnet"][f"conv{i}"].convolution_param.group for i in range(1, 6)] == [
        1, 2, 1, 2, 2,
    ]  # fmt: skip
    assert list(layers["fcn32s_alexnet"]["score"].crop_param.offset) == [18]
    assert list(layers["rcnn_ilsvrc13"])[-1] == "fc-rcnn"
    outputs = [sum(INCEPTION[i] for i in (0, 2, 4, 5)) for INCEPTION in models.INCEPTIONS.values()]
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    weights = [w for one in models.googlenet(False).layer for w in one.loss_weight]
    assert weights == pytest.approx([0.3, 0.3, 1])
