"""Coordinate maps between blobs, and the crops that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

import caffe
from caffe import coord_map, layers as L


def close(found, expected) -> None:
    assert found[0] == expected[0]
    assert np.allclose(np.ravel(found[1]), expected[1]) and np.allclose(
        np.ravel(found[2]), expected[2]
    )


def test_a_convolution_maps_centre_to_centre_with_its_dilated_kernel():
    top = L.Convolution(L.Input(), kernel_size=3, dilation=3, stride=2, pad=1)
    close(coord_map.coord_map(top.fn), (1, 0.5, (1 - 3) / 2))


def test_a_deconvolution_is_the_inverse_of_the_convolution():
    settings = dict(kernel_size=4, stride=2, pad=1)
    up = coord_map.coord_map(L.Deconvolution(L.Input(), convolution_param=settings).fn)
    down = coord_map.coord_map(L.Convolution(L.Input(), **settings).fn)
    close(coord_map.compose(up, down), (1, 1, 0))
    close(coord_map.inverse(down), up)


def test_settings_by_height_and_width_are_read():
    top = L.Pooling(L.Input(), pooling_param=dict(kernel_h=3, kernel_w=5, stride=2))
    close(coord_map.coord_map(top.fn), (1, [0.5, 0.5], [-0.5, -1]))


def test_a_crop_shifts_by_its_offset():
    top = L.Crop(L.Input(), L.Input(), axis=2, offset=[1, 2])
    close(coord_map.coord_map(top.fn), (1, 1, [-1, -2]))


def test_layers_without_a_map_are_named():
    with pytest.raises(coord_map.UndefinedMapException, match="InnerProduct"):
        coord_map.coord_map(L.InnerProduct(L.Input()).fn)


def test_maps_of_different_axes_do_not_compose():
    with pytest.raises(coord_map.AxisMismatchException):
        coord_map.compose((1, 1, 1), (2, 1, 1))


def fcn(pad, kernels):
    """A trunk of convolution and pooling, and the upsampling back to its input's resolution."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 1, 1]))
    n.conv0 = L.Convolution(n.data, num_output=1, kernel_size=3, pad=pad)
    x = n.conv0
    for kernel in kernels:
        x = L.ReLU(L.Convolution(x, num_output=1, kernel_size=kernel, pad=kernel // 2))
        x = L.Pooling(x, kernel_size=2, stride=2)
    up = dict(kernel_size=2 << len(kernels), stride=1 << len(kernels))
    n.up = L.Deconvolution(x, convolution_param=up)
    return n


def test_the_offsets_of_fcn_32s_are_the_published_ones():
    n = fcn(100, [3] * 5)
    head = L.Convolution(n.up.fn.inputs[0], num_output=21, kernel_size=7)
    up = L.Deconvolution(head, convolution_param=dict(kernel_size=64, stride=32, num_output=21))
    layer = coord_map.crop(up, n.data).to_proto().layer[-1]
    assert layer.type == "Crop" and layer.crop_param.axis == 2
    assert list(layer.crop_param.offset) == [19]


@given(st.integers(1, 99), st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=4))
def test_the_map_of_a_net_is_that_of_any_pixel_walked_through_it(pad, kernels):
    # Odd kernels padded by half are no shift. A 2x2 stride-2 pooling takes x to (x - 0.5) / 2.
    # The kernel 2f, stride f deconvolution takes y to f * y + f - 0.5.
    def walk(pixel):
        pixel = pixel + pad - 1
        for _ in kernels:
            pixel = (pixel - 0.5) / 2
        f = 1 << len(kernels)
        return f * pixel + f - 0.5

    n = fcn(pad, kernels)
    _, a, b = coord_map.coord_map_from_to(n.data, n.up)
    for pixel in (0, 10):
        assert np.allclose(a * pixel + b, walk(pixel))
    close(coord_map.coord_map_from_to(n.up, n.data), coord_map.inverse((1, a, b)))


def test_a_crops_second_bottom_is_no_way_through():
    a, b = L.Input(), L.Input()
    with pytest.raises(RuntimeError, match="Could not compute map between tops"):
        coord_map.coord_map_from_to(L.Crop(a, b, axis=2), b)


def test_a_layer_without_a_map_is_no_way_through():
    data = L.Input()
    with pytest.raises(RuntimeError, match="Could not compute map between tops"):
        coord_map.coord_map_from_to(L.InnerProduct(data), data)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(kernel_size=1, stride=2), "scale mismatch on crop"),
        (dict(kernel_size=3), "cannot crop negative offset"),
        (dict(kernel_size=2, pad=1), "cannot crop noninteger offset"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(settings, words):
    data = L.Input()
    with pytest.raises(AssertionError, match=words):
        coord_map.crop(L.Convolution(data, **settings), data)


def test_blobs_of_one_frame_are_cropped_without_an_offset():
    data = L.Input()
    param = coord_map.crop(L.ReLU(data), data).to_proto().layer[-1].crop_param
    assert (param.axis, list(param.offset)) == (2, [0])
