"""The update of a solver's parameters from their gradients."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import torch

from ..compute.transfers import Fetching
from ..errors import Error
from ..log import log

if TYPE_CHECKING:
    from ..core.blob import Blob
    from ..net import Net


def per_pass(param) -> float:
    """What a sum over iter_size passes becomes a mean by; infinite for none, as in Caffe."""
    return 1.0 / param.iter_size if param.iter_size else math.inf


class ParamUpdates:
    """The part of Solver that turns gradients into updates and subtracts them.

    On a GPU, solvers with a rule that PyTorch computes in one kernel (`fused_update`) do so, for
    all parameters at once whose multipliers are equal; all others, and the CPU, go step by step.
    """

    net: Net
    param: Any
    """The SolverParameter."""
    _history: list[Blob]
    histories = 1
    rests_at_zero = False
    """With a rate of 0 and no gradient, the rule leaves a parameter without history as it is."""
    fused_rule_shows = True
    """What `fused_rule` returns is what was subtracted."""
    _norms: deque[Fetching]
    """Joint L2 norms of gradients on their way to the host, to be logged there."""
    _guard: torch.Tensor | None
    """A 0-d bool tensor on the device: False leaves parameters and history as they are."""
    _resting: set[int] | None = None
    """The parameters of lr_mult 0 that have no history; None: not looked for since a restore."""

    def _keeps_diffs(self) -> bool:
        raise NotImplementedError

    def _update(self, numbers, rate: float) -> None:
        """Update the parameters of these numbers. A lean net's diffs are gone then."""
        learnable, keeps = self.net._learnable, self._keeps_diffs()
        moving = [i for i in numbers if not self._rests(i)]
        alike: dict[tuple[float, float], list[int]] = {}
        for i in moving:
            alike.setdefault(learnable.multipliers(i), []).append(i)
        for (lr_mult, decay_mult), members in alike.items():
            decay = self.param.weight_decay * decay_mult
            if not self._update_fused(members, rate * lr_mult, decay, keeps):
                for i in members:
                    self._update_one(i, rate * lr_mult, decay, keeps)
        if not keeps:
            for i in numbers:
                learnable.blobs[i].release_diff()

    def _update_one(self, i: int, rate: float, decay: float, keeps: bool) -> None:
        blob = self.net._learnable.blobs[i]
        data, diff = blob.write(), blob.write_diff()
        guard = self._guard
        changed = () if guard is None else (data, *self._histories(i))
        before = [tensor.clone() for tensor in changed]
        if self.param.iter_size != 1:
            diff.mul_(per_pass(self.param))
        self._regularize(data, diff, decay)
        update = self.update_value(i, diff, rate)
        data.sub_(update)
        if update is not diff and (keeps or not blob.diff_can_go):
            diff.copy_(update)
        if guard is not None:
            for tensor, old in zip((data, *self._histories(i)), before):
                tensor.copy_(torch.where(guard, tensor, old))

    def _histories(self, i: int) -> list[torch.Tensor]:
        """The history of parameter `i`, to be changed in place."""
        count = len(self._history) // self.histories
        return [self._history[i + k * count].write() for k in range(self.histories)]

    def _update_fused(self, members, rate: float, decay: float, keeps: bool) -> bool:
        """Update parameters of one rate and decay in one kernel, or return False."""
        blobs = [self.net._learnable.blobs[i] for i in members]
        device = blobs[0].write().device
        shown = [keeps or not blob.diff_can_go for blob in blobs]
        if device.type == "cpu" or self.param.iter_size < 1:
            return False
        if any(shown) and not self.fused_rule_shows:
            return False
        l1 = bool(decay) and self.param.regularization_type == "L1"
        rule = self.fused_rule(rate, 0.0 if l1 else decay, 1 if l1 else self.param.iter_size)
        if rule is None:
            return False
        # Flat, since the kernel wants the same strides everywhere, of axes of size 1 too.
        datas = [blob.write().view(-1) for blob in blobs]
        diffs = [blob.write_diff().view(-1) for blob in blobs]
        histories = list(zip(*([h.view(-1) for h in self._histories(i)] for i in members)))
        if l1:
            for one, diff in zip(datas, diffs):
                if self.param.iter_size != 1:
                    diff.mul_(per_pass(self.param))
                self._regularize(one, diff, decay)
        updates = rule(datas, diffs, histories, self._skipped(device))
        pairs = [pair for pair, show in zip(zip(diffs, updates), shown) if show]
        if pairs:
            torch._foreach_copy_([diff for diff, _ in pairs], [update for _, update in pairs])
        return True

    def _skipped(self, device: torch.device) -> torch.Tensor | None:
        """The guard as PyTorch's kernels want it: 1.0 where nothing is to be updated."""
        if self._guard is None:
            return None
        return torch.logical_not(self._guard, out=torch.empty((), device=device))

    def _rests(self, i: int) -> bool:
        """Whether the update of parameter `i` would change nothing, so that it is left out: its
        rate, gradient and history are 0 (and its numbers finite)."""
        if not self.rests_at_zero:
            return False
        if self._resting is None:
            self._resting = {
                k for k, lr in enumerate(self.net._learnable.lr_mult) if not lr and self._is_new(k)
            }
        return i in self._resting and self.net._learnable.blobs[i].diff_is_zero

    def _is_new(self, i: int) -> bool:
        memory = self._history[i]._data
        return memory.blank or not memory.host(write=False).any()

    def fused_rule(self, rate: float, decay: float, iter_size: int):
        """The update of several parameters in one kernel, as a function of (datas, diffs, their
        histories, `skipped`: 1.0 on the device where nothing is to change) that changes all but the
        last in place and returns what was subtracted; None where there is no such kernel."""
        return None

    def _clip(self, blobs) -> None:
        """Scale all gradients down when their joint L2 norm is above clip_gradients."""
        limit = self.param.clip_gradients
        if limit < 0:
            return
        diffs = [blob.write_diff() for blob in blobs]
        norm = torch.stack([diff.norm() for diff in diffs]).norm()
        scale: float | torch.Tensor
        if norm.device.type == "cpu":
            scale = self._log_clipping(float(norm))
        else:
            self._norms.append(Fetching([norm]))
            self._log_clippings(wait=False)
            # A norm that is no number scales nothing, as in Caffe.
            scale = (limit / norm.double()).clamp_(max=1).nan_to_num_(nan=1.0).float()
        for diff in diffs if isinstance(scale, torch.Tensor) or scale != 1 else ():
            diff.mul_(scale)

    def _log_clippings(self, wait: bool) -> None:
        """Log what came of the gradients' norms that a GPU has found so far, or of all."""
        while self._norms and (wait or self._norms[0].arrived()):
            self._log_clipping(float(self._norms.popleft().arrays()[0]))

    def _log_clipping(self, norm: float) -> float:
        """The factor for gradients of this joint L2 norm; a line where they are too large."""
        limit = self.param.clip_gradients
        if not norm > limit:
            return 1.0
        scale = limit / norm
        log(
            f"Gradient clipping: scaling down gradients (L2 norm {norm:.6g} > {limit:.6g}) "
            f"by scale factor {scale:.6g}"
        )
        return scale

    def _regularize(self, data, diff, decay: float) -> None:
        if not decay:
            return
        if self.param.regularization_type == "L2":
            diff.add_(data, alpha=decay)
        else:
            diff.add_(data.sign(), alpha=decay)

    def update_value(self, index: int, diff: torch.Tensor, rate: float) -> torch.Tensor:
        """What is to be subtracted from parameter `index`, whose gradient is `diff`: in `diff`,
        which may change, or in the parameter's history."""
        raise Error(f"{type(self).__name__} has no update rule")
