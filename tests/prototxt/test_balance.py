"""Weights of classes: what is counted, and what they do to the loss."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

import caffe
from prototxt import balance

WEIGHTS = (0.5, 2.0, 0.0, 3.25)
LOSS = """
force_backward: true
layer {{ name: "score" type: "Input" top: "score"
  input_param {{ shape {{ dim: 2 dim: 4 dim: 3 dim: 5 }} }} }}
layer {{ name: "label" type: "Input" top: "label"
  input_param {{ shape {{ dim: 2 dim: 1 dim: 3 dim: 5 }} }} }}
layer {{ name: "loss" bottom: "score" bottom: "label" top: "loss" {kind} }}
"""


def run(tmp_path, kind, score, label):
    """(Loss, its gradient) of a net whose loss layer is `kind`."""
    (tmp_path / "loss.prototxt").write_text(LOSS.format(kind=kind))
    caffe.set_mode_cpu()
    net = caffe.Net(str(tmp_path / "loss.prototxt"), caffe.TRAIN)
    net.blobs["score"].data[...], net.blobs["label"].data[...] = score, label
    loss = float(net.forward()["loss"])
    net.backward()
    return loss, net.blobs["score"].diff.copy()


def infogain(tmp_path, weights, normalization):
    (tmp_path / balance.MATRIX).write_bytes(balance.matrix(weights))
    return (
        f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path / balance.MATRIX}" }} '
        f"loss_param {{ ignore_label: 255 normalization: {normalization} }}"
    )


@pytest.fixture
def scores():
    stream = np.random.RandomState(0)
    label = stream.randint(0, 4, (2, 1, 3, 5)).astype(np.float32)
    label[0, 0, 0, :2] = 255
    return stream.standard_normal((2, 4, 3, 5)).astype(np.float32), label


@pytest.mark.parametrize(("normalization", "divisor"), [("VALID", 28), ("BATCH_SIZE", 2)])
def test_a_pixel_counts_as_its_class_does(tmp_path, scores, normalization, divisor):
    score, label = scores
    loss, gradient = run(tmp_path, infogain(tmp_path, WEIGHTS, normalization), score, label)
    exp = np.exp(score.astype(np.float64))
    prob = exp / exp.sum(1, keepdims=True)
    classes = label[:, 0].astype(int)
    weight = np.where(classes == 255, 0.0, np.take(WEIGHTS, classes, mode="clip"))
    own = np.take_along_axis(prob, np.where(classes == 255, 0, classes)[:, None], 1)[:, 0]
    assert loss == pytest.approx((-np.log(own) * weight).sum() / divisor, rel=1e-5)
    one_hot = np.arange(4)[None, :, None, None] == classes[:, None]
    np.testing.assert_allclose(gradient, (prob - one_hot) * weight[:, None] / divisor, atol=1e-6)


@pytest.mark.parametrize(("normalization", "mean"), [("VALID", "true"), ("BATCH_SIZE", "false")])
def test_weights_of_one_are_the_loss_without_weights(tmp_path, scores, normalization, mean):
    weighted = run(tmp_path, infogain(tmp_path, (1, 1, 1, 1), normalization), *scores)
    kind = f'type: "SoftmaxWithLoss" loss_param {{ ignore_label: 255 normalize: {mean} }}'
    plain = run(tmp_path, kind, *scores)
    assert weighted[0] == pytest.approx(plain[0], rel=1e-6)
    np.testing.assert_allclose(weighted[1], plain[1], atol=1e-7)


def test_rare_classes_count_more_by_the_median_of_the_frequencies():
    # Class 0: 60 of 100 pixels; 1: 30 of 100; 2: 10 of the 50 of the one image that shows it.
    labels = [np.repeat([0, 1, 2, 255], [30, 10, 10, 7]), np.repeat([0, 1], [30, 20])]
    pixels, around = balance.count([one.astype(np.uint8) for one in labels], 3)
    assert (pixels, around) == ([60, 30, 10], [100, 100, 50])
    assert balance.median_frequency(pixels, around) == (0.3 / 0.6, 1.0, 0.3 / 0.2)


def test_a_class_that_no_label_shows_counts_one():
    assert balance.median_frequency([10, 0, 10], [40, 0, 20]) == (1.5, 1.0, 0.75)


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=12))
def test_a_matrix_is_known_as_one_and_other_files_are_not(weights):
    assert balance.is_matrix(balance.matrix(weights))
    assert not balance.is_matrix(b"notes") and not balance.is_matrix(b"")
    mean = caffe.io.array_to_blobproto(np.ones((1, 1, 3, 3))).SerializeToString()
    assert not balance.is_matrix(mean)


def test_what_was_counted_is_known_by_its_keys():
    assert balance.is_counts(json.dumps({"pixels": [], "around": [], "crc32": 1}).encode())
    assert not balance.is_counts(b'{"pixels": []}') and not balance.is_counts(b"notes")
