"""The stage `check`: rounding passes, other arithmetic does not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.emulated_gpu import emulated_gpus
from tools.common.cli import Failure
from tools.gpu import check, machine


class Tf32(TorchDispatchMode):
    """Rounds the factors of convolutions and matrix products to TF32's 10 bits."""

    PRODUCTS = ("convolution", "mkldnn", "addmm", "aten.mm", "bmm")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(name in str(function) for name in self.PRODUCTS):
            args = [self.rounded(a) if i < 3 else a for i, a in enumerate(args)]
        return function(*args, **(kwargs or {}))

    @staticmethod
    def rounded(value):
        if not torch.is_tensor(value) or value.dim() < 2:
            return value
        bits = value.contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.fixture
def job(tmp_path):
    told = []
    return SimpleNamespace(
        gpu=None,
        folder=tmp_path,
        told=told,
        say=lambda line: None,
        result=lambda kind, **values: told.append({"kind": kind, **values}),
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return check.train(tmp_path_factory.mktemp("check"), None)[0]


def worst(expected, got):
    return max(check.deviation(expected[name], got[name]) for name in expected)


def test_the_same_side_twice_agrees_and_has_learned(job):
    check.run(job)
    losses, *parameters = job.told
    assert losses["cpu"] == losses["other"] and losses["cpu"][-1] < 0.6 * losses["cpu"][0]
    assert len(parameters) == 8 and all(p["deviation"] == 0 for p in parameters)


def test_an_emulated_gpu_agrees(tmp_path, expected):
    with emulated_gpus(1):
        machine.use(0)
        got, _ = check.train(tmp_path, 0)
    assert worst(expected, got) < check.LIMIT / 10


def test_inputs_that_are_off_by_ten_times_rounding_stay_within_the_limit(
    tmp_path, expected, monkeypatch
):
    pictures, labels = check.inputs()
    off = 1e-5 * np.random.RandomState(0).uniform(-1, 1, pictures.shape)
    changed = (pictures * (1 + off)).astype(np.float32)
    monkeypatch.setattr(check, "inputs", lambda: (changed, labels))
    assert 0 < worst(expected, check.train(tmp_path, None)[0]) < check.LIMIT / 2


def test_factors_rounded_to_tf32_are_beyond_the_limit(tmp_path, expected):
    with Tf32():
        got, _ = check.train(tmp_path, None)
    assert worst(expected, got) > 10 * check.LIMIT


def test_a_side_that_deviates_fails_the_stage_after_all_its_results(job, monkeypatch):
    train, sides = check.train, iter((False, True))

    def tampered(folder, gpu):
        parameters, losses = train(folder, gpu)
        if next(sides):
            parameters["score[1]"][1][2] += 0.1
        return parameters, losses

    monkeypatch.setattr(check, "train", tampered)
    with pytest.raises(Failure, match="a parameter deviates by"):
        check.run(job)
    assert "| score[1] | 4 | " in check.markdown(job.told)
    assert check.markdown(job.told).count("**no**") == 1


def test_a_side_with_nan_or_that_learns_nothing_deviates_without_limit():
    before, after = np.zeros(2), np.ones(2)
    assert not check.deviation((before, after), (before, np.array([1, np.nan]))) <= check.LIMIT
    assert check.deviation((before, after), (before, before)) == 1
    assert check.deviation((before, before), (before, before)) == float("inf")


@pytest.mark.slow
def test_any_prefix_of_the_results_can_be_shown(job):
    check.run(job)
    texts = [check.markdown(job.told[:n]) for n in range(len(job.told) + 1)]
    assert texts[0] == "" and "upscore[1]" in texts[-1]
    assert check.main_figure([]) is None and "0.0e+00" in check.main_figure(job.told)
