"""What the tests of the layers that read data share."""

from __future__ import annotations

import json

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.helpers.data_files import batches


@pytest.fixture
def read(make):
    """read(prototxt, times, phase) -> that many batches of a new net, each {name: array}."""
    return lambda prototxt, times=1, phase=caffe.TEST: batches(make(prototxt, phase), times)


@pytest.fixture
def refused(make):
    """refused(prototxt, *words): the net, or one of its `forward` passes, ends in an InputError of
    one line that names layer 'd' and has these words."""

    def refused(prototxt, *words, phase=caffe.TEST, forward=0):
        with pytest.raises(InputError) as error:
            batches(make(prototxt, phase), forward)
        message = str(error.value)
        assert error.value.exit_code == 2
        assert "\n" not in message
        assert all(word in message for word in ("layer 'd'", *words)), message

    return refused


@pytest.fixture
def goes_on(make):
    """goes_on(prototxt, before): a net whose layer 'd' is given the state that another had after
    `before` batches reads, whatever it read until then, what the other reads next."""

    def goes_on(prototxt, before, phase=caffe.TRAIN, after=4):
        first, second = make(prototxt, phase), make(prototxt, phase)
        batches(first, before)
        state = json.loads(json.dumps(first.layer_dict["d"].state()))
        batches(second, 2)
        second.layer_dict["d"].restore_state(state)
        for expected, found in zip(batches(first, after), batches(second, after)):
            for name in expected:
                np.testing.assert_array_equal(found[name], expected[name])

    return goes_on
