from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from segmentation.layer import shrink_image, shrink_label, to_blob
from segmentation.order import Ahead, Ended, Order
from segmentation.params import DataError
from voc_layers import SBDDSegDataLayer, VOCSegDataLayer

import caffe

VOC, SBD = "VOCSegDataLayer", "SBDDSegDataLayer"


def expected(data, name):
    image = data.images[name][..., ::-1].astype(np.float32)
    image -= np.array(data.params["mean"])
    return image.transpose(2, 0, 1)[None], data.labels[name][None, None].astype(np.float32)


def assert_items(data, pairs, names):
    assert len(pairs) == len(names)
    for (image, label), name in zip(pairs, names):
        want_image, want_label = expected(data, name)
        np.testing.assert_array_equal(image, want_image)
        np.testing.assert_array_equal(label, want_label)


def layer_of(net):
    return net.layers[0]


def drawn(seed, ids, count):
    rng = random.Random(seed)
    return [ids[rng.randint(0, len(ids) - 1)] for _ in range(count)]


@pytest.mark.parametrize("prefetch", [0, 1, 2, 5])
def test_val_split_comes_in_file_order_and_wraps_around(voc, build, take, prefetch):
    net = build(VOC, dict(voc.params, prefetch=prefetch, seed=1))
    assert_items(voc, take(net, 8), voc.ids + voc.ids[:3])


@pytest.mark.parametrize("prefetch", [0, 2])
def test_train_split_is_drawn_as_python_random_draws_it(voc, build, take, prefetch):
    net = build(VOC, dict(voc.params, split="train", seed=1337, prefetch=prefetch))
    assert_items(voc, take(net, 20), drawn(1337, voc.ids, 20))


@pytest.mark.parametrize("off", [False, "False", "false", 0])
def test_randomize_off_is_understood_as_a_word_too(voc, build, take, off):
    net = build(VOC, dict(voc.params, split="train", seed=1337, randomize=off))
    assert_items(voc, take(net, 5), voc.ids)


def test_without_a_seed_the_saved_state_still_repeats_the_order(voc, build, take):
    params = dict(voc.params, split="train")
    net = build(VOC, params)
    state = layer_of(net).state()
    assert_items(voc, take(net, 10), drawn(state["seed"], voc.ids, 10))


def test_the_global_random_state_is_left_alone(voc, build, take):
    random.seed(5)
    before = random.getstate()
    take(build(VOC, dict(voc.params, split="train", seed=1, mirror=True)), 3)
    assert random.getstate() == before


def test_sbd_labels_come_from_the_mat_files(sbd, build, take):
    assert_items(sbd, take(build(SBD, sbd.params), 2), sbd.ids[3:])


def test_sbd_trainval_is_train_then_val(sbd, build, take):
    params = dict(sbd.params, split="trainval", randomize=False)
    assert SBDDSegDataLayer.ids(params) == sbd.ids
    assert_items(sbd, take(build(SBD, params), 5), sbd.ids)


def test_sbd_trainval_list_wins_where_there_is_one(sbd):
    (sbd.root / "trainval.txt").write_text(sbd.ids[4] + "\n")
    assert SBDDSegDataLayer.ids(dict(sbd.params, split="trainval")) == [sbd.ids[4]]


def test_ids_are_listed_without_a_net_from_dict_and_text(voc):
    assert VOCSegDataLayer.ids(voc.params) == voc.ids
    assert VOCSegDataLayer.ids(json.dumps(voc.params)) == voc.ids


def test_split_file_may_have_crlf_blank_lines_and_a_byte_order_mark(voc):
    path = voc.root / "ImageSets/Segmentation/odd.txt"
    path.write_bytes(b"\xef\xbb\xbf2007_000000\r\n\r\n  2007_000001 \r\n")
    assert VOCSegDataLayer.ids(dict(voc.params, split="odd")) == voc.ids[:2]


def test_published_param_str_is_read(voc, build, take):
    text = "{'voc_dir': '%s', 'seed': 1337, 'split': 'train', 'mean': (104.00699, 1, 122.67892)}"
    net = build(VOC, text % voc.root)
    label = take(net, 1)[0][1]
    np.testing.assert_array_equal(label[0, 0], voc.labels[drawn(1337, voc.ids, 1)[0]])


def test_own_folders_are_taken_relative_or_absolute(voc, build, take, tmp_path):
    (voc.root / "JPEGImages").rename(voc.root / "photos")
    (voc.root / "SegmentationClass").rename(tmp_path / "masks")
    (voc.root / "ImageSets/Segmentation").rename(voc.root / "lists")
    params = dict(
        voc.params, image_dir="photos", label_dir=str(tmp_path / "masks"), split_dir="lists"
    )
    assert_items(voc, take(build(VOC, params), 5), voc.ids)


def test_reshape_does_not_skip_items(voc, build, take):
    net = build(VOC, voc.params)
    names = []
    for name in voc.ids:
        net.reshape()
        net.reshape()
        names.append(name)
        assert_items(voc, take(net, 1), [name])


def readers():
    return {t for t in threading.enumerate() if t.name == "read-ahead"}


def test_building_a_net_starts_no_thread(voc, build):
    before = readers()
    net = build(VOC, voc.params)
    assert not readers() - before
    net.forward()
    assert len(readers() - before) == 1


@pytest.mark.skipif(not hasattr(caffe, "engine"), reason="BVLC Caffe never frees Python layers")
def test_the_thread_ends_with_its_net(voc, build):
    before = readers()
    net = build(VOC, voc.params)
    net.forward()
    (thread,) = readers() - before
    del net
    deadline = time.monotonic() + 5
    while thread.is_alive() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
    assert not thread.is_alive()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    before=st.integers(0, 12),
    elsewhere=st.integers(0, 4),
    split=st.sampled_from(["train", "val"]),
    prefetch=st.integers(0, 3),
    mirror=st.booleans(),
    pending=st.booleans(),
)
def test_restored_state_yields_what_an_uninterrupted_run_yields(
    voc, build, take, before, elsewhere, split, prefetch, mirror, pending
):
    params = dict(voc.params, split=split, prefetch=prefetch, mirror=mirror)
    net = build(VOC, params)
    take(net, before)
    if pending:
        net.reshape()
    state = json.loads(json.dumps(layer_of(net).state()))
    want = take(net, 6)
    other = build(VOC, params)
    take(other, elsewhere)
    layer_of(other).restore_state(state)
    for (image, label), (image2, label2) in zip(want, take(other, 6)):
        np.testing.assert_array_equal(image, image2)
        np.testing.assert_array_equal(label, label2)


def test_state_of_another_list_is_refused(voc, build):
    state = layer_of(build(VOC, voc.params)).state()
    other = layer_of(build(VOC, dict(voc.params, split="one")))
    with pytest.raises(DataError, match="one.txt: holds other ids.*1 now, 5 then"):
        other.restore_state(state)
    with pytest.raises(DataError, match="damaged"):
        other.restore_state({"consumed": -1})


def test_mirror_flips_image_and_label_together_and_keeps_the_order(voc, build, take):
    params = dict(voc.params, split="train", seed=7)
    plain = take(build(VOC, params), 16)
    flipped = take(build(VOC, dict(params, mirror=True)), 16)
    kinds = set()
    for (image, label), (image2, label2) in zip(plain, flipped):
        turned = not np.array_equal(image, image2)
        kinds.add(turned)
        np.testing.assert_array_equal(image[..., ::-1] if turned else image, image2)
        np.testing.assert_array_equal(label[..., ::-1] if turned else label, label2)
    assert kinds == {False, True}


def test_val_splits_are_never_mirrored(voc, build, take):
    assert_items(voc, take(build(VOC, dict(voc.params, mirror=True)), 5), voc.ids)


def test_shrink_halves_image_and_label_rounding_up(voc, build, take):
    for name, (image, label) in zip(
        voc.ids, take(build(VOC, dict(voc.params, shrink=2)), len(voc.ids))
    ):
        height, width = voc.labels[name].shape
        assert image.shape == (1, 3, (height + 1) // 2, (width + 1) // 2)
        assert label.shape == (1, 1) + image.shape[2:]
        box = voc.images[name][:2, :2, ::-1].astype(np.float64).mean((0, 1))
        np.testing.assert_allclose(image[0, :, 0, 0], box - voc.params["mean"], atol=1e-4)
        assert label[0, 0, 0, 0] == voc.labels[name][1, 1]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_shrunk_image_keeps_a_constant_and_shares_the_labels_shape(height, width, factor):
    image = np.full((height, width, 3), 77, np.uint8)
    small = shrink_image(image, factor)
    assert (small == 77).all()
    assert small.shape[:2] == shrink_label(image[..., 0], factor).shape


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
def test_shrunk_image_holds_the_means_of_its_boxes(height, width, factor, seed):
    image = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    small = shrink_image(image, factor)
    for i in range(small.shape[0]):
        for j in range(small.shape[1]):
            rows, columns = (slice(k * factor, (k + 1) * factor) for k in (i, j))
            want = image[rows, columns].astype(np.float64).mean((0, 1))
            np.testing.assert_allclose(small[i, j], want, rtol=1e-6)


def test_the_mean_is_subtracted_in_double_and_rounds_once():
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    mean = (104.00698793, 116.66876762, 122.67891434)
    want = (image.astype(np.float64) - mean).astype(np.float32).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(to_blob(image, mean), want)


@given(st.integers(1, 50), st.integers(0, 2**40), st.lists(st.integers(0, 60), max_size=8))
def test_order_can_be_asked_for_any_place(count, seed, places):
    rng = random.Random(seed)
    want = [rng.randint(0, count - 1) for _ in range(61)]
    order = Order(count, True, seed)
    assert [order(k) for k in places] == [want[k] for k in places]


def test_solvers_in_a_group_share_one_order(voc, build, take, monkeypatch):
    params = dict(voc.params, split="train", seed=3)
    want = drawn(3, voc.ids, 8)
    monkeypatch.setattr(caffe, "solver_count", lambda: 2, raising=False)
    for rank in (0, 1):
        monkeypatch.setattr(caffe, "solver_rank", lambda rank=rank: rank, raising=False)
        net = build(VOC, params)
        assert_items(voc, take(net, 4), want[rank::2])
        assert layer_of(net).state()["consumed"] == 8
    assert_items(voc, take(build(VOC, params, caffe.TEST), 3), want[:3])


def test_a_group_of_another_size_goes_on_where_one_was(voc, build, take, monkeypatch):
    params = dict(voc.params, split="train", seed=3)
    want = drawn(3, voc.ids, 13)
    for rank in (0, 1, 2):
        monkeypatch.setattr(caffe, "solver_count", lambda: 3, raising=False)
        monkeypatch.setattr(caffe, "solver_rank", lambda rank=rank: rank, raising=False)
        net = build(VOC, params)
        assert layer_of(net).state()["consumed"] == 0
        layer_of(net).restore_state({**layer_of(net).state(), "consumed": 7})
        assert_items(voc, take(net, 2), want[7 + rank :: 3][:2])
        assert layer_of(net).state()["consumed"] == 13


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(caffe, "engine"), reason="BVLC Caffe's Python has its own loader")
def test_interpreter_ends_at_once_with_a_thread_reading_ahead(root):
    code = (
        "import numpy\n"
        "from segmentation.order import Ahead\n"
        "ahead = Ahead(lambda k: numpy.ones((500, 500)).sum(), 0, 1, 2)\n"
        "busy = Ahead(lambda k: sum(range(10**6)), 0, 1, 64)\n"
        "ahead.take()\n"
    )
    path = os.pathsep.join([str(root / "data_layers"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_read_ahead_keeps_at_most_its_depth_waiting():
    loaded = []
    ahead = Ahead(lambda k: loaded.append(k) or k, 0, 1, 2)
    time.sleep(0.3)
    assert loaded == [0, 1, 2]  # two in the queue, one in the thread's hand
    assert [ahead.take() for _ in range(5)] == [0, 1, 2, 3, 4]
    ahead.stop()


@pytest.mark.slow
def test_read_ahead_ends_when_nobody_takes():
    ahead = Ahead(lambda k: k, 0, 1, 2, idle=0.1)
    deadline = time.monotonic() + 5
    while ahead.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(Ended):
        ahead.take()


def test_layer_goes_on_in_order_when_its_thread_has_ended(voc, build, take):
    net = build(VOC, dict(voc.params, split="train", seed=9))
    first = take(net, 3)
    layer_of(net).ahead.stop()
    time.sleep(0.5)
    assert not layer_of(net).ahead.alive()
    assert_items(voc, first + take(net, 5), drawn(9, voc.ids, 8))


def test_read_ahead_error_is_raised_at_its_turn():
    def load(k):
        if k == 2:
            raise DataError("bad item")
        return k

    ahead = Ahead(load, 0, 1, 4)
    time.sleep(0.1)
    assert [ahead.take(), ahead.take()] == [0, 1]
    with pytest.raises(DataError, match="bad item"):
        ahead.take()


def test_class_counts_and_void_are_the_tasks():
    import nyud_layers
    import pascalcontext_layers
    import segmentation.labels
    import voc_layers

    from prototxt.tasks import TASKS, VOID

    assert len(TASKS["voc"].classes) == len(TASKS["sbd"].classes) == voc_layers.VOC_CLASSES
    assert len(TASKS["pascal-context"].classes) == pascalcontext_layers.CLASS_COUNT
    assert len(TASKS["nyud-rgb"].classes) == nyud_layers.CLASS_COUNT
    assert segmentation.labels.VOID == VOID


def test_real_voc_photographs_and_labels_are_read(shared, build, take):
    root = shared / "data" / "voc-samples"
    ids = [f"2011_{n:06d}" for n in (3, 6, 25)]
    params = {"voc_dir": str(root), "split": "val", "mean": (104.0, 116.0, 122.0)}
    assert VOCSegDataLayer.ids(params) == ids
    net = build(VOC, params)
    for image, label in take(net, 3):
        assert image.shape[2:] == label.shape[2:] and image.shape[:2] == (1, 3)
        assert set(np.unique(label)) <= set(range(21)) | {255}
        assert (label > 0).any() and -123 <= image.min() < image.max() <= 255 - 104


def test_the_class_count_is_known_only_where_it_is_given(voc):
    assert VOCSegDataLayer.class_count(repr(voc.params)) is None
    assert VOCSegDataLayer.class_count(repr(dict(voc.params, classes=3))) == 3
    assert VOCSegDataLayer.class_count(VOCSegDataLayer.parse(voc.params)) == 21
