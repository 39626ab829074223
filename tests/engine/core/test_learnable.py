from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.engine import InputError
from tests.helpers.net_texts import data, ip, losses

HEAD = data(2, 3) + data(2, name="label")


def shared(first, second, outputs=3):
    return HEAD + ip("a", "data", 3, first) + ip("ip", "a", outputs, second) + losses()


def test_multipliers_follow_the_param_entries_and_default_to_one(make):
    net = make(HEAD + ip("ip", "data", 3, "param { lr_mult: 2 decay_mult: 0 }") + losses())
    assert net._learnable.lr_mult == [2, 1]
    assert net._learnable.decay_mult == [0, 1]


def test_parameters_of_one_name_are_one_memory_and_learn_once(make):
    named = 'param { name: "w" } param { name: "b" }'
    net = make(shared(named, named), caffe.TRAIN)
    assert len(net._learnable.blobs) == 2
    net.params["a"][0].data[...] = 0.5
    assert (net.params["ip"][0].data == 0.5).all()
    net.blobs["data"].data[...] = np.arange(6).reshape(2, 3)
    net.forward()
    net.backward()
    np.testing.assert_array_equal(net.params["a"][0].diff, net.params["ip"][0].diff)
    assert net.params["a"][0].diff.any()


def test_multipliers_may_be_given_by_either_layer(make):
    net = make(
        shared('param { name: "w" lr_mult: 3 }', 'param { name: "w" decay_mult: 0.5 lr_mult: 3 }')
    )
    assert net._learnable.lr_mult[0] == 3
    assert net._learnable.decay_mult[0] == 0.5


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult"])
def test_contradicting_multipliers_of_a_shared_parameter_are_refused(make, field):
    text = shared(f'param {{ name: "w" {field}: 1 }}', f'param {{ name: "w" {field}: 2 }}')
    with pytest.raises(InputError, match=f"net.prototxt: layer 'ip'.*'w' has {field} 2 .* 1 "):
        make(text)


def test_sharing_between_shapes_needs_permissive_mode_and_equal_counts(make):
    other = data(2, 9, name="other")
    text = HEAD + ip("a", "data", 6, 'param { name: "w" }') + other
    small = ip("b", "other", 2, 'param { name: "w" }')
    with pytest.raises(InputError, match=r"layer 'b'.*shape \(2, 9\) here, \(6, 3\) at its owner"):
        make(text + small)
    net = make(text + small.replace('"w"', '"w" share_mode: PERMISSIVE'))
    net.params["a"][0].data[...] = np.arange(18).reshape(6, 3)
    assert net.params["b"][0].data.shape == (2, 9)
    assert net.params["b"][0].data[1, 0] == 9
    with pytest.raises(InputError, match="layer 'b'"):
        make(text + ip("b", "other", 3, 'param { name: "w" share_mode: PERMISSIVE }'))


def test_more_param_entries_than_parameters_are_refused(make):
    with pytest.raises(InputError, match="layer 'ip'.*3 param entries for 2"):
        make(HEAD + ip("ip", "data", 3, "param { } param { } param { }"))
