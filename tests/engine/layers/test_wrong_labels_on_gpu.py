"""Labels that are no class and rows that are not there, on a GPU: nothing is learned from them
without a sign, and nothing waits to ask. (The CPU refuses them.)"""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tests.helpers.layer_runs import Run, distinct
from tests.helpers.net_texts import data, ip, losses, params

SCORES = distinct(2, 4, 3)
PROBABILITIES = (np.arange(8).reshape(2, 4) % 5 + 1) / 10
MAP, ITEMS = np.array([[0, 1, 2], [3, 2, 1]]), np.array([1, 3])
IGNORED = "loss_param { ignore_label: 3 }"
EMBED = 'embed_param { num_output: 2 input_dim: 3 weight_filler { type: "uniform" } }'


def gradient(kind, body, arrays, labels, wrong):
    """The gradient that a layer gives (of its parameter, if it has one), and how often the GPU
    was waited for; `labels` is the number of the bottom whose first element becomes `wrong`."""
    arrays = [np.array(array, np.float32) for array in arrays]
    arrays[labels].flat[0] = wrong
    with emulated_gpus():
        caffe.set_mode_gpu()
        run = Run(kind, body, *arrays)
        run.top[0].diff[...] = np.ones(run.top[0].shape)
        for blob in (*run.bottom, *run.top, *run.layer.blobs):
            blob.read(), blob.read_diff()
        waits.clear()
        run.layer.forward(run.bottom, run.top)
        run.layer.backward(run.top, [i < labels for i in range(len(arrays))], run.bottom)
        waited = list(waits)
        return (run.layer.blobs or run.bottom)[0].diff.copy(), waited


@pytest.mark.parametrize("wrong", [4, -1, 255, np.nan])
@pytest.mark.parametrize(
    ("kind", "body", "arrays", "labels"),
    [
        ("SoftmaxWithLoss", "", [SCORES, MAP], 1),
        ("SoftmaxWithLoss", IGNORED, [SCORES, MAP], 1),
        ("InfogainLoss", "", [SCORES, MAP, np.eye(4)], 1),
        ("InfogainLoss", IGNORED, [SCORES, MAP, np.eye(4)], 1),
        ("HingeLoss", "", [SCORES[..., 0], ITEMS], 1),
        ("HingeLoss", "hinge_loss_param { norm: L2 }", [SCORES[..., 0], ITEMS], 1),
        ("MultinomialLogisticLoss", "", [PROBABILITIES, ITEMS], 1),
        ("BatchReindex", "", [distinct(4, 3), ITEMS], 1),
        ("Embed", EMBED, [ITEMS % 3], 0),
    ],
)
def test_a_number_that_is_no_class_or_row_makes_the_gradient_nan(kind, body, arrays, labels, wrong):
    found, waited = gradient(kind, body, arrays, labels, wrong)
    assert np.isnan(found).any()
    assert waited == []


def test_classes_of_an_accuracy_with_a_wrong_label_are_nan():
    with emulated_gpus():
        caffe.set_mode_gpu()
        run = Run("Accuracy", "", SCORES[..., 0], np.array([1, 4]), tops=2)
        assert np.isnan(run.forward()) and np.isnan(run.top[1].data).all()


@pytest.mark.parametrize("lean", [False, True])
def test_training_on_a_wrong_label_leaves_no_parameter_that_looks_learned(make_solver, lean):
    net = data(4, 3) + data(4, name="label") + ip("ip", "data") + losses()
    caffe.engine.set_lean(lean)
    with emulated_gpus():
        caffe.set_mode_gpu()
        solver = make_solver(net, 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
        solver.net.blobs["data"].data[...] = np.arange(12).reshape(4, 3) / 10
        solver.net.blobs["label"].data[...] = [0, 1, 99, 1]
        solver.step(3)
        assert all(np.isnan(array).any() for array in params(solver.net))
