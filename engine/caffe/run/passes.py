"""A net's passes, forward and backward: two loops over the steps of its plan."""

from __future__ import annotations

import contextlib

import torch

from ..compute import device as _device
from ..compute.allocator import another_size
from ..compute.gpu_errors import named_gpu_errors
from ..core.blob import Blob
from ..core.layer import TEST
from .plan import Plan, Step


@contextlib.contextmanager
def _overwriting(layer, made: list[Blob], read: list[Blob], part: str):
    """Context in which a native layer makes blobs of others, in a pass on a GPU: what the host
    wrote there, or may have (somebody looked at it), need not go there before, and new memory need
    not be zeros. Layers write all of what they make, or nothing: that is the host's still."""
    marked = []
    if layer.type != "Python":
        memories = [getattr(blob, part) for blob in made]
        used = [getattr(blob, part) for blob in read]
        marked = [m for m in memories if (m.host_only or m.blank) and m not in used]
    for memory in marked:
        memory.overwritten = True
    try:
        yield
    finally:
        for memory in marked:
            memory.overwritten = False


def _forward_on_gpu(step: Step) -> None:
    with _overwriting(step.layer, step.tops, step.bottoms, "_data"):
        step.layer.forward(step.bottoms, step.tops)
    if not step.bottoms or step.layer.type == "Python":
        for blob in step.tops:
            blob.send()


def _backward_step(step: Step, on_gpu: bool) -> None:
    if step.mask_done:
        step.mask_done = False
        return
    if on_gpu:
        _backward_on_gpu(step)
    else:
        step.layer.backward(step.tops, step.needs, step.bottoms)
    if step.masks is not None:
        step.masks.mask_done = True


def _backward_on_gpu(step: Step) -> None:
    needed = [blob for blob, needs in zip(step.bottoms, step.needs) if needs]
    with _overwriting(step.layer, needed, step.tops, "_diff"):
        step.layer.backward(step.tops, step.needs, step.bottoms)
    if step.layer.type == "Python":
        for blob in needed:
            blob.send_diff()


class Passes:
    """The passes of the net that `plan` is for."""

    def __init__(self, plan: Plan, phase: int):
        self.plan, self.phase = plan, phase
        self.callbacks: dict[str, list] = {
            key: []
            for key in ("before_forward", "after_forward", "before_backward", "after_backward")
        }
        """Functions of a layer's number, called around its passes."""
        self._sources = [blob for step in plan.steps if not step.bottoms for blob in step.tops]
        self._size: list[tuple] = []
        """The shapes of what the net is fed with, in its last whole pass."""
        self._loss_filled: dict[tuple[int, int], tuple] = {}
        """By layer and top of a loss: the diff memory, and its count, that hold the weight."""
        for step in plan.steps:
            for j, weight in enumerate(step.layer._loss_weights):
                if weight:
                    self._fill_loss_weight(step.number, j, step.tops[j], weight)

    @named_gpu_errors
    def forward(self, start: int, end: int):
        """Run layers start..end (inclusive); return the weighted sum of their losses: a number,
        or on a GPU, which is not waited for, a 0-d float64 tensor."""
        loss, on_gpu = 0.0, _device.current().type != "cpu"
        before, after = self.callbacks["before_forward"], self.callbacks["after_forward"]
        for step in self.plan.steps[start : end + 1]:
            for callback in before:
                callback(step.number)
            step.layer.reshape(step.bottoms, step.tops)
            if step.reach:
                self.plan.fold(step)
            step.mask_done = False
            if on_gpu:
                _forward_on_gpu(step)
            else:
                step.layer.forward(step.bottoms, step.tops)
            if step.has_loss:
                for j, weight in enumerate(step.layer._loss_weights):
                    if weight:
                        loss = loss + self._weighted(step.number, j, step.tops[j], weight)
            for callback in after:
                callback(step.number)
            if step.forgets and step.layer.phase == TEST:
                step.layer._forget()
            for blob in step.released:
                blob.release()
        if end == len(self.plan.steps) - 1:
            self._note_size()
            if self.phase == TEST:
                self.plan.end_pass()
        return loss.double() if isinstance(loss, torch.Tensor) and on_gpu else float(loss)

    def _note_size(self) -> None:
        size = [blob.shape for blob in self._sources]
        if size != self._size:
            self._size = size
            another_size()

    def _weighted(self, i: int, j: int, blob: Blob, weight: float):
        if self._loss_filled[i, j] != (blob._diff, blob.count):  # it was reshaped
            self._fill_loss_weight(i, j, blob, weight)
        return (blob.read() * blob.read_diff()).sum()

    def _fill_loss_weight(self, i: int, j: int, blob: Blob, weight: float) -> None:
        blob.write_diff().fill_(weight)
        self._loss_filled[i, j] = blob._diff, blob.count

    @named_gpu_errors
    def backward(self, start: int, end: int, update=None) -> None:
        """Run backward through layers start down to end (inclusive); with `update`, a function of
        the numbers of learnable parameters, update each as soon as that may be."""
        before, after = self.callbacks["before_backward"], self.callbacks["after_backward"]
        on_gpu = _device.current().type != "cpu"
        for step in reversed(self.plan.steps[end : start + 1]):
            for callback in before:
                callback(step.number)
            for earlier in step.made_again:
                earlier.layer._forward_again(earlier.bottoms, earlier.tops)
            if step.has_backward:
                _backward_step(step, on_gpu)
                if step.forgets:
                    step.layer._forget()
            for callback in after:
                callback(step.number)
            if update is not None and step.updated:
                update(step.updated)
            for blob in step.released_after_backward:
                blob.release()
            for blob in step.diffs_released:
                blob.release_diff()
        if start == len(self.plan.steps) - 1 and end == 0:
            self.plan.end_pass()
