"""Boundary scores against their definitions in loops over pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from tests.tools.scoring import plain
from tools.scoring import boundaries
from tools.scoring.boundaries import Boundaries

CLASSES, WIDTHS = 3, (1, 2, 4, 7)
VOID = plain.VOID


def coarse(values, shape):
    """Blocks of labels: pictures that have insides as well as boundaries."""
    return st.integers(1, 6).flatmap(
        lambda size: arrays(np.uint8, (-(-shape[0] // size), -(-shape[1] // size)),
                            elements=st.sampled_from(values))
        .map(lambda small: np.kron(small, np.ones((size, size), np.uint8))[: shape[0], : shape[1]])
    )  # fmt: skip


SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(coarse([0, 1, 2, VOID], shape), coarse([0, 1, 2], shape))
)
IMAGES = st.lists(PAIRS, min_size=1, max_size=3)
few = settings(max_examples=60, deadline=None)


def counted(images, widths=WIDTHS):
    found = Boundaries(CLASSES, widths)
    for truth, prediction in images:
        found.add(truth, prediction)
    return found


@few
@given(IMAGES)
def test_trimaps_count_the_pixels_closer_than_their_width_to_a_boundary(images):
    found = counted(images).trimaps
    for width, hist in zip(WIDTHS, found):
        want = sum(np.array(plain.trimap_hist(*pair, CLASSES, width)) for pair in images)
        np.testing.assert_array_equal(hist, want)


@few
@given(IMAGES)
def test_boundary_iou_is_that_of_the_bands_of_all_images(images):
    found = counted(images).bands
    want = [
        np.sum([plain.band_counts(*pair, label) for pair in images], axis=0)
        for label in range(CLASSES)
    ]
    np.testing.assert_array_equal(found, np.transpose(want))


@few
@given(IMAGES, st.sampled_from([0.0075, 0.1, 0.25]))
def test_boundary_f_is_the_mean_over_the_images_that_have_the_boundary(images, share):
    want = [[plain.boundary_f(*pair, label, share) for pair in images] for label in range(CLASSES)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundaries, "TOLERANCE", share)
        got = counted(images).scores()["class_f"]
    for found, values in zip(got, want):
        known = [value for value in values if value is not None]
        assert found == pytest.approx(np.mean(known)) if known else np.isnan(found)


@few
@given(IMAGES)
def test_parts_of_the_images_add_up_to_the_whole_to_the_bit(images):
    parts = [counted(images[:1]), counted(images[1:])]
    parts[1].take(json.loads(json.dumps(parts[0].state())))
    assert parts[1].state() == counted(images).state()


def test_a_perfect_prediction_has_full_marks():
    truth = np.kron(np.array([[0, 1], [2, 1]]), np.ones((30, 40), int))
    scores = counted([(truth, truth)]).scores()
    assert scores["trimap_mean_iu"] == [1.0] * len(WIDTHS)
    assert scores["boundary_f"] == scores["boundary_iou"] == 1.0


def test_a_straight_boundary_has_a_band_of_the_width_on_each_side():
    truth = np.repeat([0, 1], 30)[None].repeat(20, 0)
    found = counted([(truth, truth)]).trimaps
    assert [hist.sum() for hist in found] == [20 * 2 * width for width in WIDTHS]


def test_void_between_objects_is_a_boundary_and_is_not_scored():
    truth = np.repeat([0, VOID, 1], [20, 5, 20])[None].repeat(20, 0)
    prediction = np.repeat([0, 1], [22, 23])[None].repeat(20, 0)
    found = counted([(truth, prediction)], (1, 2))
    assert [hist.sum() for hist in found.trimaps] == [40, 80]
    assert found.scores()["boundary_iou"] < 1  # the bands begin within void, and are cut there


def test_an_image_without_boundaries_counts_for_nothing_but_its_frame():
    found = counted([(np.zeros((9, 9), int), np.zeros((9, 9), int))]).scores()
    assert np.isnan(found["trimap_mean_iu"]).all() and np.isnan(found["boundary_f"])
    assert found["boundary_iou"] == 1.0


def test_more_classes_than_a_word_has_bits_are_matched_too():
    labels = np.arange(200).repeat(3).reshape(1, -1).repeat(4, 0)
    found = Boundaries(200)
    found.add(labels, labels)
    np.testing.assert_array_equal(found.scores()["class_f"], np.ones(200))


@pytest.mark.parametrize("radius", [0.3, 1.0, 1.5, 2.9, 5.0, 5.4, 13.1])
def test_a_spread_reaches_the_open_disc(radius):
    bits = np.zeros((31, 33), np.uint64)
    bits[15, 16] = bits[2, 3] = 1
    got = boundaries._spread(bits, radius)
    rows, columns = np.mgrid[:31, :33]
    want = (np.hypot(rows - 15, columns - 16) < radius) | (np.hypot(rows - 2, columns - 3) < radius)
    np.testing.assert_array_equal(got.astype(bool), want)
