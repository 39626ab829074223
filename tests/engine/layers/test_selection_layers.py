"""BatchReindex, Embed, Filter, Tile, Parameter."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import caffe
from caffe.core.blob import Blob
from caffe.errors import InputError
from caffe.layers import create
from caffe.proto import caffe_pb2
from tests.helpers.emulated_gpu import emulated_gpus
from tests.helpers.layer_runs import Run, check_gradients, distinct, pattern

EMBED = "embed_param { num_output: 2 input_dim: 3 }"


def test_batch_reindex_reads_rows_and_adds_their_gradients():
    x, rows = pattern(3, 2), np.array([2, 0.7, 2])
    run = Run("BatchReindex", "", x, rows)
    np.testing.assert_array_equal(run.forward(), x[[2, 0, 2]])
    diff, _ = run.backward(pattern(3, 2), down=[True, False])
    d = pattern(3, 2)
    np.testing.assert_array_equal(diff, [d[1], [0, 0], d[0] + d[2]])


def test_batch_reindex_follows_the_number_of_rows_asked_for():
    run = Run("BatchReindex", "", pattern(3, 2), np.array([2, 0]))
    run.bottom[1].reshape(5)
    run.bottom[1].data[...] = [1, 1, 0, 2, 2]
    np.testing.assert_array_equal(run.forward(), pattern(3, 2)[[1, 1, 0, 2, 2]])


@pytest.mark.parametrize("row", [3, -0.5, np.nan, np.inf])
def test_rows_that_are_not_there_are_refused(row):
    with pytest.raises(InputError, match="in 'b1' is not one of the 3 rows 0 to 2$"):
        Run("BatchReindex", "", pattern(3, 2), np.array([0, row])).forward()
    with pytest.raises(InputError, match="in 'b0' is not one of the 3 rows 0 to 2$"):
        Run("Embed", EMBED, np.array([0, row])).forward()


def test_rows_that_are_not_there_are_nan_on_a_gpu():
    with emulated_gpus():
        caffe.set_mode_gpu()
        y = Run("BatchReindex", "", pattern(3, 2), np.array([2, 3, -1])).forward()
        np.testing.assert_array_equal(y, [pattern(3, 2)[2], [np.nan] * 2, [np.nan] * 2])
        y = Run("Embed", EMBED, np.array([[3, 0]])).forward()
        np.testing.assert_array_equal(np.isnan(y), [[[True, True], [False, False]]])


def test_batch_reindex_refuses_what_has_no_rows():
    with pytest.raises(InputError, match="along one axis; its shape is \\(1, 2\\)"):
        Run("BatchReindex", "", pattern(3, 2), np.zeros((1, 2)))
    with pytest.raises(InputError, match="'b0' has no rows"):
        Run("BatchReindex", "", np.zeros((0, 2)), np.zeros(1))
    with pytest.raises(InputError, match="axis 0 is out of range"):
        Run("BatchReindex", "", np.zeros(()), np.zeros(1))


@pytest.mark.parametrize(
    ("kind", "body", "arrays"),
    [
        ("BatchReindex", "", [pattern(3, 2), np.zeros(2)]),
        ("Embed", EMBED, [np.zeros(2)]),
        ("Filter", "", [pattern(2, 2), np.ones(2)]),
    ],
)
def test_row_numbers_and_selectors_have_no_gradient(kind, body, arrays):
    run = Run(kind, body, *arrays)
    run.forward()
    with pytest.raises(InputError, match="cannot backpropagate to its .*force_backward"):
        run.backward(np.zeros(run.top[0].shape))


def test_embed_reads_rows_of_its_weights():
    run = Run("Embed", EMBED, np.array([[2, 0, 2, 1.7]]))
    weight, bias = run.layer.blobs
    weight.data[...], bias.data[...] = pattern(3, 2), [0.5, -1]
    # BVLC Caffe's numbers
    np.testing.assert_array_equal(run.forward()[0], [[2.5, -3], [-3.5, 2], [2.5, -3], [-0.5, 5]])


def test_embeds_parameters_add_up_their_gradients():
    words = np.array([[2, 0], [2, 1]])
    check_gradients(Run("Embed", EMBED, words), [words], wanted=[])
    run = Run("Embed", "embed_param { num_output: 2 input_dim: 3 bias_term: false }", words)
    assert [blob.shape for blob in run.layer.blobs] == [(3, 2)]
    for times in (1, 2):
        run.forward()
        run.backward(np.ones((2, 2, 2)), down=[False])
        np.testing.assert_array_equal(
            run.layer.blobs[0].diff, times * np.array([[1, 1], [1, 1], [2, 2]])
        )


def test_embeds_frozen_parameters_keep_their_gradients():
    run = Run("Embed", EMBED, np.array([2, 0]))
    run.layer.param_propagate_down = [False, False]
    run.forward()
    run.backward(np.ones((2, 2)), down=[False])
    assert not any(blob.diff.any() for blob in run.layer.blobs)


def test_embed_needs_both_sizes():
    with pytest.raises(InputError, match="needs num_output of at least 1"):
        Run("Embed", "embed_param { input_dim: 3 }", np.zeros(2))
    with pytest.raises(InputError, match="needs input_dim of at least 1"):
        Run("Embed", "embed_param { num_output: 3 }", np.zeros(2))


@given(
    selected=st.lists(st.sampled_from([0, 1, -2, 0.5]), min_size=1, max_size=6),
    data=st.integers(1, 3),
)
def test_filter_keeps_the_selected_rows(selected, data):
    arrays = [distinct(len(selected), *[2] * i, seed=i) for i in range(data)]
    run = Run("Filter", "", *arrays, np.array(selected), tops=data)
    assert run.top[0].shape[0] == len(selected)  # as many as its bottoms, until it first runs
    run.forward()
    kept = np.flatnonzero(selected)
    diffs = [distinct(*blob.shape, seed=7) for blob in run.top]
    got = run.backward(*diffs, down=[True] * data + [False])
    for x, y, dy, dx in zip(arrays, run.top, diffs, got):
        np.testing.assert_array_equal(y.data, x[kept])
        wanted = np.zeros_like(x)
        wanted[kept] = dy
        np.testing.assert_array_equal(dx, wanted)


def test_filters_selector_may_have_axes_of_one():
    run = Run("Filter", "", pattern(3, 2), np.array([1, 0, 1]).reshape(3, 1, 1))
    np.testing.assert_array_equal(run.forward(), pattern(3, 2)[[0, 2]])


def test_filter_refuses_bottoms_that_do_not_fit():
    with pytest.raises(InputError, match="'b1' has one number a row; its shape is \\(3, 2\\)"):
        Run("Filter", "", pattern(3, 2), np.zeros((3, 2)))
    with pytest.raises(InputError, match="'b0' and the selector 'b1' .* \\(3, 2\\) and \\(2,\\)"):
        Run("Filter", "", pattern(3, 2), np.zeros(2))
    with pytest.raises(InputError, match="not 2 bottoms for 2 tops"):
        Run("Filter", "", pattern(3, 2), np.zeros(3), tops=2)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_tile_repeats_along_its_axis(axis):
    x = distinct(2, 3, 2)
    run = Run("Tile", f"tile_param {{ axis: {axis} tiles: 3 }}", x)
    np.testing.assert_array_equal(run.forward(), np.concatenate([x] * 3, axis))
    check_gradients(run, [x])


def test_tile_needs_tiles_and_an_axis_that_is_there():
    for body in ("", "tile_param { tiles: 0 }", "tile_param { tiles: -1 }"):
        with pytest.raises(InputError, match="needs tiles of at least 1"):
            Run("Tile", body, pattern(2, 2))
    with pytest.raises(InputError, match="axis 2 is out of range"):
        Run("Tile", "tile_param { axis: 2 tiles: 2 }", pattern(2, 2))
    with pytest.raises(InputError, match="cannot work in place"):
        Run("Tile", "tile_param { tiles: 2 }", pattern(2, 2), in_place=True)


def test_a_parameter_layers_top_is_its_parameter():
    run = Run("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }")
    np.testing.assert_array_equal(run.forward(), np.zeros((2, 3)))
    run.layer.blobs[0].data[...] = pattern(2, 3)
    np.testing.assert_array_equal(run.forward(), pattern(2, 3))
    run.backward(pattern(2, 3))
    np.testing.assert_array_equal(run.layer.blobs[0].diff, pattern(2, 3))


def test_a_parameter_layer_refuses_a_parameter_of_another_shape():
    param = caffe_pb2.LayerParameter(name="p", type="Parameter")
    param.parameter_param.shape.dim.append(2)
    layer = create(param, caffe.TEST)
    layer.blobs.add_blob(3)
    with pytest.raises(InputError, match="the parameter comes with shape \\(3,\\); needs \\(2,\\)"):
        layer.setup([], [Blob()])
