"""Results on a GPU that are the same to the bit from run to run; `caffe.engine` names it."""

from __future__ import annotations

import os

import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_kept: dict = {}


def set_deterministic(on: bool) -> None:
    """Whether GPUs use only algorithms that give the same bits each time, so that a resumed
    training has the numbers of one that was never stopped (default: no; the CPU always does).

    Call it before the first product on a GPU: cuBLAS reads the variable that this sets
    (CUBLAS_WORKSPACE_CONFIG, unless the environment has it) when it starts. cuDNN's autotuning is
    turned off, as chance decides it. docs/gpu.md says what that costs. A layer for which PyTorch
    has no such algorithm (stochastic pooling) ends the pass with an error that names the operation.
    False gives PyTorch its settings from before back.
    """
    cudnn = torch.backends.cudnn
    fill = getattr(torch.utils, "deterministic", None)  # from PyTorch 2.2 on
    if on and not _kept:
        _kept["on"] = torch.are_deterministic_algorithms_enabled()
        _kept["cudnn"] = cudnn.benchmark, cudnn.deterministic
        _kept["fill"] = fill and fill.fill_uninitialized_memory
        _kept["workspace"] = os.environ.get(_WORKSPACE)
    if on:
        os.environ.setdefault(_WORKSPACE, ":4096:8")
        torch.use_deterministic_algorithms(True)
        cudnn.benchmark, cudnn.deterministic = False, True
        if fill:  # nothing here reads memory before it is written: filling it only takes time
            fill.fill_uninitialized_memory = False
    elif _kept:
        torch.use_deterministic_algorithms(_kept["on"])
        cudnn.benchmark, cudnn.deterministic = _kept["cudnn"]
        if fill:
            fill.fill_uninitialized_memory = _kept["fill"]
        if _kept["workspace"] is None:
            os.environ.pop(_WORKSPACE, None)
        _kept.clear()


def is_on() -> bool:
    """Whether `set_deterministic` was turned on."""
    return bool(_kept)
