"""The means of a net's outputs."""

from __future__ import annotations

import numpy as np

from caffe import log
from caffe.training.output_means import OutputMeans
from tests.helpers.net_texts import data


def test_an_outputs_mean_is_over_the_batches(make):
    net = make(data(2, 3))
    outputs = OutputMeans(net)
    for value in (1, 2, 6):
        net.blobs["data"].data[...] = value
        outputs.add()
    np.testing.assert_array_equal(outputs.means()["data"], np.full((2, 3), 3.0))


def test_no_batches_have_no_means(make):
    assert OutputMeans(make(data(2, 3))).means() == {}


def test_an_output_of_another_shape_is_left_out_with_one_warning(make, capfd):
    net = make(data(2, 3) + data(1, name="other"))
    log.set_min_level(log.WARNING)
    try:
        outputs = OutputMeans(net)
        for rows in (2, 1, 1, 4):
            net.blobs["data"].reshape(rows, 3)
            outputs.add()
    finally:
        log.set_min_level(None)
    assert list(outputs.means()) == ["other"]
    err = capfd.readouterr().err
    assert err.count("output 'data' was (2, 3), and is (1, 3) in a later batch") == 1
    assert err.count("data") == 1
