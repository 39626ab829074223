"""3×3 convolutions by Winograd's minimal filtering: the plain sums' numbers, and where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import caffe
from caffe.compute import winograd
from caffe.compute.convolve import Geometry, convolve, gradients
from tests.helpers.net_texts import data, fill, layer

sizes = st.integers(1, 23)
channels = st.integers(1, 40)


def geometry(pad, **changes):
    plain = Geometry([1, 1], list(pad), [1, 1], False, [0, 0], 1)
    return plain._replace(**changes)


def plain(dy, x, weight, bias, pad):
    """The result and the three gradients in float64."""
    dy, x, weight, bias = (t.double() for t in (dy, x, weight, bias))
    found = torch.ops.aten.convolution_backward(
        dy, x, weight, [weight.shape[0]], *geometry(pad), [True, True, True]
    )
    return [torch.conv2d(x, weight, bias, padding=tuple(pad)), *found]


def case(count, inputs, outputs, size, pad, seed=0):
    random = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(shape, generator=random)

    out = [n + 2 * p - 2 for n, p in zip(size, pad)]
    return (
        numbers(count, outputs, *out), numbers(count, inputs, *size),
        numbers(outputs, inputs, 3, 3), numbers(outputs),
    )  # fmt: skip


def error(found, wanted):
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


def by_tiles(dy, x, weight, bias, pad):
    """The result, and the gradients of x and weight."""
    return (
        winograd.convolve(x, weight, bias, pad),
        winograd.bottom_gradient(dy, weight, pad),
        winograd.weight_gradient(dy, x, pad),
    )


@pytest.mark.slow
@given(st.integers(1, 2), channels, channels, sizes, sizes, st.integers(0, 5), st.integers(0, 5),
       st.booleans())  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_results_and_gradients_are_the_plain_sums(count, inputs, outputs, h, w, ph, pw, last):
    if h + 2 * ph < 3 or w + 2 * pw < 3:
        return
    dy, x, weight, bias = case(count, inputs, outputs, (h, w), (ph, pw))
    if last:
        dy, x = (t.contiguous(memory_format=torch.channels_last) for t in (dy, x))
    wanted = plain(dy, x, weight, bias, (ph, pw))
    for mine, other in zip(by_tiles(dy, x, weight, bias, (ph, pw)), wanted):
        assert mine.shape == other.shape and error(mine, other) < 1e-5


@pytest.mark.slow
def test_rounding_errors_are_no_larger_than_the_plain_sums():
    dy, x, weight, bias = case(1, 256, 256, (40, 40), (1, 1))
    wanted = plain(dy, x, weight, bias, (1, 1))
    direct = [torch.conv2d(x, weight, bias, padding=1)]
    direct += torch.ops.aten.convolution_backward(
        dy, x, weight, [256], *geometry((1, 1)), [True, True, True]
    )
    mine = max(error(*pair) for pair in zip(by_tiles(dy, x, weight, bias, (1, 1)), wanted))
    assert mine < 2 * max(error(*pair) for pair in zip(direct, wanted))


SHAPES = {
    "few channels": (1, 3, 64, (40, 44)),
    "plain sums, gradient by tiles": (1, 64, 64, (40, 44)),
    "all by tiles": (2, 128, 128, (28, 30)),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("wants", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_each_way_gives_what_is_wanted_with_the_channels_last(kind, wants):
    dy, x, weight, bias = case(*SHAPES[kind], (1, 1))
    wanted = plain(dy, x, weight, bias, (1, 1))
    y = convolve(x, weight, bias, geometry((1, 1)))
    assert y.is_contiguous(memory_format=torch.channels_last) and error(y, wanted[0]) < 5e-6
    found = gradients(dy, x, weight, geometry((1, 1)), [bool(want) for want in wants])
    for want, mine, other in zip(wants, found, wanted[1:]):
        assert (mine is not None) == bool(want)
        assert mine is None or error(mine, other) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [{"stride": [2, 2]}, {"dilation": [2, 2]}, {"groups": 2}],
)
def test_other_convolutions_give_the_librarys_numbers(changes):
    wants = geometry((1, 1), **changes)
    _, x, weight, bias = case(1, 128, 128, (60, 60), (1, 1))
    weight = weight[:, : 128 // wants.groups].contiguous()
    wanted = torch.ops.aten.convolution(x.double(), weight.double(), bias.double(), *wants)
    assert error(convolve(x, weight, bias, wants), wanted) < 5e-6


def wide(*size):
    body = 'num_output: 128 kernel_size: 3 pad: 1 weight_filler { type: "msra" }'
    param = f"convolution_param {{ {body} }}"
    text = data(1, 128, *size)
    for i, below in ((1, "data"), (2, "c1")):
        text += layer(f"c{i}", "Convolution", below, more=param)
        text += layer(f"r{i}", "ReLU", f"c{i}", f"c{i}")
    text += layer("pool", "Pooling", "c2", more="pooling_param { kernel_size: 2 stride: 2 }")
    return text + layer("loss", "Reduction", "pool", more="loss_weight: 1e-3")


def results(make, on, text):
    caffe.engine.set_winograd(on)
    net = make("force_backward: true " + text, caffe.TRAIN)
    fill(net)
    net.blobs["data"].data[...] = np.random.RandomState(0).standard_normal(net.blobs["data"].shape)
    net.forward()
    net.backward()
    diffs = [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
    return [net.blobs["c2"].data.copy(), net.blobs["data"].diff.copy(), *diffs]


def test_a_net_reads_and_learns_the_same_with_it_and_without(make):
    text = wide(44, 41)
    for mine, other in zip(results(make, True, text), results(make, False, text)):
        np.testing.assert_allclose(mine, other, rtol=0, atol=2e-5 * np.abs(other).max())


def test_it_is_used_where_there_are_enough_tiles_unless_it_is_switched_off(monkeypatch, make):
    used = []
    original = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *a: used.append(1) or original(*a))
    results(make, True, wide(20, 20))
    results(make, False, wide(44, 41))
    assert not used
    results(make, True, wide(44, 41))
    assert len(used) == 4  # two layers, forward and backward
