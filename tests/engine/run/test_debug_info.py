"""debug_info by hand: what is logged while it is on, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import ranks
from caffe.run import debug_info
from caffe.run.debug_info import log_parameters, set_debug_info
from tests.helpers.net_texts import data, layer

NET = (
    data(1, 2)
    + layer("ip", "InnerProduct", "data", more="inner_product_param { num_output: 1 } "
            'param { name: "w" } param { lr_mult: 0 }')
    + layer("loss", "Reduction", "ip", more="loss_weight: 1")
)  # fmt: skip


@pytest.fixture
def lines(monkeypatch):
    """What has been logged so far, without the indentation."""
    found = []
    monkeypatch.setattr(debug_info, "log", lambda text, *args, **more: found.append(text.strip()))
    return found


@pytest.fixture
def net(make):
    net = make(NET)
    net.blobs["data"].data[...] = [[1, -3]]
    net.params["ip"][0].data[...] = [[2, 4]]
    net.params["ip"][1].data[...] = -6
    return net


def test_mean_magnitudes_are_logged_layer_by_layer(net, lines):
    set_debug_info(net, True)
    net.forward()
    assert lines == [
        "[Forward] Layer data, top blob data data: 2",
        "[Forward] Layer ip, top blob ip data: 16",
        "[Forward] Layer ip, param blob w data: 3",
        "[Forward] Layer ip, param blob 1 data: 6",
        "[Forward] Layer loss, top blob loss data: 16",
    ]


def test_backward_leaves_out_what_gets_no_gradient(net, lines):
    net.forward()
    set_debug_info(net, True)
    net.clear_param_diffs()
    net.backward()
    assert lines == [
        "[Backward] Layer loss, bottom blob ip diff: 1",
        "[Backward] Layer ip, param blob 0 diff: 2",
    ]


def test_the_norms_are_those_of_all_parameters(net, lines):
    set_debug_info(net, True)
    net.params["ip"][0].diff[...] = [[3, -4]]
    net.params["ip"][1].diff[...] = 0
    log_parameters(net)
    l2 = np.sqrt([2**2 + 4**2 + 6**2, 3**2 + 4**2])
    assert lines == [
        "[Backward] All net params (data, diff): L1 norm = (12, 7); "
        f"L2 norm = ({l2[0]:.6g}, {l2[1]:.6g})"
    ]


def test_switched_off_nothing_is_logged_any_more_and_on_again_once(net, lines):
    set_debug_info(net, True)
    set_debug_info(net, False)
    net.forward(), net.backward(), log_parameters(net)
    assert lines == []
    set_debug_info(net, True)
    net.forward(end="data")
    assert lines == ["[Forward] Layer data, top blob data data: 2"]


def test_never_switched_on_it_costs_nothing(net, lines):
    set_debug_info(net, False)
    log_parameters(net)
    assert lines == [] and not any(net._passes.callbacks.values())


def test_an_empty_blob_has_no_mean(make, lines):
    net = make(data(0, 2))
    set_debug_info(net, True)
    net.forward()
    assert lines == ["[Forward] Layer data, top blob data data: nan"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ranks.set_solver_count(0), "0 solvers cannot train together"),
        (lambda: ranks.set_solver_rank(-1), "rank counts from 0; -1 is none"),
    ],
)
def test_numbers_of_solvers_that_cannot_be_are_refused(call, words):
    before = ranks.solver_count(), ranks.solver_rank()
    with pytest.raises(ValueError, match=words):
        call()
    assert (ranks.solver_count(), ranks.solver_rank()) == before
