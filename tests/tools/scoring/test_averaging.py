"""Averages over flips and scales against what they are by hand."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

import caffe
from tests.helpers import tiny_run
from tools import infer, score
from tools.common import cli
from tools.common.nets import keep
from tools.scoring import averaging

DEPLOY = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n"
) + tiny_run.NET[: tiny_run.NET.index('layer { name: "loss"')]


@pytest.fixture
def laid_out(tmp_path, monkeypatch):
    tiny_run.lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    caffe.set_mode_cpu()
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    net = caffe.Net("train.prototxt", caffe.TEST)
    rng = np.random.RandomState(3)
    for blobs in net.params.values():
        blobs[0].data[...] = 0.03 * rng.randn(*blobs[0].data.shape)
    net.save("a.caffemodel")
    return tmp_path


def probabilities(data, factor, flipped):
    """A view's probabilities by the deploy net, each pixel of an enlarged map by its definition."""
    net = caffe.Net("deploy.prototxt", caffe.TEST, weights="a.caffemodel")
    keep(net, "score")
    height, width = data.shape[2:]
    seen = bilinear(data[0], round(height * factor), round(width * factor))
    seen = seen[:, :, ::-1] if flipped else seen
    net.blobs["data"].reshape(1, *seen.shape)
    net.reshape()
    net.blobs["data"].data[...] = seen
    net.forward()
    scores = net.blobs["score"].data[0]
    scores = bilinear(scores[:, :, ::-1] if flipped else scores, height, width)
    powers = np.exp(scores - scores.max(0))
    return powers / powers.sum(0)


def bilinear(planes, height, width):
    """C x h x w -> C x height x width: weights fall evenly with the distance of pixels' middles,
    over as many pixels as one of the result covers, where it shrinks."""

    def weights(old, new):
        step = old / new
        reach = max(step, 1.0)
        found = np.zeros((new, old))
        for i in range(new):
            for j in range(old):
                found[i, j] = max(0.0, 1 - abs((j + 0.5) - (i + 0.5) * step) / reach)
        return found / found.sum(1, keepdims=True)

    if planes.shape[1:] == (height, width):
        return planes
    rows, columns = weights(planes.shape[1], height), weights(planes.shape[2], width)
    return np.einsum("ab,cbd,ed->cae", rows, planes, columns)


def images():
    """(data, label) arrays of the val net's images."""
    net = caffe.Net("val.prototxt", caffe.TEST)
    keep(net, "data", "label")
    for _ in range(3):
        net.forward()
        yield net.blobs["data"].data.copy(), net.blobs["label"].data[0, 0].copy()


@pytest.mark.parametrize("size", [(5, 7), (10, 14), (3, 4), (1, 1), (9, 2)])
def test_a_resized_map_is_bilinear(size):
    array = np.random.RandomState(0).randn(1, 2, 5, 7).astype(np.float32)
    got = averaging.resized(array, *size)
    np.testing.assert_allclose(got[0], bilinear(array[0], *size), atol=1e-5)


def test_every_addition_is_scored_as_by_hand(laid_out, capsys):
    argv = ["--net", "val.prototxt", "--weights", "a.caffemodel", "--cpu", "--json", "s.json"]
    argv += ["--flips", "--scales", "0.75,1.5"]
    assert score.main(argv) == 0
    out = capsys.readouterr().out
    report = json.loads((laid_out / "s.json").read_text())
    views = {
        "flips": [(1, False), (1, True)],
        "scales": [(0.75, False), (1.5, False)],
        "flips and scales": [(f, m) for f in (0.75, 1.5) for m in (False, True)],
    }
    assert [one["name"] for one in report["averaged"]] == list(views)
    differ = False
    for one in report["averaged"]:
        hist = np.zeros((3, 3), np.int64)
        for data, label in images():
            mean = sum(probabilities(data, *view) for view in views[one["name"]])
            hist += score.fast_hist(label.ravel(), mean.argmax(0).ravel(), 3)
        want = score.metrics(hist)
        assert one["mean_iu"] == pytest.approx(want["mean_iu"])
        assert one["gain"] == pytest.approx(want["mean_iu"] - report["mean_iu"])
        assert one["cost"] > 0 and one["views"] == len(views[one["name"]])
        (line,) = [ln for ln in out.splitlines() if ln.startswith(one["name"] + "  ")]
        assert f"{100 * one['gain']:+.2f}" in line and line.endswith("x")
        differ |= one["mean_iu"] != report["mean_iu"]
    assert differ


def test_the_plain_scores_do_not_change_beside_averages(laid_out):
    found = []
    for more in ([], ["--flips", "--scales", "0.5,2"]):
        argv = ["--net", "val.prototxt", "--weights", "a.caffemodel", "--cpu", "--json", "s.json"]
        assert score.main([*argv, *more]) == 0
        found.append(json.loads((laid_out / "s.json").read_text()))
        averaged = found[-1].pop("averaged", None)
    assert averaged and found[0] == found[1]


def test_the_arrays_may_be_the_blobs_own_memory(laid_out):
    found = []
    for own in (False, True):
        net = caffe.Net("val.prototxt", caffe.TEST, weights="a.caffemodel")
        keep(net, "data", "label", "score")
        net.forward()
        asked = averaging.additions(True, [0.75, 1.5])
        counts = averaging.Averages(averaging.Views(net, ["data"], "score"), asked, 3)
        data, label = net.blobs["data"].data, net.blobs["label"].data[0, 0].astype(int)
        counts.add("p0", label, {"data": data if own else data.copy()})
        found.append(counts.hists)
    np.testing.assert_array_equal(*found)


def test_infer_decides_by_the_mean_over_all_views(laid_out):
    net = caffe.Net("deploy.prototxt", caffe.TEST, weights="a.caffemodel")
    rgb = np.random.RandomState(1).randint(0, 256, (9, 11, 3)).astype(np.uint8)
    views = averaging.additions(True, [1.0, 2.0])[-1].views
    got = infer.segment(net, rgb, (100.0, 110.0, 120.0), views=views)
    data = (rgb[..., ::-1] - np.array([100.0, 110.0, 120.0])).transpose(2, 0, 1)[None]
    want = sum(probabilities(data.astype(np.float32), *view) for view in views).argmax(0)
    np.testing.assert_array_equal(got, want)


def test_infer_takes_flips_and_scales(laid_out, capsys):
    words = ["--net", "deploy.prototxt", "--weights", "a.caffemodel", "--cpu", "--out", "masks"]
    assert infer.main([*words, "--flips", "--scales", "1,1.5", "voc/JPEGImages"]) == 0
    assert len(list((laid_out / "masks").glob("*.png"))) == 6


@pytest.mark.parametrize("text", ["", "a", "1,", "0", "1,1", "nan", "1,9", "-1", "1e-9"])
def test_scales_that_cannot_be_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        averaging.scales(text)


def test_scores_that_are_not_finite_are_named(laid_out):
    net = caffe.Net("deploy.prototxt", caffe.TEST, weights="a.caffemodel")
    net.params["score"][1].data[...] = np.nan
    with pytest.raises(cli.Failure, match="the image: .*not finite"):
        infer.segment(net, np.zeros((5, 5, 3), np.uint8), (0, 0, 0), views=[(1.0, True)])
