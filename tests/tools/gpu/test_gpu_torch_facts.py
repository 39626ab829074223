"""What PyTorch is asked of a GPU, with a card that is not there."""

from __future__ import annotations

import mmap
from types import SimpleNamespace

import pytest
import torch

from tools.common.cli import UserError
from tools.gpu import torch_facts


@pytest.fixture
def card(monkeypatch):
    """PyTorch as it speaks where there is a card, as far as the facts ask it."""
    properties = SimpleNamespace(
        name="NVIDIA H100 80GB HBM3", major=9, minor=0, total_memory=85e9, multi_processor_count=132
    )
    changes = {
        "get_device_properties": lambda gpu: properties,
        "mem_get_info": lambda gpu: (84_000_000_000, 85_000_000_000),
        "get_arch_list": lambda: ["sm_80", "sm_90"],
        "max_memory_allocated": lambda gpu: 793,
        "max_memory_reserved": lambda gpu: 900,
    }
    for name, function in changes.items():
        monkeypatch.setattr(torch.cuda, name, function)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)


def test_the_facts_name_card_capability_and_architectures(card):
    facts = torch_facts.facts(0)
    assert facts["card"] == "NVIDIA H100 80GB HBM3" and facts["compute capability"] == "9.0"
    assert facts["cuDNN"] == "9.10.2" and facts["in use, with this process's context"] == "1,000 MB"
    assert facts["kernels in PyTorch for"] == ["sm_80", "sm_90"]


def test_peaks_are_pytorchs_and_the_drivers_count(card):
    assert torch_facts.peaks(0) == {"allocated": 793, "reserved": 900, "driver": 1_000_000_000}


@pytest.mark.slow
def test_on_the_cpu_the_peak_is_the_processs_and_can_be_counted_anew():
    held = mmap.mmap(-1, 200_000_000)  # given back to the system at once, unlike malloc's
    held.write(b"x" * len(held))
    high = torch_facts.peaks(None)
    if high["driver"] is None:
        pytest.skip("this system does not tell a process's peak memory")
    held.close()
    torch_facts.reset_peaks(None)
    low = torch_facts.peaks(None)
    assert low["allocated"] is None and low["reserved"] is None
    assert high["driver"] - low["driver"] > 100_000_000
    torch_facts.synchronize(None)
    torch_facts.empty_cache(None)


def test_the_drivers_version_is_read_from_the_kernel_module(tmp_path):
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC 13"
    )
    assert torch_facts.driver_version(tmp_path / "version").startswith("580.65.06")


def test_a_card_that_cannot_run_a_kernel_is_refused_with_the_reason(monkeypatch):
    def refuse(*args, **more):
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with …")

    monkeypatch.setattr(torch, "ones", refuse)
    with pytest.raises(UserError, match=r"cannot run on it \(CUDA error: no kernel image is avail"):
        torch_facts.try_out(0)
