from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from caffe.core.blob import Blob
from caffe.engine import InputError
from tests.helpers.net_texts import data, ip

SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple)


@given(SHAPES)
def test_data_and_diff_are_zeroed_float32_arrays_of_the_shape(shape):
    blob = Blob(*shape)
    assert blob.shape == blob.data.shape == blob.diff.shape == shape
    assert blob.count == blob.data.size
    assert blob.data.dtype == blob.diff.dtype == np.float32
    assert not blob.data.any() and not blob.diff.any()


def test_views_are_writable_and_live():
    blob = Blob(2, 3)
    view = blob.data
    blob.data[0, 1] = 5
    assert view[0, 1] == 5
    view[1] = 7
    assert blob.read()[1].tolist() == [7, 7, 7]
    blob.write().fill_(2)
    assert (view == 2).all()


def test_data_has_no_setter_as_in_pycaffe():
    blob = Blob(2)
    with pytest.raises(AttributeError):
        blob.data = np.zeros(2)


@given(SHAPES, SHAPES)
def test_reshape_keeps_memory_when_it_fits_and_gives_zeros_when_not(first, second):
    blob = Blob(*first)
    blob.data[...] = 3
    blob.diff[...] = 4
    blob.reshape(*second)
    assert blob.data.shape == blob.diff.shape == second
    fits = blob.data.size <= int(np.prod(first, dtype=int))
    assert (blob.data == (3 if fits else 0)).all()
    assert (blob.diff == (4 if fits else 0)).all()


def test_reshape_takes_numbers_a_tuple_or_a_list():
    blob = Blob()
    for args in ((2, 3), ((2, 3),), ([2, 3],)):
        blob.reshape(1)
        blob.reshape(*args)
        assert blob.shape == (2, 3)


def test_a_view_held_over_a_smaller_reshape_stays_live():
    blob = Blob(6)
    view = blob.data
    blob.reshape(2)
    view[0] = 9
    assert blob.data[0] == 9


@pytest.mark.parametrize("shape", [(-1, 2), (1,) * 33, (2**16, 2**16)])
def test_impossible_shapes_are_refused_before_memory_is_taken(shape):
    with pytest.raises(InputError, match="shape"):
        Blob(2).reshape(*shape)


def test_legacy_dimensions_are_1_beyond_the_axes_and_refused_beyond_four():
    blob = Blob(2, 3)
    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 1, 1)
    assert Blob(2, 3, 4, 5).width == 5
    with pytest.raises(InputError, match="5 axes"):
        Blob(1, 2, 3, 4, 5).num  # noqa: B018


def test_shared_data_is_one_memory_and_diffs_stay_apart():
    a, b = Blob(4), Blob(2, 2)
    b.share_data(a)
    a.data[...] = [1, 2, 3, 4]
    assert b.data.tolist() == [[1, 2], [3, 4]]
    b.diff[...] = 1
    assert not a.diff.any()
    b.share_diff(a)
    assert not b.diff.any()


def test_a_blob_that_shares_a_larger_ones_data_can_still_grow():
    large, small = Blob(10), Blob(5)
    large.reshape(5)
    small.share_data(large)
    large.reshape(8)
    small.reshape(8)
    assert small.data.shape == small.diff.shape == (8,)


def test_a_view_outlives_its_net(make):
    net = make(data(2, 3) + ip("ip", "data"))
    net.blobs["data"].data[...] = 1
    net.forward()
    view, expected = net.blobs["ip"].data, net.blobs["ip"].data.copy()
    del net
    gc.collect()
    np.testing.assert_array_equal(view, expected)
    view[...] = 0
