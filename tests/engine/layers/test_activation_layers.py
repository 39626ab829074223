"""AbsVal, BNLL, Clip, ELU, Exp, Log, PReLU, Swish, Threshold.

KNOWN holds BVLC Caffe 1.0's numbers."""

import numpy as np
import pytest

import caffe
from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

X = np.array([[-2, -0.5, 0, 0.5, 1, 3]], dtype=np.float32)

# (type, body): what X becomes, and its gradient for a top gradient of 1, 2, ... 6
KNOWN = {
    ("AbsVal", ""): ([2, 0.5, 0, 0.5, 1, 3], [-1, -2, 0, 4, 5, 6]),
    ("BNLL", ""): (
        [0.12692802, 0.474077, 0.6931472, 0.974077, 1.3132617, 3.0485873],
        [0.11920292, 0.75508136, 1.5, 2.4898374, 3.6552927, 5.7154446],
    ),
    ("Clip", "clip_param { min: -0.5 max: 1 }"): (
        [-0.5, -0.5, 0, 0.5, 1, 1],
        [0, 2, 3, 4, 5, 0],
    ),
    ("Clip", "clip_param { min: 2 max: 1 }"): ([2] * 6, [0] * 6),
    ("ELU", ""): (
        [-0.86466473, -0.39346933, 0, 0.5, 1, 3],
        [0.13533527, 1.2130613, 3, 4, 5, 6],
    ),
    ("ELU", "elu_param { alpha: -2 }"): (
        [1.7293295, 0.78693867, 0, 0.5, 1, 3],
        [-0.27067053, -2.4261227, -6, 4, 5, 6],
    ),
    ("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"): (
        [1, 1.6817929, 2, 2.3784142, 2.828427, 5.656854],
        [0.3465736, 1.16573, 2.0794415, 3.297182, 4.901291, 11.763097],
    ),
    ("Exp", ""): (
        [0.13533528, 0.60653067, 1, 1.6487212, 2.7182817, 20.085537],
        [0.13533528, 1.2130613, 3, 6.594885, 13.591409, 120.51322],
    ),
    ("Exp", "exp_param { base: 1 }"): ([1] * 6, [0] * 6),
    ("Log", "log_param { base: 2 scale: 0.5 shift: 3 }"): (
        [1, 1.4594316, 1.5849625, 1.7004397, 1.8073548, 2.169925],
        [0.36067376, 0.52461636, 0.7213475, 0.8878124, 1.0304965, 0.9617967],
    ),
    ("Log", "log_param { scale: 0 }"): ([-np.inf] * 6, [0] * 6),
    ("PReLU", ""): ([-0.5, -0.125, 0, 0.5, 1, 3], [0.25, 0.5, 0.75, 4, 5, 6]),
    ("PReLU", "prelu_param { channel_shared: true filler { value: 0.5 } }"): (
        [-1, -0.25, 0, 0.5, 1, 3],
        [0.5, 1, 1.5, 4, 5, 6],
    ),
    ("Swish", "swish_param { beta: 2 }"): (
        [-0.03597242, -0.13447072, 0, 0.3655293, 0.8807971, 2.992582],
        [-0.05266462, 0.14465898, 1.5, 3.7106822, 5.4539213, 6.073959],
    ),
}


@pytest.mark.parametrize("layer", KNOWN)
def test_numbers_and_gradients_are_caffes(layer):
    y, dx = KNOWN[layer]
    run = Run(*layer, X)
    np.testing.assert_allclose(run.forward()[0], y, rtol=1e-6)
    np.testing.assert_allclose(run.backward(np.arange(1, 7))[0][0], dx, rtol=2e-6, atol=1e-7)


GRADIENTS = [
    ("AbsVal", ""),
    ("BNLL", ""),
    ("Clip", "clip_param { min: -0.3 max: 0.3 }"),
    ("ELU", "elu_param { alpha: 0.5 }"),
    ("ELU", "elu_param { alpha: -0.5 }"),
    ("Exp", "exp_param { base: 3 scale: -0.5 shift: 0.5 }"),
    ("Log", "log_param { base: 0.5 scale: -0.5 shift: 3 }"),
    ("PReLU", ""),
    ("PReLU", "prelu_param { channel_shared: true }"),
    ("Swish", "swish_param { beta: -1.5 }"),
]


@pytest.mark.parametrize(("kind", "body"), GRADIENTS)
def test_gradients_agree_with_differences(kind, body):
    x = distinct(2, 3, 4)
    check_gradients(Run(kind, body, x), [x])


@pytest.mark.parametrize(("kind", "body"), GRADIENTS[1:])
def test_in_place_gives_the_same_numbers(kind, body):
    x, diff = distinct(2, 3, 4), pattern(2, 3, 4)
    results = []
    for in_place in (False, True):
        run = Run(kind, body, x, in_place=in_place)
        found = [run.forward(), *run.backward(diff)]
        results.append(found + [blob.diff.copy() for blob in run.layer.blobs])
    for apart, within in zip(*results):
        np.testing.assert_allclose(within, apart, rtol=1e-6)


def test_large_numbers_leave_bnll_and_swish_finite():
    x = np.array([-1e4, -90, 90, 1e4])
    for kind in ("BNLL", "Swish"):
        run = Run(kind, "", x)
        np.testing.assert_allclose(run.forward(), [0, 0, 90, 1e4], atol=1e-30)
        np.testing.assert_allclose(run.backward(np.ones(4))[0], [0, 0, 1, 1], atol=1e-30)


def test_threshold_is_1_above_it_and_not_at_it():
    run = Run("Threshold", "threshold_param { threshold: 0.5 }", X)
    np.testing.assert_array_equal(run.forward(), [[0, 0, 0, 0, 1, 1]])
    with pytest.raises(InputError, match="has no gradient"):
        run.backward(np.ones_like(X))


def test_absval_refuses_to_work_in_place():
    with pytest.raises(InputError, match="cannot work in place"):
        Run("AbsVal", "", X, in_place=True)


@pytest.mark.parametrize("body", ["base: 0", "base: -2", "base: inf", "base: nan"])
def test_a_base_that_is_no_positive_number_is_refused(body):
    for kind in ("Exp", "Log"):
        with pytest.raises(InputError, match="base .* is no positive number"):
            Run(kind, f"{kind.lower()}_param {{ {body} }}", X)


def test_base_1_has_no_logarithm():
    with pytest.raises(InputError, match="base 1 has no logarithm"):
        Run("Log", "log_param { base: 1 }", X)


def test_clip_with_half_its_limits_is_refused():
    with pytest.raises(InputError, match="gives no max"):
        Run("Clip", "clip_param { min: 2 }", X)


def test_prelu_sums_a_channels_gradient_over_all_else_and_adds_it():
    x, diff = distinct(2, 3, 4), pattern(2, 3, 4)
    wanted = (np.minimum(x, 0) * diff).sum((0, 2))
    run = Run("PReLU", "", x)
    run.forward()
    for times in (1, 2):
        run.backward(diff, down=[False])
        np.testing.assert_allclose(run.layer.blobs[0].diff, times * wanted, rtol=1e-6)
    shared = Run("PReLU", "prelu_param { channel_shared: true }", x)
    assert shared.layer.blobs[0].shape == ()
    shared.forward()
    shared.backward(diff, down=[False])
    np.testing.assert_allclose(shared.layer.blobs[0].diff, wanted.sum(), rtol=1e-6)


def test_prelu_leaves_a_frozen_slope_alone():
    run = Run("PReLU", "", X)
    run.layer.param_propagate_down = [False]
    run.forward()
    run.backward(np.ones_like(X))
    assert not run.layer.blobs[0].diff.any()


def test_prelu_needs_a_channel_axis_and_keeps_its_channels():
    with pytest.raises(InputError, match=r"needs a channel axis; its bottom's shape is \(6,\)"):
        Run("PReLU", "", X[0])
    run = Run("PReLU", "", distinct(2, 3))
    run.bottom[0].reshape(2, 4)
    with pytest.raises(InputError, match="has slopes for 3 channels, is given 4"):
        run.forward()


def test_prelu_layers_share_their_slopes(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'force_backward: true layer { name: "x" type: "Input" top: "x" '
        "input_param { shape { dim: 2 dim: 3 } } }"
        + "".join(
            f'layer {{ name: "{name}" type: "PReLU" bottom: "x" top: "{name}" '
            'param { name: "slope" } }'
            for name in "ab"
        )
    )
    net = caffe.Net(str(path), caffe.TRAIN)
    net.params["a"][0].data[...] = [1, 2, 3]
    x = net.blobs["x"].data[...] = distinct(2, 3)
    net.forward()
    for name in "ab":
        np.testing.assert_allclose(net.blobs[name].data, np.where(x > 0, x, x * [1, 2, 3]))
        net.blobs[name].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.params["b"][0].diff, 2 * np.minimum(x, 0).sum(0), rtol=1e-6)


def test_the_slope_of_elu_is_that_of_the_input_whatever_becomes_of_the_top():
    x = distinct(2, 5)
    run = Run("ELU", "", x)
    run.forward()
    run.top[0].data[...] *= -1  # as a Power layer in place does
    (dx,) = run.backward(np.ones_like(x))
    np.testing.assert_allclose(dx, np.where(x > 0, 1, np.exp(x)), rtol=1e-6)
