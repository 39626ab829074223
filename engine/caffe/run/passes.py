"""A net's passes, layer by layer, and what happens between the layers."""

from __future__ import annotations

import torch

from ..compute import device as _device
from ..compute.gpu_errors import named_gpu_errors
from ..core.blob import Blob
from ..core.layer import TEST
from .fold_plan import plan_folds
from .lean import Releases, join_relus, part_relus


def _overwritten(layer, made: list[Blob], read: list[Blob], part: str) -> list:
    """Mark the memories of the blobs that a native layer makes of others, in a pass on a GPU: what
    the host wrote there, or may have (somebody looked at it), need not go there before, and new
    memory need not be zeros. Layers write all of what they make, or nothing."""
    if layer.type == "Python":
        return []
    stale = [memory for blob in made if (memory := getattr(blob, part)).host_only or memory.blank]
    if stale:
        used = [getattr(blob, part) for blob in read]
        stale = [memory for memory in stale if memory not in used]
    for memory in stale:
        memory.overwritten = True
    return stale


def _settle(memories: list) -> None:
    """What the layer did not write after all is the host's still."""
    for memory in memories:
        memory.overwritten = False


class Passes:
    """The part of Net that runs its layers."""

    _folds_now = True
    """Whether the present pass folds, which may be measured to be slower."""

    def _be_lean(self, lean: bool) -> None:
        """Give memory back as soon as may be, or (as Caffe, and to show all in the log) not."""
        self._lean = lean
        for layer in self.layers:
            layer._lean = lean
        join_relus(self) if lean else part_relus(self)
        self._plan_releases()

    def _plan_releases(self, kept=(), remade=()) -> None:
        """Plan what is given back when. In a lean net that is all but the blobs that `kept` and
        earlier calls named; those that `remade` and earlier calls named are made again."""
        self._kept.update(kept)
        self._remade.update(remade)
        self._releases = Releases(self, self._kept, self._remade) if self._lean else None

    def _plan_folds(self, root: int) -> None:
        """Plan anew where the bottoms of layer `root` have other shapes than last time. Only
        layers that it reaches are reshaped before their turn: none that a user wrote, none that
        reads data."""
        shapes = [blob.shape for blob in self._bottoms[root]]
        if self._fold_choice is not None and root == min(self._fold_roots):
            self._folds_now = self._fold_choice.begin(shapes)
        if self._folded_for.get(root) != (shapes, self._folds_now):
            plan_folds(self, self._fold_roots[root], self._folds_now)
            self._folded_for[root] = shapes, self._folds_now

    def _end_pass(self) -> None:
        """A whole pass, which may be timed, is through: forward in TEST, forward and backward in
        TRAIN."""
        if self._fold_choice is not None:
            self._fold_choice.end()

    def _forward(self, start: int, end: int) -> float:
        """Run layers start..end (inclusive); return the weighted sum of their losses."""
        return float(self._forward_unread(start, end))

    @named_gpu_errors
    def _forward_unread(self, start: int, end: int):
        """`_forward`, but on a GPU, which is then not waited for, a 0-d float64 tensor."""
        loss, on_gpu = 0.0, _device.current().type != "cpu"
        before, after = self._callbacks["before_forward"], self._callbacks["after_forward"]
        for i in range(start, end + 1):
            for callback in before:
                callback(i)
            layer, bottom, top = self.layers[i], self._bottoms[i], self._tops[i]
            layer.reshape(bottom, top)
            if i in self._fold_roots:
                self._plan_folds(i)
            if on_gpu:
                stale = _overwritten(layer, top, bottom, "_data")
                layer.forward(bottom, top)
                _settle(stale)
                if not bottom or layer.type == "Python":
                    for blob in top:
                        blob.send()
            else:
                layer.forward(bottom, top)
            if i in self._loss_layers:
                for j, weight in enumerate(layer.loss_weights):
                    if weight:
                        loss = loss + self._weighted(i, j, top[j], weight)
            for callback in after:
                callback(i)
            if self._releases:
                for blob in self._releases.after_forward[i]:
                    blob.release()
        if self.phase == TEST and end == len(self.layers) - 1:
            self._end_pass()
        return loss.double() if isinstance(loss, torch.Tensor) and on_gpu else float(loss)

    def _weighted(self, i: int, j: int, blob: Blob, weight: float):
        if self._loss_filled[i, j] != (blob._diff, blob.count):  # it was reshaped
            self._fill_loss_weight(i, j, blob, weight)
        return (blob.read() * blob.read_diff()).sum()

    def _fill_loss_weight(self, i: int, j: int, blob: Blob, weight: float) -> None:
        blob.write_diff().fill_(weight)
        self._loss_filled[i, j] = blob._diff, blob.count

    @named_gpu_errors
    def _backward(self, start: int, end: int, done=None) -> None:
        """Run backward through layers start down to end (inclusive); call `done(layer number)`
        after each."""
        before, after = self._callbacks["before_backward"], self._callbacks["after_backward"]
        on_gpu = _device.current().type != "cpu"
        for i in range(start, end - 1, -1):
            for callback in before:
                callback(i)
            if self._releases:
                for k in self._releases.before_backward[i]:
                    self.layers[k]._forward_again(self._bottoms[k], self._tops[k])
            if self._layer_needs[i]:
                self._backward_layer(i, on_gpu)
            for callback in after:
                callback(i)
            if done is not None:
                done(i)
            if self._releases:
                for blob in self._releases.after_backward[i]:
                    blob.release()
                for blob in self._releases.diffs_after_backward[i]:
                    blob.release_diff()
        if start == len(self.layers) - 1 and end == 0:
            self._end_pass()

    def _backward_layer(self, i: int, on_gpu: bool) -> None:
        layer, bottom, top = self.layers[i], self._bottoms[i], self._tops[i]
        if not on_gpu:
            layer.backward(top, self._bottom_needs[i], bottom)
            return
        needed = [blob for blob, needs in zip(bottom, self._bottom_needs[i]) if needs]
        stale = _overwritten(layer, needed, top, "_diff")
        layer.backward(top, self._bottom_needs[i], bottom)
        _settle(stale)
        if layer.type == "Python":
            for blob in needed:
                blob.send_diff()

    def before_forward(self, callback) -> None:
        """Call `callback(layer index)` before each layer's forward."""
        self._callbacks["before_forward"].append(callback)

    def after_forward(self, callback) -> None:
        self._callbacks["after_forward"].append(callback)

    def before_backward(self, callback) -> None:
        self._callbacks["before_backward"].append(callback)

    def after_backward(self, callback) -> None:
        self._callbacks["after_backward"].append(callback)
