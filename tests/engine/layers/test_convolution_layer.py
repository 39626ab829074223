"""Convolution and Deconvolution."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern


def slow_convolution(x, weight, stride, pad, dilation, group):
    """The definition, in loops over taps."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    outputs, per_group, k, _ = weight.shape
    size = [(n + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for n in x.shape[2:]]
    y = np.zeros((x.shape[0], outputs, *size))
    for o in range(outputs):
        first = o // (outputs // group) * per_group
        for i in range(k):
            for j in range(k):
                rows = slice(i * dilation, i * dilation + (size[0] - 1) * stride + 1, stride)
                cols = slice(j * dilation, j * dilation + (size[1] - 1) * stride + 1, stride)
                taps = padded[:, first : first + per_group, rows, cols]
                y[:, o] += np.einsum("nchw,c->nhw", taps, weight[o, :, i, j])
    return y


def test_a_kernel_longer_than_the_bottom_by_less_than_a_stride_has_one_place():
    x = distinct(2, 2, 3, 4)
    fields = "num_output: 3 bias_term: false kernel_size: 2 stride: 3 dilation: 3 dilation: 1"
    run = Run("Convolution", f"convolution_param {{ {fields} }}", x)
    weight = run.layer.blobs[0].data[...] = pattern(3, 2, 2, 2)
    # The kernel's second row is the bottom's fourth, which is not there: zeros.
    expected = np.einsum("ncw,ocw->no", x[:, :, 0, :2], weight[:, :, 0])
    np.testing.assert_allclose(run.forward(), expected[:, :, None, None], rtol=1e-5)
    check_gradients(run, [x])


geometry = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(1, 2)
)


@given(geometry)
@settings(max_examples=25, deadline=None)
def test_convolution_is_its_definition(numbers):
    k, stride, pad, dilation, group = numbers
    x = pattern(2, 4, 6, 7)
    run = Run(
        "Convolution",
        f"convolution_param {{ num_output: 6 kernel_size: {k} stride: {stride} pad: {pad} "
        f"dilation: {dilation} group: {group} bias_term: false }}",
        x,
    )
    weight = pattern(*run.layer.blobs[0].shape)
    run.layer.blobs[0].data[...] = weight
    expected = slow_convolution(x, weight, stride, pad, dilation, group)
    np.testing.assert_allclose(run.forward(), expected, atol=1e-3)


@given(geometry)
@settings(max_examples=20, deadline=None)
def test_deconvolution_is_the_convolutions_backward_pass(numbers):
    k, stride, pad, dilation, group = numbers
    body = (
        f"kernel_size: {k} stride: {stride} pad: {pad} dilation: {dilation} group: {group} "
        "bias_term: false"
    )
    # A size that the convolution maps onto 4 x 5 with nothing left over.
    size = [stride * (n - 1) + dilation * (k - 1) + 1 - 2 * pad for n in (4, 5)]
    if min(size) < 1:
        return
    conv = Run("Convolution", f"convolution_param {{ num_output: 6 {body} }}", pattern(2, 4, *size))
    up = Run("Deconvolution", f"convolution_param {{ num_output: 4 {body} }}", pattern(2, 6, 4, 5))
    assert up.layer.blobs[0].shape == conv.layer.blobs[0].shape == (6, 4 // group, k, k)
    for run in (conv, up):
        run.layer.blobs[0].data[...] = pattern(*run.layer.blobs[0].shape)
    conv.forward()
    (expected,) = conv.backward(pattern(2, 6, 4, 5))
    np.testing.assert_allclose(up.forward(), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(
    "body",
    [
        "kernel_size: 3 pad: 1 stride: 2",
        "kernel_h: 2 kernel_w: 3 pad_h: 1 stride_h: 2 stride_w: 1",
        "kernel_size: 2 dilation: 2 group: 2",
        "kernel_size: 1 bias_term: false",
    ],
)
def test_gradients_agree_with_differences(kind, body):
    x = distinct(2, 4, 5, 4)
    run = Run(kind, f"convolution_param {{ num_output: 2 {body} }}", x)
    check_gradients(run, [x])


@pytest.mark.parametrize("size", [(7,), (4, 3, 5)])
def test_one_and_three_spatial_axes_work(size):
    x = distinct(2, 2, *size)
    for kind in ("Convolution", "Deconvolution"):
        run = Run(kind, "convolution_param { num_output: 3 kernel_size: 3 pad: 1 }", x)
        assert run.top[0].shape == (2, 3, *size)
        check_gradients(run, [x])


def test_all_bottoms_share_the_weights_and_add_to_their_gradient():
    body = "convolution_param { num_output: 2 kernel_size: 2 }"
    a, b = pattern(1, 2, 3, 3), pattern(1, 2, 3, 3)[:, ::-1]
    both = Run("Convolution", body, a, b, tops=2)
    weight = pattern(2, 2, 2, 2)
    found = []
    for run in (both, Run("Convolution", body, a), Run("Convolution", body, b)):
        run.layer.blobs[0].data[...] = weight
        run.forward()
        run.backward(*[np.ones(t.shape) for t in run.top])
        found.append(run.layer.blobs[0].diff.copy())
    np.testing.assert_allclose(found[0], found[1] + found[2], rtol=1e-6)


def test_backward_adds_to_parameter_diffs_and_overwrites_bottom_diffs():
    run = Run(
        "Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", pattern(1, 2, 3, 3)
    )
    run.layer.blobs[0].data[...] = 1
    run.forward()
    first = run.backward(np.ones((1, 2, 2, 2)))[0]
    once = [blob.diff.copy() for blob in run.layer.blobs]
    second = run.backward(np.ones((1, 2, 2, 2)))[0]
    np.testing.assert_array_equal(first, second)
    for blob, diff in zip(run.layer.blobs, once):
        np.testing.assert_allclose(blob.diff, 2 * diff)


def test_gradients_that_nobody_wants_are_left_alone():
    run = Run(
        "Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", pattern(1, 2, 3, 3)
    )
    run.forward()
    run.layer.param_propagate_down = [False, True]
    run.bottom[0].diff[...] = 5
    run.backward(np.ones((1, 2, 2, 2)), down=[False])
    assert (run.bottom[0].diff == 5).all()
    assert not run.layer.blobs[0].diff.any()
    assert (run.layer.blobs[1].diff == 4).all()


def test_parameters_that_the_layer_comes_with_are_kept():
    body = "convolution_param { num_output: 2 kernel_size: 2 bias_term: false }"
    run = Run("Convolution", body, pattern(1, 2, 3, 3))
    run.layer.blobs[0].data[...] = 3
    run.layer.setup(run.bottom, run.top)
    assert (run.layer.blobs[0].data == 3).all()
    run.layer.blobs[0].reshape(2, 2, 1, 1)
    with pytest.raises(InputError, match=r"weight comes with shape \(2, 2, 1, 1\); needs"):
        run.layer.setup(run.bottom, run.top)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("num_output: 2", "needs a kernel_size"),
        ("kernel_size: 2", "num_output of at least 1"),
        ("num_output: 2 kernel_size: 2 group: 3", "group 3 does not divide 4"),
        ("num_output: 2 kernel_size: 0", "kernel_size must be at least 1"),
        ("num_output: 2 kernel_size: 2 kernel_h: 2", "either kernel_size or kernel_h"),
        ("num_output: 2 kernel_h: 2", "both kernel_h and kernel_w"),
        ("num_output: 2 kernel_size: [2, 2, 2]", "3 values of kernel_size for 2"),
        ("num_output: 2 kernel_size: 2 axis: 4", "axis 4 is out of range"),
        ("num_output: 2 kernel_size: 9", "too small for kernel"),
        ('num_output: 2 kernel_size: 2 weight_filler { type: "xavir" }', "'xavier'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(body, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        Run("Convolution", f"convolution_param {{ {body} }}", pattern(1, 4, 5, 5))
    assert "layer 'L' (Convolution)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_channels_at_a_later_reshape_are_refused():
    run = Run(
        "Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", pattern(1, 4, 5, 5)
    )
    run.bottom[0].reshape(1, 3, 5, 5)
    with pytest.raises(InputError, match="set up for 4 channels"):
        run.forward()


@pytest.mark.parametrize("mixed", [False, True])
def test_fixed_upsampling_channel_by_channel_is_a_deconvolution(mixed):
    body = "convolution_param { num_output: 3 kernel_size: 4 stride: 2 pad: 1 }"
    x, dy = distinct(2, 3, 4, 5), distinct(2, 3, 8, 10, seed=1)
    found = []
    for fixed in (True, False):
        run = Run("Deconvolution", body, x)
        weight = run.layer.blobs[0].data
        weight[...] = 0
        for channel in range(3):
            weight[channel, channel] = distinct(4, 4, seed=channel)
        weight[0, 1, 2, 2] = mixed
        run.layer.blobs[1].data[...] = [1, 2, 3]
        run.layer.param_propagate_down = [not fixed, not fixed]
        assert (run.layer.taps()[1] == 3) == (fixed and not mixed)
        found.append([run.forward(), *run.backward(dy)])
    for fast, dense in zip(*found):
        np.testing.assert_allclose(fast, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((2, 3), ""),
        ((2, 3, 4, 5), "axis: 2 kernel_size: 2 pad: 1"),
        ((2, 3, 3), "axis: 0 kernel_size: 2 dilation: 2"),
        ((1, 2, 3, 2, 3, 2), "kernel_size: 2 stride: 2 pad: 1"),
        ((1, 2, 4, 4), "kernel_size: 3 dilation: 0 pad: 1"),
    ],
)
def test_the_gradients_along_any_axes_are_those_of_differences(kind, shape, fields):
    x = distinct(*shape)
    run = Run(kind, f"convolution_param {{ num_output: 2 {fields} }}", x)
    check_gradients(run, [x])


def test_channels_that_stand_last_are_mixed_as_by_an_inner_product():
    x = pattern(2, 3, 4)
    run = Run("Convolution", "convolution_param { num_output: 5 axis: -1 bias_term: false }", x)
    weight = run.layer.blobs[0]
    assert weight.shape == (5, 4)
    weight.data[...] = pattern(5, 4)
    np.testing.assert_allclose(run.forward(), x @ pattern(5, 4).T)
