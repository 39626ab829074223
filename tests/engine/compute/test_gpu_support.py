"""Which GPUs a build of PyTorch can compute on, in words, by what PyTorch is made to say."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace

import pytest
import torch

import caffe
from caffe.command import devices
from caffe.command.flags import Flags
from caffe.compute import device, gpu_support, precision
from caffe.engine import InputError
from tests.helpers.emulated_gpu import emulated_gpus

CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
CUDA_12 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL"
)


@pytest.fixture
def cards(monkeypatch):
    """cards((name, capability), ..., builds=[...]): what PyTorch finds from now on."""

    def cards(*found, builds=CUDA_13):
        def choose(number):
            cards.chosen.append(number)

        for name, value in {
            "is_available": lambda: bool(found),
            "device_count": lambda: len(found),
            "get_device_capability": lambda number: found[number][1],
            "get_device_name": lambda number: found[number][0],
            "get_arch_list": lambda: list(builds),
            "set_device": choose,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    cards.chosen = []
    yield cards
    caffe.set_mode_cpu()
    device._state["number"] = 0


@pytest.mark.parametrize(
    ("card", "builds", "runs"),
    [
        ((9, 0), CUDA_13, True),
        ((8, 9), CUDA_13, True),  # sm_86's code
        ((8, 7), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((6, 1), CUDA_13, False),
        ((6, 1), CUDA_12, True),
        ((7, 0), CUDA_13, False),
        ((12, 0), CUDA_12, False),
        ((12, 0), [*CUDA_12, "compute_90"], True),
        ((6, 1), [*CUDA_13, "compute_120"], False),
        ((12, 1), ["sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((10, 3), ["sm_100f"], True),
        ((6, 1), [], True),
        ((6, 1), ["gfx90a"], True),
    ],
)
def test_a_card_runs_code_of_its_major_version_and_newer_cards_run_ptx(card, builds, runs):
    assert gpu_support.has_code_for(card, builds) == runs


@pytest.mark.parametrize("choose", [lambda: caffe.set_device(0), caffe.set_mode_gpu])
@pytest.mark.parametrize(
    ("card", "builds", "words"),
    [
        (("NVIDIA GeForce GTX 1060", (6, 1)), CUDA_13, "make setup TORCH='torch==2.7.1'"),
        (("NVIDIA GeForce RTX 5090", (12, 0)), CUDA_12, "take a newer PyTorch"),
        (("Tesla K80", (3, 7)), CUDA_13, "no PyTorch that the engine runs on has"),
    ],
)
def test_a_card_that_this_pytorch_has_no_code_for_is_refused(cards, choose, card, builds, words):
    cards(card, builds=builds)
    with pytest.raises(InputError) as caught:
        choose()
    line = str(caught.value)
    assert caught.value.exit_code == 2 and "\n" not in line
    capability = ".".join(map(str, card[1]))
    assert f"GPU 0 ({card[0]}) has compute capability {capability}" in line
    assert words in line and builds[0] in line and torch.__version__ in line
    assert device.current().type == "cpu" and cards.chosen == []


def test_a_card_beside_one_that_cannot_be_used_is_used(cards):
    cards(("old", (6, 1)), ("new", (8, 6)))
    caffe.set_device(1)
    with pytest.raises(InputError, match="GPU 0"):
        caffe.set_device(0)
    assert caffe.engine.gpu_trouble(1) is None


def test_device_query_shows_a_card_that_cannot_be_used_and_says_why(cards, monkeypatch, capfd):
    cards(("old", (6, 1)))
    facts = SimpleNamespace(name="old", major=6, minor=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: facts)
    monkeypatch.setenv("GLOG_minloglevel", "0")
    for text in ("0", "all"):
        devices.main(Flags(gpu=text))
        lines = capfd.readouterr().err.splitlines()
        assert any(re.search("Name: +old$", line) for line in lines)
        assert "GPU 0 (old) has compute capability 6.1, for which" in lines[-1]


def no_driver(monkeypatch, reason, version="13.0"):
    def init():
        raise RuntimeError(reason)

    def is_available():
        warnings.warn(reason, stacklevel=1)
        return False

    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "init", init)


def test_a_driver_that_is_too_old_is_named_with_its_version(monkeypatch, recwarn):
    no_driver(monkeypatch, TOO_OLD)
    with pytest.raises(InputError) as caught:
        caffe.set_device(0)
    line = str(caught.value)
    assert "driver knows CUDA up to 11.4 and is too old" in line and "CUDA 13.0" in line
    assert "update the driver" in line and "torch==2.7.1" in line and "\n" not in line
    assert not recwarn.list


def test_a_cuda_that_does_not_start_says_why(monkeypatch):
    no_driver(monkeypatch, "CUDA unknown error\nafter resume")
    assert caffe.engine.gpu_trouble() == "CUDA does not start: CUDA unknown error after resume"


@pytest.mark.parametrize(
    "reason",
    ["Found no NVIDIA driver on your system. Please check", "No CUDA GPUs are available"],
)
def test_a_machine_without_a_gpu_is_no_trouble(monkeypatch, reason):
    no_driver(monkeypatch, reason)
    assert caffe.engine.gpu_trouble() is None
    with pytest.raises(InputError, match="no such GPU: 0; this machine has 0 CUDA devices"):
        caffe.set_device(0)


def test_bfloat16_is_refused_on_a_gpu_that_does_not_multiply_it_in_either_order(cards):
    cards(("Quadro RTX 4000", (7, 5)), ("A100", (8, 0)))
    caffe.set_mode_gpu()
    with pytest.raises(InputError, match="GPU 0 .*7.5; precision 'bfloat16' needs 8.0"):
        caffe.engine.set_precision("bfloat16")
    assert precision.chosen() == "float32"
    caffe.set_device(1)
    caffe.engine.set_precision("bfloat16")
    with pytest.raises(InputError, match="GPU 0 .*bfloat16"):
        caffe.set_device(0)
    assert device.current() == torch.device("cuda", 1)
    caffe.set_mode_cpu()
    device._state["number"] = 0
    with pytest.raises(InputError, match="GPU 0 .*bfloat16"):
        caffe.set_mode_gpu()
    assert device.current().type == "cpu"


def test_the_device_is_pytorchs_too_so_that_no_context_is_made_on_gpu_0(cards):
    cards(("a", (8, 6)), ("b", (8, 6)))
    caffe.set_device(1)
    caffe.set_mode_gpu()
    assert cards.chosen == [1]
    caffe.set_device(0)
    assert cards.chosen == [1, 0]


def test_an_emulated_device_is_not_asked_of_pytorch():
    with emulated_gpus(2):
        caffe.set_device(1)
        caffe.set_mode_gpu()
        assert device.current() == torch.device("cuda", 1)
