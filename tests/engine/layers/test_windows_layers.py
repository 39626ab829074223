"""Im2col, SPP."""

import numpy as np
import pytest

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

IM2COL = [
    ("kernel_size: 2", (2, 3, 4, 5)),
    ("kernel_size: 3 stride: 2 pad: 1", (1, 2, 5, 4)),
    ("kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 2 dilation: 2", (2, 1, 3, 4)),
    ("kernel_size: 2 pad: 1", (2, 2, 5)),
    ("kernel_size: 2 stride: 2 pad: 1", (1, 2, 3, 3, 2)),
    ("kernel_size: 2 axis: -3", (2, 2, 3, 3)),
    ("kernel_size: 2 axis: 0", (2, 3, 3)),
    ("kernel_size: 2 axis: 2 force_nd_im2col: true", (2, 2, 1, 3, 3)),
    ("kernel_size: 4 stride: 3", (1, 1, 3, 3)),
]


@pytest.mark.parametrize(("fields", "shape"), IM2COL)
def test_im2col_gradients_agree_with_differences(fields, shape):
    x = distinct(*shape)
    check_gradients(Run("Im2col", f"convolution_param {{ {fields} }}", x), [x])


def test_im2col_times_weights_is_a_convolution():
    x, fields = distinct(2, 3, 6, 5), "kernel_size: 3 stride: 2 pad: 2 dilation: 2"
    conv = Run("Convolution", f"convolution_param {{ num_output: 4 bias_term: false {fields} }}", x)
    conv.layer.blobs[0].data[...] = distinct(4, 3, 3, 3)
    columns = Run("Im2col", f"convolution_param {{ {fields} }}", x).forward()
    wanted = np.einsum("ok,nkhw->nohw", distinct(4, 27), columns)
    np.testing.assert_allclose(conv.forward(), wanted, rtol=1e-4, atol=1e-4)


def test_a_window_that_sticks_out_by_less_than_a_stride_reads_zeros():
    y = Run("Im2col", "convolution_param { kernel_size: 4 stride: 3 }", pattern(1, 1, 3, 3))
    wanted = np.zeros((4, 4))
    wanted[:3, :3] = pattern(3, 3)
    np.testing.assert_array_equal(y.forward().reshape(4, 4), wanted)
    with pytest.raises(InputError, match="\\(1, 1, 3, 3\\) is too small for kernel \\[5, 5\\]"):
        Run("Im2col", "convolution_param { kernel_size: 5 stride: 2 }", pattern(1, 1, 3, 3))


def test_im2col_needs_spatial_axes_and_room():
    with pytest.raises(InputError, match="needs spatial axes behind axis 1"):
        Run("Im2col", "convolution_param { kernel_size: 2 }", pattern(2, 2))
    run = Run("Im2col", "convolution_param { kernel_size: 2 }", pattern(1, 2, 3, 3))
    run.bottom[0].reshape(2, 3, 3)
    with pytest.raises(InputError, match="was set up for 4 axes"):
        run.forward()
    with pytest.raises(InputError, match="makes more than"):
        Run(
            "Im2col",
            "convolution_param { kernel_size: 1 pad: 100000 stride: 100000 }",
            pattern(1, 1, 1, 1),
        )


@pytest.mark.parametrize("height", [1, 2, 3])
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_spp_gradients_agree_with_differences(height, pool):
    x = distinct(2, 2, 7, 8)
    body = f"spp_param {{ pyramid_height: {height} pool: {pool} }}"
    check_gradients(Run("SPP", body, x), [x])


@pytest.mark.parametrize(
    ("pool", "wanted"),
    [
        ("MAX", [6, 6, 3, 6, 5, 6, 2, 5, 6, 5]),
        ("AVE", [1, 17 / 15, -1 / 6, 7 / 6, -1 / 6, 5 / 3, 0, 0.5, 2, 1 / 3]),
    ],
)
def test_spp_pools_level_by_level(pool, wanted):
    run = Run("SPP", f"spp_param {{ pyramid_height: 2 pool: {pool} }}", pattern(1, 2, 3, 5))
    # BVLC Caffe's numbers
    np.testing.assert_allclose(run.forward(), [wanted], rtol=1e-6)


def test_spp_of_any_size_has_one_length():
    run = Run("SPP", "spp_param { pyramid_height: 3 }", distinct(1, 2, 4, 8))
    for height, width in ((4, 8), (9, 7), (16, 6), (4, 8)):
        x = distinct(2, 2, height, width)
        run.bottom[0].reshape(*x.shape)
        run.bottom[0].data[...] = x
        y = run.forward()
        assert y.shape == (2, 2 * (1 + 4 + 16))
        np.testing.assert_array_equal(y[:, :2], x.max((2, 3)))
        assert run.backward(pattern(2, 42))[0].shape == x.shape


def test_spp_of_one_level_is_global_pooling():
    x = distinct(2, 3, 4, 5)
    y = Run("SPP", "spp_param { pyramid_height: 1 pool: AVE }", x).forward()
    assert y.shape == (2, 3, 1, 1)
    np.testing.assert_allclose(y[..., 0, 0], x.mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_spp_refuses_more_bins_than_its_bottom_holds():
    with pytest.raises(InputError, match="pyramid_height 3 .* \\(1, 2, 3, 5\\): 4 bins .* 3 "):
        Run("SPP", "spp_param { pyramid_height: 3 }", pattern(1, 2, 3, 5))
    with pytest.raises(InputError, match="pyramid_height 4000000000 is too much"):
        Run("SPP", "spp_param { pyramid_height: 4000000000 }", pattern(1, 2, 3, 5))
    with pytest.raises(InputError, match="pyramid_height of at least 1"):
        Run("SPP", "", pattern(1, 2, 3, 5))
    with pytest.raises(InputError, match="4 axes"):
        Run("SPP", "spp_param { pyramid_height: 1 }", pattern(2, 3, 5))
    with pytest.raises(InputError, match="cannot work in place"):
        Run("SPP", "spp_param { pyramid_height: 1 }", pattern(1, 2, 3, 5), in_place=True)
