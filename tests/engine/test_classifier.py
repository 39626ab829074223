from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.helpers.net_texts import data, fill, ip, layer

NET = data(4, 3, 6, 6) + ip("ip", "data", 5) + layer("prob", "Softmax", "ip")


@pytest.fixture
def classifier(make):
    def classifier(**settings):
        net = make(NET)
        fill(net)
        net.save("w.caffemodel")
        return caffe.Classifier("net.prototxt", "w.caffemodel", **settings)

    return classifier


def pictures(count, *shape, seed=0):
    return list(np.random.RandomState(seed).rand(count, *shape).astype(np.float32))


@pytest.mark.parametrize("kind", [caffe.Classifier, caffe.Detector])
def test_a_net_without_an_input_is_refused_in_one_line(make, kind):
    text = layer("dummy", "DummyData", more="dummy_data_param { shape { dim: 2 } }")
    make('name: "trained" ' + text).save("w.caffemodel")
    with pytest.raises(InputError, match="'trained' has no Input layer.*deploy prototxt"):
        kind("net.prototxt", "w.caffemodel")


def test_whole_pictures_give_the_nets_own_output(classifier):
    net, inputs = classifier(), pictures(7, 6, 6, 3)
    out = net.predict(inputs, oversample=False)
    wanted = net.forward_all(data=np.stack(inputs).transpose(0, 3, 1, 2))["prob"]
    np.testing.assert_allclose(out, wanted, rtol=1e-6)


def test_oversampling_is_the_mean_over_ten_crops(classifier):
    net, inputs = (
        classifier(image_dims=(8, 9), mean=np.array([0.1, 0.2, 0.3])),
        pictures(2, 8, 9, 3),
    )
    crops = caffe.io.oversample(inputs, (6, 6))
    crops = np.stack([net.transformer.preprocess("data", crop) for crop in crops])
    wanted = net.forward_all(data=crops)["prob"].reshape(2, 10, 5).mean(axis=1)
    np.testing.assert_allclose(net.predict(inputs), wanted, rtol=1e-5)


def test_the_centre_is_cut_from_the_resized_picture(classifier):
    net, inputs = classifier(image_dims=(8, 9)), pictures(1, 8, 9, 3)
    centre = inputs[0][1:7, 1:7].transpose(2, 0, 1)[None]
    wanted = net.forward_all(data=centre)["prob"]
    np.testing.assert_allclose(net.predict(inputs, oversample=False), wanted, rtol=1e-6)


def test_grey_pictures_go_into_every_channel(classifier):
    grey = pictures(2, 6, 6, 1)
    out = classifier().predict(grey, oversample=False)
    colour = classifier().predict([np.repeat(one, 3, axis=2) for one in grey], oversample=False)
    np.testing.assert_allclose(out, colour, rtol=1e-6)


@pytest.mark.parametrize(
    "settings, inputs, words",
    [
        ({}, [], "no picture"),
        ({}, pictures(1, 6, 6, 2), "2 channels"),
        ({"image_dims": (4, 4)}, pictures(1, 6, 6, 3), "less than"),
        ({}, pictures(1, 6, 6), "height, width, channels"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(classifier, settings, inputs, words):
    with pytest.raises(ValueError, match=words):
        classifier(**settings).predict(inputs, oversample=False)
