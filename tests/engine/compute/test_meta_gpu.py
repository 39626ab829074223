"""Counting what a training step asks of a GPU, on a small net of known layers."""

from __future__ import annotations

import pytest
import torch

import caffe
from tests.helpers.meta_gpu import META, Counts, count_step, make_solver, meta_gpu, net_text
from tests.helpers.net_texts import data, layer

CONV = "convolution_param { num_output: 2 kernel_size: 1 }"
NET = data(1, 2, 8, 8) + layer("conv", "Convolution", "data", more=CONV)
NET += layer("loss", "Reduction", "conv", more="loss_weight: 1")


def test_a_convolutions_step_is_counted_product_by_product(tmp_path):
    with meta_gpu():
        counts = count_step(make_solver(tmp_path, NET))
    assert counts.launches["convolution"] == 2  # with the bias
    assert counts.launches["convolution_backward"] == 2  # of the weights and the bias
    assert counts.by_place["conv forward"] == 2


def test_bytes_are_alive_until_the_last_view_of_them_is_gone():
    with Counts() as counts:
        first = torch.empty(100, device=META)
        view = first[10:].view(9, 10)
        second = torch.zeros(50, device=META)
        assert (counts.live, counts.views, counts.zeroed) == (600, 2, 200)
        del first, second
        assert counts.live == 400
        del view
        assert (counts.live, counts.peak) == (0, 600)
    assert counts.launches == {"zeros": 1}


def test_a_copy_from_the_host_is_no_launch():
    with Counts() as counts:
        torch.empty(4, device=META).copy_(torch.ones(4))
    assert (counts.copies_up, sum(counts.launches.values())) == (1, 0)


@pytest.fixture(scope="module")
def solver_of(tmp_path_factory):
    """solver_of(net, lean, folded) -> a solver on one of prototxt/nets/voc, of pictures of
    500 × 500."""

    def solver_of(name, lean, folded):
        caffe.engine.set_lean(lean)
        caffe.engine.set_folding(folded)
        return make_solver(tmp_path_factory.mktemp("net"), net_text(name, (500, 500)))

    return solver_of


# What the engine asked for when it was last made faster, and a little room.
@pytest.mark.slow
@pytest.mark.parametrize(
    "lean, folded, launches, views, megabytes",
    [(True, True, 310, 240, 800), (True, False, 275, 195, 970), (False, True, 315, 200, 2400)],
)
def test_a_training_step_asks_for_few_launches_and_zeroes_little(
    solver_of, lean, folded, launches, views, megabytes
):
    with meta_gpu():
        counts = count_step(solver_of("dilated-fcn2s-vgg16", lean, folded))
    assert sum(counts.launches.values()) <= launches and counts.views <= views
    assert counts.zeroed <= 15e6 and counts.peak <= megabytes * 1e6


POOL = "pooling_param {{ pool: {} kernel_size: 2 stride: 2 }}"


@pytest.mark.parametrize("kind, index_bytes", [("AVE", 0), ("MAX", 8)])
def test_a_poolings_backward_makes_no_blob_for_its_shape(tmp_path, kind, index_bytes):
    text = "force_backward: true " + data(1, 4, 64, 64)
    text += layer("pool", "Pooling", "data", more=POOL.format(kind))
    text += layer("loss", "Reduction", "pool", more="loss_weight: 1")
    caffe.engine.set_lean(True)
    with meta_gpu(), Counts() as counts:
        net = make_solver(tmp_path, text).net
        net._passes.forward(0, len(net.layers) - 1)
        net._backward(len(net.layers) - 1, 2)
        before = counts.live
        counts.clear()
        net._backward(1, 1)
    gradient, top = 4 * 64 * 64 * 4, 4 * 32 * 32
    assert gradient <= counts.peak - before <= gradient + top * index_bytes
