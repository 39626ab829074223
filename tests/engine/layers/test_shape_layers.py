"""Crop, Concat, Slice, Split, Flatten, Reshape, Silence."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from caffe.errors import InputError
from tests.helpers.layer_runs import Run, pattern


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_crop_takes_the_part_at_the_offsets(data):
    axis = data.draw(st.integers(0, 3))
    shape = (3, 4, 5, 6)
    sizes = [data.draw(st.integers(1, n)) for n in shape[axis:]]
    offsets = [data.draw(st.integers(0, n - s)) for n, s in zip(shape[axis:], sizes)]
    how = data.draw(st.sampled_from(["many", "one", "none"]))
    if how != "many":
        offsets = [min(offsets) if how == "one" else 0] * len(offsets)
    listed = {"many": offsets, "one": offsets[:1], "none": []}[how]
    text = " ".join(f"offset: {o}" for o in listed)
    reference = np.zeros((9,) * axis + tuple(sizes))
    x = pattern(*shape)
    run = Run("Crop", f"crop_param {{ axis: {axis - 4} {text} }}", x, reference)
    part = (slice(None),) * axis + tuple(slice(o, o + s) for o, s in zip(offsets, sizes))
    np.testing.assert_array_equal(run.forward(), x[part])
    run.bottom[0].diff[...] = 7
    run.bottom[1].diff[...] = 7
    dy = pattern(*run.top[0].shape)
    expected = np.zeros(shape)
    expected[part] = dy
    diffs = run.backward(dy)
    np.testing.assert_array_equal(diffs[0], expected)
    assert (diffs[1] == 7).all()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("offset: 3", "offset 3 \\+ size 3 of 'b1' exceed 5 of 'b0' along axis 2"),
        ("offset: [1, 1, 1]", "3 offsets for 2 cropped axes"),
        ("axis: 4", "axis 4 is out of range"),
    ],
)
def test_a_crop_that_does_not_fit_is_refused(body, complaint):
    with pytest.raises(InputError, match=complaint):
        Run("Crop", f"crop_param {{ {body} }}", pattern(1, 2, 5, 5), pattern(1, 2, 3, 3))


@given(st.integers(-3, 2), st.lists(st.integers(1, 3), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_slice_undoes_concat(axis, sizes):
    arrays = [pattern(*np.insert([2, 3], axis % 3, size)) + i for i, size in enumerate(sizes)]
    joined = Run("Concat", f"concat_param {{ axis: {axis} }}", *arrays)
    whole = joined.forward()
    np.testing.assert_array_equal(whole, np.concatenate(arrays, axis))
    points = " ".join(f"slice_point: {p}" for p in np.cumsum(sizes)[:-1])
    cut = Run("Slice", f"slice_param {{ axis: {axis} {points} }}", whole, tops=len(sizes))
    cut.forward()
    for blob, array in zip(cut.top, arrays):
        np.testing.assert_array_equal(blob.data, array)
    # Each one's backward pass is the other's forward pass.
    np.testing.assert_array_equal(cut.backward(*arrays)[0], whole)
    for diff, array in zip(joined.backward(whole), arrays):
        np.testing.assert_array_equal(diff, array)


def test_slice_without_points_cuts_equal_parts():
    run = Run("Slice", "slice_param { slice_dim: 1 }", pattern(2, 6), tops=3)
    assert [blob.shape for blob in run.top] == [(2, 2)] * 3
    with pytest.raises(InputError, match="4 tops do not divide 6"):
        Run("Slice", "", pattern(2, 6), tops=4)


@pytest.mark.parametrize("points", ["[2, 2]", "[4, 2]", "[2, 6]", "[0, 3]"])
def test_slice_points_that_do_not_rise_are_refused(points):
    with pytest.raises(InputError, match="must rise"):
        Run("Slice", f"slice_param {{ slice_point: {points} }}", pattern(2, 6), tops=3)


def test_concat_refuses_shapes_that_differ_elsewhere():
    with pytest.raises(InputError, match="'b0' and 'b2' must agree but for axis 1"):
        Run("Concat", "", pattern(2, 3), pattern(2, 1), pattern(3, 3))
    with pytest.raises(InputError, match="either axis or concat_dim"):
        Run("Concat", "concat_param { axis: 1 concat_dim: 1 }", pattern(2, 3))


@given(st.integers(1, 4))
@settings(max_examples=4, deadline=None)
def test_split_shares_data_and_sums_diffs(count):
    run = Run("Split", "", pattern(2, 3), tops=count)
    run.forward()
    for blob in run.top:
        np.testing.assert_array_equal(blob.data, pattern(2, 3))
    run.bottom[0].data[...] = 9
    assert all((blob.data == 9).all() for blob in run.top)
    diffs = [pattern(2, 3) * (i + 1) for i in range(count)]
    np.testing.assert_array_equal(run.backward(*diffs)[0], sum(diffs))


def test_split_follows_a_bottom_that_grows_and_shrinks():
    run = Run("Split", "", pattern(2, 3), tops=2)
    for shape in [(4, 5), (1, 2), (6, 7)]:
        run.bottom[0].reshape(*shape)
        run.set(pattern(*shape))
        np.testing.assert_array_equal(run.forward(), pattern(*shape))
        diff = np.ones(shape)
        np.testing.assert_array_equal(run.backward(diff, diff)[0], 2 * diff)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("Flatten", "", (2, 24)),
        ("Flatten", "flatten_param { axis: 0 end_axis: -2 }", (24, 2)),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", (2, 24)),
        ("Reshape", "reshape_param { shape { dim: 12 } axis: 1 num_axes: 2 }", (2, 12, 2)),
        ("Reshape", "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", (2, 3, 4, 2, 1)),
        ("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } axis: 1 }", (2, 3, 2, 4)),
    ],
)
def test_a_view_has_the_bottoms_elements_under_another_shape(kind, body, expected):
    x = pattern(2, 3, 4, 2)
    run = Run(kind, body, x)
    np.testing.assert_array_equal(run.forward(), x.reshape(expected))
    np.testing.assert_array_equal(run.backward(x.reshape(expected))[0], x)


@pytest.mark.parametrize(
    "body", ["shape { dim: 5 }", "shape { dim: -1 dim: -1 }", "shape { dim: 5 dim: -1 }"]
)
def test_a_shape_that_cannot_hold_the_bottom_is_refused(body):
    with pytest.raises(InputError, match="layer 'L' \\(Reshape\\)"):
        Run("Reshape", f"reshape_param {{ {body} }}", pattern(2, 3))


def test_silence_gives_no_gradient():
    run = Run("Silence", "", pattern(2), pattern(3), tops=0)
    run.layer.forward(run.bottom, run.top)
    run.bottom[0].diff[...] = run.bottom[1].diff[...] = 3
    diffs = run.backward(down=[True, False])
    assert not diffs[0].any() and (diffs[1] == 3).all()
