"""Fillers: moments and distributions of what they draw, and the bilinear kernel."""

import numpy as np
import pytest
from scipy import stats

from caffe.compute import rng
from caffe.core.blob import Blob
from caffe.core.fillers import fill
from caffe.errors import InputError
from caffe.proto import caffe_pb2

SHAPE = (40, 30, 5, 5)
FAN_IN, FAN_OUT = 30 * 25, 40 * 25


def filled(shape=SHAPE, **fields):
    rng.set_random_seed(7)
    blob = Blob(*shape)
    fill(blob, caffe_pb2.FillerParameter(**fields))
    return blob.data.copy()


def assert_moments(values, mean, std):
    """Within four standard errors (for the standard deviation: of a normal distribution)."""
    assert abs(values.mean() - mean) < 4 * std / values.size**0.5
    assert abs(values.std() - std) < 4 * std / (2 * values.size) ** 0.5


def test_a_filler_without_fields_fills_zeros():
    assert not filled().any()


def test_zeros_take_no_memory_until_they_are_asked_for_and_replace_what_was_there():
    blob = Blob(3)
    fill(blob, caffe_pb2.FillerParameter())
    assert blob.data_is_zero and not blob.on_host
    blob.data[...] = 5
    fill(blob, caffe_pb2.FillerParameter())
    assert not blob.data.any()


def test_constant_fills_its_value():
    assert (filled(type="constant", value=0.25) == 0.25).all()


def test_uniform_lies_between_min_and_max():
    values = filled(type="uniform", min=-1, max=3)
    assert -1 <= values.min() < -0.99 and 2.99 < values.max() <= 3
    assert_moments(values, 1, 4 / 12**0.5)


def test_gaussian_has_its_mean_and_std():
    assert_moments(filled(type="gaussian", mean=1, std=2), 1, 2)


def test_sparse_gaussian_feeds_so_many_outputs_from_each_input():
    values = filled(type="gaussian", std=2, sparse=10)
    assert_moments(values[values != 0], 0, 2)
    per_input = (values != 0).sum(0)
    assert abs(per_input.mean() - 10) < 4 * (10 * 0.75 / per_input.size) ** 0.5


@pytest.mark.parametrize(
    ("norm", "n"), [("FAN_IN", FAN_IN), ("FAN_OUT", FAN_OUT), ("AVERAGE", (FAN_IN + FAN_OUT) / 2)]
)
def test_xavier_and_msra_scale_by_the_fan(norm, n):
    xavier = filled(type="xavier", variance_norm=norm)
    assert_moments(xavier, 0, (1 / n) ** 0.5)
    assert abs(xavier).max() <= (3 / n) ** 0.5 + 1e-7
    assert_moments(filled(type="msra", variance_norm=norm), 0, (2 / n) ** 0.5)


def test_the_fan_out_of_one_axis_is_its_size():
    assert_moments(filled((5000,), type="msra", variance_norm="FAN_OUT"), 0, (2 / 5000) ** 0.5)


def test_positive_unitball_sums_to_1_for_every_output():
    values = filled(type="positive_unitball")
    assert values.min() >= 0
    np.testing.assert_allclose(values.reshape(40, -1).sum(1), 1, rtol=1e-5)
    assert values.std() > 0


@pytest.mark.parametrize(
    ("side", "ramp"), [(4, [0.25, 0.75, 0.75, 0.25]), (3, [0.5, 1, 0.5]), (2, [0.5, 0.5]), (1, [1])]
)
def test_bilinear_fills_every_channel_with_the_kernel(side, ramp):
    values = filled((3, 2, side, side), type="bilinear")
    np.testing.assert_allclose(values, np.broadcast_to(np.outer(ramp, ramp), values.shape))


def test_the_seed_decides_the_numbers():
    np.testing.assert_array_equal(filled(type="xavier"), filled(type="xavier"))
    blob = Blob(*SHAPE)
    fill(blob, caffe_pb2.FillerParameter(type="xavier"))
    assert (blob.data != filled(type="xavier")).any()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"type": "xaver"}, "'xaver'; did you mean 'xavier'"),
        ({"type": "qqq"}, "known: bilinear, constant"),
        ({"type": "uniform", "min": 2, "max": 1}, "min 2.0 is above max 1.0"),
        ({"type": "gaussian", "std": -1}, "std -1.0 is negative"),
        ({"type": "gaussian", "sparse": 41}, "sparse 41"),
        ({"type": "xavier", "sparse": 3}, "only 'gaussian' can be sparse"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, complaint):
    with pytest.raises(InputError, match=complaint):
        filled(**fields)


def test_bilinear_refuses_kernels_that_are_not_square():
    with pytest.raises(InputError, match="bilinear"):
        filled((3, 2, 4, 5), type="bilinear")


def uniform(low, high):
    return stats.uniform(low, high - low)


def averaged(norm):
    return {"FAN_IN": FAN_IN, "FAN_OUT": FAN_OUT, "AVERAGE": (FAN_IN + FAN_OUT) / 2}[norm]


# What a filler draws, and the distribution that it must come from.
DISTRIBUTIONS = [
    ({"type": "uniform", "min": -1, "max": 3}, uniform(-1, 3)),
    ({"type": "uniform"}, uniform(0, 1)),
    ({"type": "gaussian"}, stats.norm()),
    ({"type": "gaussian", "mean": 1, "std": 2}, stats.norm(1, 2)),
]
for _norm in ("FAN_IN", "FAN_OUT", "AVERAGE"):
    _n = averaged(_norm)
    DISTRIBUTIONS += [
        ({"type": "xavier", "variance_norm": _norm}, uniform(-((3 / _n) ** 0.5), (3 / _n) ** 0.5)),
        ({"type": "msra", "variance_norm": _norm}, stats.norm(0, (2 / _n) ** 0.5)),
    ]


def assert_drawn_from(values, distribution):
    """By the Kolmogorov-Smirnov test, at a level that one seed in a thousand misses."""
    assert stats.kstest(values.ravel(), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("fields", "distribution"), DISTRIBUTIONS)
def test_a_filler_draws_from_its_distribution(fields, distribution):
    values = filled(**fields)
    assert_drawn_from(values, distribution)
    assert_moments(values, distribution.mean(), distribution.std())
    # Neighbours in memory have nothing to do with each other.
    first, second = values.ravel()[:-1], values.ravel()[1:]
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / values.size**0.5


def test_the_distributions_are_told_apart():
    values = filled(type="xavier")
    with pytest.raises(AssertionError):
        assert_drawn_from(values, stats.norm(0, values.std()))
    with pytest.raises(AssertionError):
        assert_drawn_from(values, uniform(values.min() * 1.05, values.max() * 1.05))


def test_sparse_gaussian_keeps_each_number_by_a_throw_of_its_own():
    values = filled(type="gaussian", mean=1, std=2, sparse=10)
    kept = values != 0
    assert_drawn_from(values[kept], stats.norm(1, 2))
    per_input = kept.reshape(40, -1).sum(0)
    drawn = np.bincount(per_input, minlength=41)[4:18]
    expected = stats.binom(40, 0.25).pmf(np.arange(4, 18)) * per_input.size
    # 14 bins: beyond 36 once in a thousand seeds
    assert ((drawn - expected) ** 2 / expected).sum() < 36


@pytest.mark.parametrize(("sparse", "kept"), [(0, 0), (40, 1)])
def test_sparse_gaussian_may_keep_nothing_or_all(sparse, kept):
    assert (filled(type="gaussian", sparse=sparse) != 0).mean() == kept


def test_positive_unitball_is_uniform_but_for_each_outputs_scale():
    rows = np.sort(filled(type="positive_unitball").reshape(40, -1), axis=1)
    # What uniform numbers are below the largest of them is uniform again.
    assert_drawn_from(rows[:, :-1] / rows[:, -1:], uniform(0, 1))


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [((), 1, 1), ((20000,), 1, 20000), ((300, 200), 200, 300), ((100, 20, 9), 180, 900)],
)
def test_fans_are_the_count_by_the_first_and_the_second_axis(shape, fan_in, fan_out):
    for norm, n in (
        ("FAN_IN", fan_in), ("FAN_OUT", fan_out), ("AVERAGE", (fan_in + fan_out) / 2)
    ):  # fmt: skip
        limit = (3 / n) ** 0.5
        values = filled(shape, type="xavier", variance_norm=norm)
        assert abs(values).max() <= limit * (1 + 1e-6)
        if values.size > 1:
            assert_drawn_from(values, uniform(-limit, limit))
            values = filled(shape, type="msra", variance_norm=norm)
            assert_drawn_from(values, stats.norm(0, (2 / n) ** 0.5))


@pytest.mark.parametrize("side", range(1, 10))
def test_bilinear_interpolates_between_pixels(side):
    """Of the windows that overlap, at the stride that the kernel is for, the weights sum to 1."""
    kernel = filled((1, 1, side, side), type="bilinear")[0, 0]
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])
    stride = -(-side // 2)
    if side % 2 == 0:
        sums = [kernel[i::stride, j::stride].sum() for i in range(stride) for j in range(stride)]
        np.testing.assert_allclose(sums, 1, rtol=1e-6)
