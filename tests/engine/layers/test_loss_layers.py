"""Softmax, SoftmaxWithLoss, EuclideanLoss. The numbers marked so are BVLC Caffe 1.0's."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import caffe
from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

SCORES = pattern(2, 3, 2, 2) / 4
LABELS = np.array([[[[0, 2], [255, 1]]], [[[255, 1], [2, 255]]]], dtype=np.float32)

# loss_param: loss, and the gradient at the first pixel for loss weight 2; BVLC Caffe's
NORMALIZED = {
    "": (1.4790819, [-0.3408784, 0.2649647, 0.0759137]),
    "normalization: VALID": (1.4790819, [-0.3408784, 0.2649647, 0.0759137]),
    "normalization: FULL": (0.9244262, [-0.2130490, 0.1656030, 0.0474460]),
    "normalization: BATCH_SIZE": (3.6977048, [-0.8521960, 0.6624118, 0.1897842]),
    "normalization: NONE": (7.3954096, [-1.7043920, 1.3248236, 0.3795683]),
    "normalize: true": (1.4790819, [-0.3408784, 0.2649647, 0.0759137]),
    "normalize: false": (3.6977048, [-0.8521960, 0.6624118, 0.1897842]),
    "normalize: false normalization: FULL": (0.9244262, [-0.2130490, 0.1656030, 0.0474460]),
}


@pytest.mark.parametrize(("param", "expected"), NORMALIZED.items())
def test_every_normalization_is_caffes(param, expected):
    run = Run("SoftmaxWithLoss", f"loss_param {{ ignore_label: 255 {param} }}", SCORES, LABELS)
    np.testing.assert_allclose(run.forward(), expected[0], rtol=1e-6)
    assert run.top[0].shape == ()
    diff = run.backward(2, down=[True, False])[0]
    np.testing.assert_allclose(diff[0, :, 0, 0], expected[1], rtol=1e-5)
    ignored = np.broadcast_to(LABELS == 255, SCORES.shape)
    assert not diff[ignored].any() and diff[~ignored].all()


@given(st.integers(-3, 2), st.booleans())
@settings(max_examples=12, deadline=None)
def test_loss_gradients_agree_with_differences(axis, ignore):
    scores = distinct(3, 3, 3)
    labels = np.arange(9).reshape(3, 3) * 5 % 3
    body = f"softmax_param {{ axis: {axis} }}"
    if ignore:
        body += "loss_param { ignore_label: 1 }"
    run = Run("SoftmaxWithLoss", body, scores, labels)
    check_gradients(run, [scores, labels], wanted=[0])


def test_with_nothing_but_ignored_labels_the_loss_is_0():
    run = Run("SoftmaxWithLoss", "loss_param { ignore_label: 255 }", SCORES, LABELS * 0 + 255)
    assert run.forward() == 0
    assert not run.backward(1, down=[True, False])[0].any()


def test_one_valid_label_counts_once():
    labels = np.full((2, 1, 2, 2), 255)
    labels[1, 0, 1, 0] = 2
    run = Run("SoftmaxWithLoss", "loss_param { ignore_label: 255 }", SCORES, labels)
    scores = SCORES[1, :, 1, 0].astype(np.float64)
    np.testing.assert_allclose(run.forward(), np.log(np.exp(scores).sum()) - scores[2], rtol=1e-5)


@pytest.mark.parametrize("ignored", ["", "loss_param { ignore_label: 255 }"])
def test_labels_that_are_no_numbers_are_told_as_such(ignored):
    labels = LABELS.astype(np.float32)
    labels[0, 0, 0, 1] = np.nan
    run = Run("SoftmaxWithLoss", ignored, SCORES, labels)
    with pytest.raises(InputError, match="'b1' holds NaN where a label should be"):
        run.forward()


def test_labels_far_out_of_range_are_shown_as_they_are():
    run = Run("SoftmaxWithLoss", "", SCORES, LABELS * 0 + 1e20)
    with pytest.raises(InputError, match=r"label 1e\+20 in 'b1' is not one of"):
        run.forward()


def test_a_probability_of_0_costs_what_caffe_charges():
    scores = np.zeros((1, 3, 1, 1), dtype=np.float32)
    scores[0, 1] = 500
    run = Run("SoftmaxWithLoss", "", scores, np.zeros((1, 1, 1, 1)))
    np.testing.assert_allclose(run.forward(), 87.3365479)  # -log of the smallest normal float


def test_the_second_top_is_the_probabilities():
    run = Run("SoftmaxWithLoss", "loss_param { ignore_label: 255 }", SCORES, LABELS, tops=2)
    run.forward()
    np.testing.assert_allclose(run.top[1].data, Run("Softmax", "", SCORES).forward())
    np.testing.assert_allclose(run.top[1].data.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("wrong", [3, -1, 255, 7.0])
def test_a_label_outside_the_classes_is_named(wrong):
    labels = np.array([[0, wrong]])
    with pytest.raises(InputError, match=rf"label {int(wrong)} in 'b1'.* 3 classes 0 to 2"):
        Run("SoftmaxWithLoss", "", pattern(1, 3, 2), labels).forward()


def test_labels_of_another_count_are_refused():
    with pytest.raises(InputError, match=r"needs 4 labels; 'b1' of shape \(1, 3\) holds 3"):
        Run("SoftmaxWithLoss", "", pattern(1, 3, 4), pattern(1, 3))


def test_labels_get_no_gradient():
    run = Run("SoftmaxWithLoss", "loss_param { ignore_label: 255 }", SCORES, LABELS)
    run.forward()
    with pytest.raises(InputError, match="cannot backpropagate to its labels"):
        run.backward(1, down=[True, True])


@given(st.integers(-3, 2))
@settings(max_examples=6, deadline=None)
def test_softmax_gradients_agree_with_differences(axis):
    x = distinct(2, 3, 4)
    check_gradients(Run("Softmax", f"softmax_param {{ axis: {axis} }}", x), [x])


def test_euclidean_loss_is_half_the_mean_squared_distance():
    a, b = distinct(4, 3), distinct(4, 3, seed=1)
    run = Run("EuclideanLoss", "", a, b)
    np.testing.assert_allclose(run.forward(), ((a - b) ** 2).sum() / 8, rtol=1e-5)
    check_gradients(run, [a, b])


@pytest.mark.parametrize("lean", [False, True])
def test_a_softmax_loss_diff_that_was_looked_at_is_the_gradient(tmp_path, lean):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'force_backward: true layer { name: "in" type: "Input" top: "x" top: "y" '
        "input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } } "
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { '
        'num_output: 4 weight_filler { type: "gaussian" std: 1 } } } '
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }'
    )
    caffe.engine.set_lean(lean)
    try:
        net = caffe.Net(str(path), caffe.TRAIN)
    finally:
        caffe.engine.set_lean(False)
    diff = net.blobs["ip"].diff
    net.blobs["x"].data[...] = [[1, 2, 3], [3, 2, 1]]
    net.blobs["y"].data[...] = [1, 2]
    net.forward()
    net.backward()
    np.testing.assert_allclose(diff.sum(1), 0, atol=1e-6)
    assert np.abs(diff).max() > 0
