"""What training items undergo at random: pixels and labels stay together, draws repeat."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from segmentation import augment
from segmentation.augment import AS_IT_IS, Drawn
from segmentation.layer import to_blob
from segmentation.params import DataError

import caffe

VOC = "VOCSegDataLayer"
ALL = {"mirror": True, "scale": (0.5, 2.0), "crop": (9, 7), "jitter": 0.4, "batch": 3}
places = st.floats(0, 1, exclude_max=True)
sides = st.integers(1, 30)


def numbered(height, width):
    """An image whose pixels tell their places, and a label that tells the same."""
    number = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    image = np.stack([number % 256, number // 256, number * 0], 2).astype(np.uint8)
    return image, (number % 200).astype(np.uint8)


def layer_of(net):
    return net.layers[0]


@given(sides, sides, sides, sides, places, places, st.booleans())
def test_a_crop_is_a_window_of_image_and_label_with_mean_and_void_around(
    height, width, down, across, place, other, flip
):
    image, label = numbered(height, width)
    drawn = Drawn(flip=flip, crop=(down, across), place=(place, other))
    mean = (3.5, 1.0, 2.0)
    pixels, classes = to_blob(image, mean, 1, drawn, True), to_blob(label, None, 1, drawn)
    assert pixels.shape == (1, 3, down, across) and classes.shape == (1, 1, down, across)
    inside = classes[0, 0] != 255
    assert inside.sum() == min(height, down) * min(width, across)
    assert (pixels[0, :, ~inside] == 0).all()
    whole = np.rint(pixels[0] + np.reshape(mean, (3, 1, 1)))[:, inside]
    assert np.array_equal((whole[0] + 256 * whole[1]) % 200, classes[0, 0][inside])
    rows, columns = np.nonzero(inside)
    seen = (whole[0] + 256 * whole[1]).reshape(len(set(rows)), len(set(columns)))
    first = int(seen[0, -1 if flip else 0])
    top, left = divmod(first, width)
    want = np.arange(height * width).reshape(height, width)[top:, left:]
    want = want[: seen.shape[0], : seen.shape[1]]
    assert np.array_equal(seen, want[:, ::-1] if flip else want)


@given(sides, sides, places)
def test_every_place_of_a_crop_is_drawn(side, wanted, place):
    start, gap, length = augment.window(side, wanted, place)
    assert 0 <= start <= side - length and 0 <= gap <= wanted - length
    assert length == min(side, wanted) and (start == 0 or gap == 0)
    places_there = abs(side - wanted) + 1
    found = {augment.window(side, wanted, (k + 0.5) / places_there) for k in range(places_there)}
    assert len(found) == places_there


@given(sides, sides, st.floats(0.1, 10), st.integers(0, 255))
def test_a_scaled_constant_stays_and_image_and_label_have_one_size(height, width, factor, value):
    image = np.full((height, width, 3), value, np.uint8)
    drawn = Drawn(factor=factor)
    made, label = to_blob(image, (0, 0, 0), 1, drawn), to_blob(image[..., 0], None, 1, drawn)
    wanted = tuple(max(1, round(side * factor)) for side in (height, width))
    assert made.shape[2:] == label.shape[2:] == wanted
    assert (made == value).all() and (label == value).all()


def test_a_scaled_label_holds_no_class_between_two():
    label = np.array([[0, 200], [200, 255]], np.uint8)
    assert set(np.unique(to_blob(label, None, 1, Drawn(factor=3.7)))) == {0, 200, 255}


def test_edges_of_a_scaled_image_and_label_stay_together():
    label = np.zeros((20, 20), np.uint8)
    label[:, 10:] = 1
    image = np.repeat(label[..., None] * 200, 3, axis=2)
    for factor in (0.5, 1.5, 2.0):
        drawn = Drawn(factor=factor)
        made = to_blob(image, (0, 0, 0), 1, drawn)[0, 0] > 100
        assert np.array_equal(made, to_blob(label, None, 1, drawn)[0, 0] == 1)


@given(st.integers(0, 2**32), st.integers(0, 10**6))
def test_factors_lie_within_their_ranges(seed, k):
    params = {"mirror": False, "scale": (0.25, 4.0), "crop": None, "jitter": 0.5}
    drawn = augment.draw(params, seed, k)
    assert 0.25 <= drawn.factor <= 4 and all(0.5 <= one <= 1.5 for one in drawn.colour)
    assert drawn == augment.draw(params, seed, k) != augment.draw(params, seed, k + 1)


def test_as_often_smaller_as_larger():
    params = {"mirror": True, "scale": (0.5, 2.0), "crop": None, "jitter": 0.0}
    drawn = [augment.draw(params, 1, k) for k in range(2000)]
    assert 0.46 < np.mean([one.factor < 1 for one in drawn]) < 0.54
    assert 0.46 < np.mean([one.flip for one in drawn]) < 0.54


@given(st.integers(0, 99))
def test_colours_are_what_their_factors_say(seed):
    image = np.random.RandomState(seed).randint(60, 180, (4, 5, 3)).astype(np.uint8)
    gray = image.astype(float) @ (0.114, 0.587, 0.299)
    darker = augment.coloured(image, (0.5, 1, 1))
    np.testing.assert_allclose(darker, image / 2, rtol=1e-5)
    flat = augment.coloured(image, (1, 0, 1))
    np.testing.assert_allclose(flat, gray.mean(), atol=0.5)
    colourless = augment.coloured(image, (1, 1, 0))
    np.testing.assert_allclose(colourless, np.repeat(gray[..., None], 3, 2), rtol=1e-4)
    np.testing.assert_allclose(augment.coloured(image, (1, 1, 1)), image, rtol=1e-5)


def test_only_photographs_change_their_colours(nyud, build, take):
    params = dict(nyud.params, split="trainval", seed=4, tops=["color", "hha", "label"])
    kind = dict(module="nyud_layers", tops=("color", "hha", "label"))
    plain = take(build("NYUDSegDataLayer", params, **kind), 3)
    changed = take(build("NYUDSegDataLayer", {**params, "jitter": 0.5}, **kind), 3)
    for before, after in zip(plain, changed):
        assert not np.array_equal(before[0], after[0])
        assert np.array_equal(before[1], after[1]) and np.array_equal(before[2], after[2])


def test_val_splits_stay_as_they_are(voc, build, take):
    for one, other in zip(
        take(build(VOC, voc.params), 4), take(build(VOC, {**voc.params, **ALL}), 4)
    ):
        assert all(map(np.array_equal, one, other))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_batch_holds_the_items_in_their_order(voc, build, take, prefetch):
    params = dict(voc.params, split="train", seed=3, prefetch=prefetch, crop=8)
    single = take(build(VOC, params), 12)
    batches = take(build(VOC, {**params, "batch": 4}), 3)
    for top in (0, 1):
        want = np.concatenate([item[top] for item in single])
        assert np.array_equal(np.concatenate([batch[top] for batch in batches]), want)
        assert batches[0][top].shape[0] == 4


def test_a_batch_of_several_sizes_is_refused_and_names_two_items(voc, build):
    with pytest.raises(Exception, match=r"train\.txt: \w+ is \d+ x \d+ and .* give 'crop' too"):
        build(VOC, dict(voc.params, split="train", seed=3, batch=4))


@pytest.mark.parametrize("count", [2, 4])
def test_several_solvers_see_the_batches_of_one(voc, build, take, monkeypatch, count):
    params = {**voc.params, **ALL, "split": "train", "seed": 3, "batch": 1}
    want = take(build(VOC, params), 8)
    monkeypatch.setattr(caffe, "solver_count", lambda: count, raising=False)
    for rank in range(count):
        monkeypatch.setattr(caffe, "solver_rank", lambda rank=rank: rank, raising=False)
        net = build(VOC, {**params, "batch": 2})
        mine = take(net, 8 // count // 2)
        assert layer_of(net).state()["consumed"] == 8
        for top in (0, 1):
            batches = [np.concatenate([want[k][top], want[k + 1][top]]) for k in range(0, 8, 2)]
            assert len(mine) == len(batches[rank::count])
            assert all(map(np.array_equal, (one[top] for one in mine), batches[rank::count]))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=st.integers(0, 7), elsewhere=st.integers(0, 3), prefetch=st.integers(0, 2))
def test_a_resumed_training_sees_the_same_pixels(voc, build, take, before, elsewhere, prefetch):
    params = {**voc.params, **ALL, "split": "train", "prefetch": prefetch}
    net = build(VOC, params)
    take(net, before)
    state = json.loads(json.dumps(layer_of(net).state()))
    want = take(net, 4)
    other = build(VOC, params)
    take(other, elsewhere)
    layer_of(other).restore_state(state)
    for one, two in zip(want, take(other, 4)):
        assert all(map(np.array_equal, one, two))


@pytest.mark.parametrize(
    ("key", "value"),
    [("scale", (2, 1)), ("scale", 1.5), ("scale", (0, 1)), ("scale", (1, 11)), ("crop", 0),
     ("crop", (4, 5, 6)), ("crop", 2.5), ("jitter", 1), ("jitter", -0.1), ("batch", 0),
     ("jitter", True), ("scale", (True, 2))],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_key(voc, key, value):
    from voc_layers import VOCSegDataLayer

    with pytest.raises(DataError, match=f"VOCSegDataLayer: {key} in param_str: expected"):
        VOCSegDataLayer.parse(dict(voc.params, **{key: value}))


def test_nothing_is_drawn_by_default(voc):
    from voc_layers import VOCSegDataLayer

    assert augment.draw(VOCSegDataLayer.parse(voc.params), 1, 2) == AS_IT_IS
