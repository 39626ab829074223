"""Caffe's updates by PyTorch's kernels that update many parameters in one launch.

These kernels have the arguments of PyTorch's optimisers, which keep the rate out of the history;
what makes Caffe's rule of them is said beside each. CUDA's compute with factors of double
precision, and round less often than Caffe, which does after each step.
"""

from __future__ import annotations

import math

import torch

from ..compute.kept import kept


def _scale(value: float, device: torch.device) -> torch.Tensor | None:
    """`value` on the device, made there: to send it would make the host wait."""
    if value == 1:
        return None
    return _made(value, device)


@kept()
def _made(value: float, device: torch.device) -> torch.Tensor:
    return torch.full((), value, device=device)


def sgd(rate: float, decay: float, momentum: float, iter_size: int):
    """V ← momentum·V + rate·(g / iter_size + decay·W), W ← W − V, as `fused_rule` has it; None
    for a rate or a momentum that is not above 0.

    The kernel's is V ← momentum·V + (1 − dampening)·(g / scale + decay'·W), and 1 − dampening
    would round a small rate. With rate = m·2ᵉ, m from 0.5 to 1, dampening = 1 − m is exact, and
    so are the powers of two in scale = iter_size·2⁻ᵉ and decay' = decay·2ᵉ.
    """
    if not hasattr(torch, "_fused_sgd_") or not 0 < rate < math.inf:
        return None
    mantissa, exponent = math.frexp(rate)
    if abs(exponent) > 100 or not 0 < momentum < math.inf or not math.isfinite(decay):
        return None
    scale = iter_size * 2.0**-exponent

    def run(datas, diffs, histories, skipped):
        torch._fused_sgd_(
            datas, diffs, histories[0], weight_decay=decay * 2.0**exponent, momentum=momentum,
            lr=1.0, dampening=1 - mantissa, nesterov=False, maximize=False, is_first_step=False,
            grad_scale=_scale(scale, datas[0].device), found_inf=skipped,
        )  # fmt: skip
        return histories[0]

    return run


def adam(
    rate: float, decay: float, beta: tuple[float, float], delta: float, t: int, iter_size: int
):
    """AdamSolver's rule at its iteration `t` (from 1 on), as `fused_rule` has it, but that it does
    not tell what was subtracted; None for numbers with which the rule is not defined.

    The kernel's is W ← W − rate·M / (1 − beta₁ᵗ) / (√V / √(1 − beta₂ᵗ) + eps).
    """
    known = hasattr(torch, "_fused_adam_") and all(0 <= b < 1 for b in beta)
    if not known or not 0 < rate < math.inf or not math.isfinite(decay + delta):
        return None

    def run(datas, diffs, histories, skipped):
        device = datas[0].device
        means, squares = histories
        steps = [torch.full((), float(t), device=device)] * len(datas)
        torch._fused_adam_(
            datas, diffs, means, squares, [], steps,
            lr=rate, beta1=beta[0], beta2=beta[1], weight_decay=decay,
            eps=delta / math.sqrt(1 - beta[1] ** t), amsgrad=False, maximize=False,
            grad_scale=_scale(iter_size, device), found_inf=skipped,
        )  # fmt: skip
        return diffs

    return run
