"""The switch for the same bits each time: what PyTorch is told, and that False takes it back."""

from __future__ import annotations

import os

import pytest
import torch

import caffe
from caffe import command
from caffe.compute import determinism
from caffe.engine import InputError
from tests.helpers.net_texts import data, ip, losses

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def told():
    cudnn, fill = torch.backends.cudnn, torch.utils.deterministic.fill_uninitialized_memory
    return (torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic,
            fill, os.environ.get(VARIABLE))  # fmt: skip


@pytest.fixture(autouse=True)
def switched_off(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    yield
    caffe.engine.set_deterministic(False)


def test_pytorch_is_told_all_of_it_and_gets_its_own_settings_back():
    torch.backends.cudnn.benchmark = True
    try:
        before = told()
        for _ in range(2):
            caffe.engine.set_deterministic(True)
            assert told() == (True, False, True, False, ":4096:8") and determinism.is_on()
        caffe.engine.set_deterministic(False)
        assert told() == before and not determinism.is_on()
    finally:
        torch.backends.cudnn.benchmark = False


def test_a_workspace_that_the_environment_names_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, ":16:8")
    caffe.engine.set_deterministic(True)
    assert os.environ[VARIABLE] == ":16:8"
    caffe.engine.set_deterministic(False)
    assert os.environ[VARIABLE] == ":16:8"


def test_autotuning_is_refused_beside_it():
    caffe.engine.set_deterministic(True)
    with pytest.raises(InputError, match=r"set_deterministic\(False\) first"):
        caffe.engine.set_autotuning(True)
    caffe.engine.set_autotuning(False)


@pytest.mark.parametrize("flag, on", [("-deterministic", True), ("--deterministic=false", False)])
def test_the_tool_has_a_flag_for_it(write, monkeypatch, flag, on):
    write(data(4, 3) + data(4, name="label") + ip("ip", "data") + losses())
    write('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 solver_mode: CPU '
          "snapshot_after_train: false", "solver.prototxt")  # fmt: skip
    seen = []
    monkeypatch.setattr(determinism, "set_deterministic", seen.append)
    with pytest.raises(SystemExit) as caught:
        command.main(["train", flag, "-solver", "solver.prototxt"])
    assert caught.value.code == 0 and seen == [on]
