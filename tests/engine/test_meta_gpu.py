"""Counting what a training step asks of a GPU, on a small net of known layers."""

from __future__ import annotations

import torch
from meta_gpu import META, Counts, count_step, make_solver, meta_gpu
from net_texts import data, layer

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
