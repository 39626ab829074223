"""Bilinear weights."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from surgery import interp, upsample_filt
from tests.helpers.surgery_nets import layer_net


def test_upsample_filt_of_4_is_the_known_kernel():
    ramp = np.array([0.25, 0.75, 0.75, 0.25])
    assert np.array_equal(upsample_filt(4), ramp[:, None] * ramp)


def test_upsample_filt_of_3_is_the_known_kernel():
    assert np.array_equal(upsample_filt(3)[1], [0.5, 1.0, 0.5])


@given(st.integers(1, 64))
def test_upsample_filt_is_symmetric_in_every_way(size):
    kernel = upsample_filt(size)
    assert kernel.shape == (size, size)
    assert np.array_equal(kernel, kernel.T)
    assert np.allclose(kernel, kernel[::-1], atol=1e-15)


@given(st.integers(1, 32), st.booleans())
def test_taps_one_stride_apart_sum_to_1(factor, odd):
    """So a constant map stays constant when it is upsampled by `factor`."""
    ramp = upsample_filt(2 * factor - odd)
    for i in range(factor):
        for j in range(factor):
            assert ramp[i::factor, j::factor].sum() == pytest.approx(1)


def test_interp_fills_the_diagonal_and_clears_the_rest(make_net):
    net = make_net(
        layer_net("Deconvolution", "up", channels=3, num_output=3, kernel_size=4, stride=2)
    )
    weights = net.params["up"][0].data
    weights[...] = 7
    interp(net, ["up"])
    for i in range(3):
        for j in range(3):
            expected = upsample_filt(4) if i == j else np.zeros((4, 4))
            assert np.array_equal(weights[i, j], expected.astype("f4"))


def test_interp_makes_a_linear_ramp_finer(make_net):
    net = make_net(
        layer_net("Deconvolution", "up", channels=2, num_output=2, kernel_size=4, stride=2, pad=1)
    )
    interp(net, ["up"])
    net.blobs["data"].data[...] = np.arange(8)
    net.forward()
    # Input x lies at output 2x + 0.5; away from the border the ramp goes on in steps of a half.
    row = net.blobs["up"].data[0, 1, 8]
    assert np.allclose(row[1:-1], (np.arange(1, 15) - 0.5) / 2, atol=1e-6)


def test_interp_works_for_one_group_per_channel(make_net):
    net = make_net(
        layer_net("Deconvolution", "up", channels=3, num_output=3, kernel_size=4, group=3)
    )
    assert net.params["up"][0].data.shape == (3, 1, 4, 4)
    interp(net, ["up"])
    assert np.array_equal(net.params["up"][0].data[:, 0], [upsample_filt(4)] * 3)


@pytest.mark.parametrize(
    "words, parameters",
    [
        ("as many outputs as inputs", dict(num_output=2, kernel_size=4)),
        ("square", dict(num_output=3, kernel_h=4, kernel_w=2)),
    ],
)
def test_interp_names_the_layer_that_cannot_interpolate(make_net, words, parameters):
    net = make_net(layer_net("Deconvolution", "up", channels=3, **parameters))
    with pytest.raises(ValueError, match=f"layer up: .*{words}"):
        interp(net, ["up"])


def test_interp_names_a_layer_that_is_not_there(make_net):
    net = make_net(layer_net("Deconvolution", "up", channels=3, num_output=3, kernel_size=4))
    with pytest.raises(ValueError, match="layer upscore: the net has no"):
        interp(net, ["upscore"])
