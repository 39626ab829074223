"""Gradients of every layer type that has them, against central differences.

Each case is small and away from kinks: its numbers are at least 0.1 apart, the step is 0.01.
"""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.layer_runs import Run, check_gradients, distinct

IMAGE = (2, 4, 3, 2)
SMALL = distinct(*IMAGE)
POSITIVE = distinct(*IMAGE) + 6
SCORES, CLASSES = distinct(6, 4), np.array([0, 1, 2, 3, 1, 2])
ALIKE = CLASSES % 2
OTHERS = [distinct(*IMAGE, seed=seed) for seed in (1, 2)]
CONT = np.array([[0, 0], [1, 1], [1, 0]])
STATIC = distinct(2, 3, seed=1) / 4
TRAINING = {"phase": caffe.TRAIN}
CONV = "convolution_param { num_output: 4 kernel_size: 2 %s }"
POOL = "pooling_param { pool: %s kernel_size: 2 stride: 2 }"
RECURRENT = "recurrent_param { num_output: 2 }"
SEQUENCE = distinct(3, 2, 2) / 4


def case(body, *arrays, wanted=None, **more):
    return body, arrays, wanted, more


CASES = {
    "AbsVal": [case("", SMALL)],
    "BNLL": [case("", SMALL)],
    "BatchNorm": [case("", SMALL, **TRAINING)],
    "BatchReindex": [case("", SMALL, np.array([1, 0, 1]), wanted=[0])],
    "Bias": [case("", SMALL), case("", SMALL, distinct(4, 3), wanted=[0, 1])],
    "Clip": [case("clip_param { min: -1 max: 1 }", SMALL)],
    "Concat": [case("", SMALL, *OTHERS)],
    "ContrastiveLoss": [
        case(f"contrastive_loss_param {{ margin: {margin} {more} }}", SCORES, SCORES[::-1].copy(),
             ALIKE, wanted=[0, 1])
        for margin, more in ((4, ""), (9, "legacy_version: true"))
    ],
    "Convolution": [case(CONV % "pad: 1", SMALL), case(CONV % "group: 2 dilation: 2 pad: 1", SMALL),
                    case(CONV % "", *OTHERS, tops=2)],
    "Crop": [case("crop_param { offset: 1 }", SMALL, distinct(2, 4, 2, 1), wanted=[0])],
    "Deconvolution": [case(CONV % "stride: 2 pad: 1", SMALL), case(CONV % "group: 2", SMALL)],
    "Dropout": [case("", SMALL, **TRAINING), case("", SMALL)],
    "ELU": [case("elu_param { alpha: 2 }", SMALL)],
    "Eltwise": [
        case(f"eltwise_param {{ {text} }}", *bottoms)
        for text, bottoms in (
            ("coeff: 2 coeff: -1 coeff: 0.5", [SMALL, *OTHERS]),
            ("operation: PROD", [SMALL, *OTHERS]),
            ("operation: PROD stable_prod_grad: false", [POSITIVE, POSITIVE[::-1].copy()]),
            ("operation: MAX", [SMALL, SMALL[::-1] + 0.05]),
        )
    ],
    "Embed": [case("embed_param { num_output: 3 input_dim: 4 }", CLASSES, wanted=[])],
    "EuclideanLoss": [case("", SCORES, SCORES[::-1].copy())],
    "Exp": [case("exp_param { base: 2 scale: 0.5 shift: 1 }", SMALL)],
    "Filter": [case("", SMALL, np.array([0, 1]), wanted=[0])],
    "Flatten": [case("", SMALL)],
    "HingeLoss": [case(f"hinge_loss_param {{ norm: {norm} }}", SCORES, CLASSES, wanted=[0])
                  for norm in ("L1", "L2")],
    "Im2col": [case("convolution_param { kernel_size: 2 pad: 1 stride: 2 }", SMALL)],
    "InfogainLoss": [case("", SCORES, CLASSES, distinct(4, 4), wanted=[0])],
    "InnerProduct": [case(f"inner_product_param {{ num_output: 3 {text} }}", SMALL)
                     for text in ("", "transpose: true axis: 2")],
    "LRN": [case(f"lrn_param {{ local_size: 3 alpha: 0.5 norm_region: {region} }}", SMALL)
            for region in ("ACROSS_CHANNELS", "WITHIN_CHANNEL")],
    "LSTM": [case(RECURRENT, SEQUENCE, CONT, wanted=[0]),
             case(RECURRENT, SEQUENCE, CONT, STATIC, wanted=[0, 2])],
    "LSTMUnit": [case("", distinct(1, 2, 2) / 4, distinct(1, 2, 8) / 4, CONT[:1], wanted=[0, 1],
                      tops=2)],
    "Log": [case("log_param { base: 2 scale: 2 shift: 1 }", POSITIVE)],
    "MVN": [case(f"mvn_param {{ {text} }}", SMALL)
            for text in ("", "across_channels: true", "normalize_variance: false")],
    "MultinomialLogisticLoss": [case("", abs(SCORES) + 0.1, CLASSES, wanted=[0])],
    "PReLU": [case("", SMALL), case("prelu_param { channel_shared: true }", SMALL)],
    "Parameter": [case("parameter_param { shape { dim: 3 } }")],
    "Pooling": [case(POOL % "MAX", SMALL), case(POOL % "AVE", SMALL),
                case(POOL % "STOCHASTIC", POSITIVE),
                case(POOL % "STOCHASTIC", POSITIVE, **TRAINING)],
    "Power": [case("power_param { power: 2 scale: 0.5 shift: 1 }", SMALL)],
    "RNN": [case(RECURRENT, SEQUENCE, CONT, STATIC, wanted=[0, 2])],
    "ReLU": [case("relu_param { negative_slope: 0.1 }", SMALL), case("", SMALL)],
    "Reduction": [case(f"reduction_param {{ operation: {name} coeff: 2 axis: 2 }}", SMALL)
                  for name in ("SUM", "ASUM", "SUMSQ", "MEAN")],
    "Reshape": [case("reshape_param { shape { dim: 0 dim: -1 } }", SMALL)],
    "SPP": [case(f"spp_param {{ pyramid_height: 2 pool: {pool} }}", SMALL)
            for pool in ("MAX", "AVE")],
    "Scale": [case("scale_param { bias_term: true }", SMALL),
              case("", SMALL, distinct(4, 3), wanted=[0, 1])],
    "Sigmoid": [case("", SMALL)],
    "SigmoidCrossEntropyLoss": [case("", SCORES, distinct(6, 4, seed=1) % 1, wanted=[0])],
    "Silence": [case("", SMALL, tops=0)],
    "Slice": [case("slice_param { slice_point: 1 }", SMALL, tops=2)],
    "Softmax": [case("", SMALL)],
    "SoftmaxWithLoss": [case("", SCORES, CLASSES, wanted=[0])],
    "Split": [case("", SMALL, tops=3)],
    "Swish": [case("swish_param { beta: 2 }", SMALL)],
    "TanH": [case("", SMALL)],
    "Tile": [case("tile_param { tiles: 3 }", SMALL)],
}  # fmt: skip
WITHOUT_GRADIENT = {
    "Accuracy", "ArgMax", "Threshold",  # steps
    "Data", "DummyData", "HDF5Data", "HDF5Output", "ImageData", "Input", "MemoryData",
    "WindowData",  # ends of a net
    "Python",  # a user's own
}  # fmt: skip


class SameChance(Run):
    """A layer whose every pass draws the same random numbers."""

    def forward(self):
        caffe.set_random_seed(3)
        self.layer.reshape(self.bottom, self.top)
        self.layer.forward(self.bottom, self.top)


def test_every_layer_type_is_here():
    assert set(CASES).isdisjoint(WITHOUT_GRADIENT)
    assert set(CASES) | WITHOUT_GRADIENT == set(caffe.layer_type_list())


@pytest.mark.parametrize("kind", CASES)
def test_gradients_agree_with_central_differences(kind):
    for body, arrays, wanted, more in CASES[kind]:
        run = SameChance(kind, body, *arrays, **more)
        check_gradients(run, arrays, wanted, step=1e-2, tolerance=1e-2)


def test_batch_norms_gradient_with_its_stored_statistics():
    run = Run("BatchNorm", "batch_norm_param { use_global_stats: true }", SMALL)
    for blob, values in zip(run.layer.blobs, ([1, 2, 3, 4], [4, 5, 6, 7], [2])):
        blob.data[...] = values
    run.forward()
    weights = np.random.default_rng(0).standard_normal(IMAGE)
    (diff,) = run.backward(weights)
    direction = np.random.default_rng(1).standard_normal(IMAGE)
    rise = []
    for step in (1e-2, -1e-2):
        run.set(SMALL + step * direction)
        rise.append((run.forward().astype(np.float64) * weights).sum())
    np.testing.assert_allclose((rise[0] - rise[1]) / 2e-2, (diff * direction).sum(), rtol=1e-2)
