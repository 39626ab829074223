"""What differs between two ranks, in words."""

from __future__ import annotations

import json

import pytest

from caffe.proto import text
from caffe.training.agreement import difference, facts, only_gradients
from tests.helpers.net_texts import data, ip, layer

NET = (
    data(4, 3) + data(4, name="label") + ip("ip", "data", 3)
    + layer("loss", "SoftmaxWithLoss", ["ip", "label"])
)  # fmt: skip
SOLVER = 'net: "net.prototxt" base_lr: 0.3 lr_policy: "fixed" momentum: 0.9 snapshot_prefix: "s" '


@pytest.fixture
def found(make_solver):
    """found(net, solver text, version, gradients) -> the facts, as they come to another rank."""

    def found(net=NET, solver=SOLVER, version="1", gradients="float32"):
        made = facts(make_solver(net, solver), version, gradients)
        return json.loads(json.dumps(made))

    return found


def test_ranks_that_only_save_and_show_otherwise_are_alike(found):
    other = SOLVER.replace('"s"', '"elsewhere/s"') + "display: 7 average_loss: 3"
    assert difference(found(), found(solver=other)) is None


@pytest.mark.parametrize("change, said", [
    ({"version": "2"}, "its engine is 1, rank 0's 2"),
    ({"gradients": "bfloat16"}, "its gradients is float32, rank 0's bfloat16"),
    ({"solver": SOLVER + "iter_size: 2"}, "its solver has iter_size: 1, rank 0's 2"),
    ({"solver": SOLVER.replace("0.3", "0.4")}, "its solver has base_lr: 0.3"),
    ({"net": NET.replace("num_output: 3", "num_output: 4")},
     "layer 'ip' has the parameters 3x3, 3, in rank 0 4x3, 4"),
    ({"net": NET.replace('"ip"', '"pi"')}, "layer 'ip' has the name ip, in rank 0 pi"),
    ({"net": NET + layer("more", "Power", ["loss"])}, "it has 4 layers, rank 0's 5"),
    ({"net": NET.replace('name: "ip"', 'name: "ip" param { lr_mult: 2 }')},
     "layer 'ip' has other settings than in rank 0"),
])  # fmt: skip
def test_what_differs_is_named(found, change, said):
    assert said in difference(found(), found(**change))


def test_another_list_of_items_is_told_by_its_layer(found):
    mine, first = found(), found()
    mine["data"], first["data"] = ({"data": {"items": n, "manner": {}}} for n in (17, 18))
    assert "layer 'data' reads other data" in difference(mine, first)


def test_other_pixels_of_the_same_items_are_told_by_their_key(found):
    mine, first = found(), found()
    mine["data"], first["data"] = (
        {"data": {"items": 17, "manner": {"shrink": 1, "mirror": on}}} for on in (False, True)
    )
    assert difference(mine, first) == "layer 'data' has mirror False, rank 0's True"


def test_a_process_that_only_gives_gradients_tests_shows_and_saves_nothing():
    param = text.parse_solver(
        SOLVER + "snapshot: 3 display: 1 test_interval: 2 test_iter: 4 debug_info: true"
    )
    only_gradients(param)
    assert not (param.snapshot or param.display or param.test_interval or param.test_iter)
    assert not param.snapshot_after_train and not param.debug_info
