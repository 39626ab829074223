"""transplant and expand_score, as scripts written for the FCN reference call them."""

import numpy as np
import pytest

from surgery import expand_score, transplant
from tests.helpers.surgery_nets import layer_net


@pytest.fixture
def pair(make_net):
    """pair(kind, name, new kind, new name, ...) -> (new_net, net), the latter with numbers."""

    def make(new, old):
        net = make_net(layer_net(**old))
        for blobs in net.params.values():
            for k, blob in enumerate(blobs):
                blob.data[...] = np.arange(blob.data.size).reshape(blob.data.shape) + 1000 * k
        return make_net(layer_net(**new)), net

    return make


def convolution(name="conv", channels=3, **parameters):
    return dict(layer="Convolution", name=name, channels=channels, **parameters)


def test_transplant_copies_layers_of_the_same_name(pair, capsys):
    same = convolution(num_output=2, kernel_size=3)
    new_net, net = pair(same, same)
    transplant(new_net, net)
    for new_blob, blob in zip(new_net.params["conv"], net.params["conv"]):
        assert np.array_equal(new_blob.data, blob.data)
    assert "copying conv -> conv 1" in capsys.readouterr().out


def test_transplant_drops_layers_that_the_new_net_does_not_have(pair, capsys):
    new_net, net = pair(convolution("a", num_output=2, kernel_size=3),
                        convolution("b", num_output=2, kernel_size=3))  # fmt: skip
    transplant(new_net, net)
    assert "dropping b" in capsys.readouterr().out
    assert not new_net.params["a"][0].data.any()


def test_transplant_drops_parameters_that_the_new_layer_does_not_have(pair, capsys):
    new_net, net = pair(convolution(num_output=2, kernel_size=3, bias_term="false"),
                        convolution(num_output=2, kernel_size=3))  # fmt: skip
    transplant(new_net, net)
    assert len(new_net.params["conv"]) == 1
    assert np.array_equal(new_net.params["conv"][0].data, net.params["conv"][0].data)
    assert "dropping conv 1" in capsys.readouterr().out


def test_transplant_reshapes_where_the_sizes_agree(pair):
    new_net, net = pair(convolution(num_output=2, kernel_size=6, channels=1),
                        convolution(num_output=2, kernel_size=2, channels=9))  # fmt: skip
    transplant(new_net, net)
    assert np.array_equal(new_net.params["conv"][0].data.ravel(), np.arange(72))


def test_transplant_names_layer_and_shapes_where_the_sizes_differ(pair):
    new_net, net = pair(convolution(num_output=2, kernel_size=3),
                        convolution(num_output=2, kernel_size=5))  # fmt: skip
    with pytest.raises(ValueError, match="layer conv, parameter 0: .*2x3x5x5.*2x3x3x3"):
        transplant(new_net, net)


def test_transplant_adds_the_suffix_to_the_names(pair):
    new_net, net = pair(convolution("convcolor", num_output=2, kernel_size=3),
                        convolution("conv", num_output=2, kernel_size=3))  # fmt: skip
    transplant(new_net, net, "color")
    assert np.array_equal(new_net.params["convcolor"][0].data, net.params["conv"][0].data)


def test_expand_score_copies_the_first_rows_only(pair):
    new_net, net = pair(convolution("wide", num_output=5, kernel_size=1),
                        convolution("narrow", num_output=2, kernel_size=1))  # fmt: skip
    new_net.params["wide"][0].data[...] = -1
    expand_score(new_net, "wide", net, "narrow")
    for new_blob, blob, rest in zip(new_net.params["wide"], net.params["narrow"], (-1, 0)):
        assert np.array_equal(new_blob.data[:2], blob.data)
        assert (new_blob.data[2:] == rest).all()


def test_expand_score_refuses_a_narrower_layer(pair):
    new_net, net = pair(convolution("narrow", num_output=2, kernel_size=1),
                        convolution("wide", num_output=5, kernel_size=1))  # fmt: skip
    with pytest.raises(ValueError, match="layer narrow.*5x3x1x1.*2x3x1x1"):
        expand_score(new_net, "narrow", net, "wide")
