"""Class numbers out of scores, on the CPU and an emulated GPU."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.emulated_gpu import emulated_gpus, waits
from tools.common import predictions
from tools.common.cli import Failure, UserError

NET = (
    'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'
    'layer {{ name: "score" type: "Power" bottom: "data" top: "score" }}'
    'layer {{ name: "sum" type: "Reduction" bottom: "data" top: "sum" }}'
)


@pytest.fixture(params=["cpu", "gpu"])
def device(request):
    caffe.set_mode_cpu()
    if request.param == "cpu":
        yield request.param
        return
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        yield request.param


@pytest.fixture
def make(tmp_path):
    def make(*shape):
        path = tmp_path / "net.prototxt"
        path.write_text(NET.format(dims=" ".join(f"dim: {n}" for n in shape)))
        return caffe.Net(str(path), caffe.TEST)

    return make


class Images:
    """Ids of images, each of which is put into a net's input as it is asked for."""

    def __init__(self, net, images):
        self.net, self.images = net, images

    def __iter__(self):
        for name, image in self.images.items():
            self.net.blobs["data"].data[...] = image
            yield name


def pictures(count, *shape):
    stream = np.random.RandomState(0)
    return {f"p{i}": stream.randint(0, 4, shape).astype(np.float32) for i in range(count)}


@pytest.mark.parametrize("engine", [True, False])
def test_every_image_has_the_first_of_its_highest_scores(make, device, engine, monkeypatch):
    net, images = make(1, 5, 3, 4), pictures(3, 1, 5, 3, 4)
    if not engine:
        monkeypatch.delattr(caffe, "engine")
    names = []
    for name, classes, blobs in predictions.segmented(net, "score", ["sum"], Images(net, images)):
        names.append(name)
        np.testing.assert_array_equal(classes, images[name][0].argmax(0))
        assert blobs["sum"].sum() == images[name].sum()
    assert names == list(images)


def test_more_than_256_classes_are_told_apart(make, device):
    net = make(1, 300, 1, 2)
    net.blobs["data"].data[0, 299, 0, 1] = 1
    assert predictions.segment_once(net, "score", "it").tolist() == [[0, 299]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_their_image(make, device, value):
    net, images = make(1, 2, 2, 2), pictures(3, 1, 2, 2, 2)
    images["p1"][0, 0, 1, 1] = value
    with pytest.raises(Failure, match="p1: the net's scores are not finite"):
        list(predictions.segmented(net, "score", [], Images(net, images)))


def test_more_than_one_image_is_refused(make, device):
    with pytest.raises(UserError, match=r"scores of shape \(2, 5, 3, 4\); expected one image"):
        predictions.segment_once(make(2, 5, 3, 4), "score", "it")


def test_a_gpu_has_the_next_image_before_one_is_waited_for(make):
    with emulated_gpus(1):
        caffe.set_mode_gpu()
        net, images = make(1, 5, 3, 4), pictures(3, 1, 5, 3, 4)
        seen, waited = [], []
        dataset = Images(net, images)

        def noted():
            for name in dataset:
                seen.append(name)
                yield name

        for name, *_ in predictions.segmented(net, "score", [], noted()):
            waited.append((name, list(seen), len(waits)))
            waits.clear()
    assert [(name, ahead[-1]) for name, ahead, _ in waited] == [
        ("p0", "p1"), ("p1", "p2"), ("p2", "p2"),
    ]  # fmt: skip
    assert all(count == 1 for *_, count in waited)


def test_an_image_that_cannot_be_read_does_not_take_the_one_before_it_along(make, device):
    net, images = make(1, 5, 3, 4), pictures(3, 1, 5, 3, 4)
    names = []

    def unreadable(layer):
        if len(names) == 0 and shown == ["p0", "p1"]:
            raise UserError("p1: cannot be read")

    shown = []

    def noted():
        for name in Images(net, images):
            shown.append(name)
            yield name

    net.before_forward(unreadable)
    with pytest.raises(UserError, match="p1: cannot be read"):
        for name, *_ in predictions.segmented(net, "score", [], noted()):
            names.append(name)
    assert names == ["p0"]
