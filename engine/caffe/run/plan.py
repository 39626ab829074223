"""The plan of a net's passes: what happens at each of its layers besides the layer's own work.

`passes.py` runs it. A layer is told how its tops are folded, whether its net is lean and whether it
masks its gradient (`Layer._folds`, `_lean`, `_masks`); the bases in `layers` see to that.
"""

from __future__ import annotations

from ..core.blob import Blob
from ..core.layer import Layer
from .early_updates import updated_after
from .fold_choice import FoldChoice
from .fold_plan import find_roots, plan_folds
from .masks import find_masks
from .releases import Releases
from .wiring import Wiring


class Step:
    """One layer's part in the forward and the backward pass."""

    __slots__ = (
        "number", "layer", "bottoms", "tops", "needs", "has_backward", "has_loss", "reach",
        "folds", "masks", "mask_done", "made_again", "released", "released_after_backward",
        "diffs_released", "forgets", "updated",
    )  # fmt: skip

    def __init__(self, wiring: Wiring, number: int, reach: list[int]):
        self.number = number
        self.layer: Layer = wiring.layers[number]
        self.bottoms: list[Blob] = wiring.bottoms[number]
        self.tops: list[Blob] = wiring.tops[number]
        self.needs: list[bool] = wiring.bottom_needs[number]
        """Per bottom, whether backward makes its diff."""
        self.has_backward: bool = wiring.layer_needs[number]
        self.has_loss = any(self.layer._loss_weights)
        self.reach = reach
        """The numbers of the layers whose folds are planned before this one's forward pass."""
        self.folds: list = [None] * len(self.tops)
        """Per top, the Fold that it is stored under at the shapes planned for; None: whole."""
        self.masks: Step | None = None
        """The step of the ReLU below whose backward pass this layer does on the way."""
        self.mask_done = False
        """This ReLU's backward pass was done on the way of another's since its forward pass."""
        self.made_again: list[Step] = []
        """What is run forward again before this layer's backward pass, in order."""
        self.released: list[Blob] = []
        """Whose data is given back after this layer's forward pass."""
        self.released_after_backward: list[Blob] = []
        """Whose data is given back after this layer's backward pass."""
        self.diffs_released: list[Blob] = []
        """Whose diff is given back after this layer's backward pass."""
        self.forgets = False
        """Whether the layer has something to forget after its last pass."""
        self.updated: list[int] = []
        """The numbers of the learnable parameters that may be updated after this layer's backward
        pass: nothing reads them or adds to their diffs after it."""


class Plan:
    """The steps of a net, one a layer.

    Folds are planned while a pass runs, where the bottoms of the layer that they begin at have
    other shapes than last time: layers that read data or that a user wrote say their shapes only
    when it is their turn.
    """

    def __init__(self, wiring: Wiring, lean: bool, folding: bool, measured: bool):
        self._wiring = wiring
        self._roots = find_roots(wiring) if folding else {}
        self._first_root = min(self._roots, default=None)
        self._planned_for: dict[int, tuple[list, bool]] = {}  # root -> bottoms' shapes, folded
        self._choice = FoldChoice() if measured and self._roots else None
        self.folds_now = True
        """Whether the present pass folds, which may be measured to be slower."""
        self.kept: set[str] = set()
        self.remade: set[str] = set()
        self.steps = [Step(wiring, k, self._roots.get(k, [])) for k in range(len(wiring.layers))]
        self.update_small_at_once(True)
        self.be_lean(lean)

    def update_small_at_once(self, at_once: bool) -> None:
        """Whether small parameters wait for the lowest layer, to be updated together, or are each
        told of as soon as their gradients are complete."""
        found = updated_after(self._wiring, at_once)
        for step in self.steps:
            step.updated = found.get(step.number, [])

    def be_lean(self, lean: bool) -> None:
        """Give memory back as soon as may be, or (as Caffe, and to show all in the log) not."""
        self.lean = lean
        masks = find_masks(self._wiring) if lean else {}
        for step in self.steps:
            below = masks.get(step.number)
            step.masks = None if below is None else self.steps[below]
            step.layer._lean, step.layer._masks = lean, below is not None
            step.forgets = lean and type(step.layer)._forget is not Layer._forget
        self._plan_releases()

    def keep(self, names) -> None:
        """Blobs of these names stay after the passes too."""
        self.kept.update(names)
        self._plan_releases()

    def recompute(self, names) -> None:
        """Blobs of these names are given back after the forward pass, and made again."""
        self.remake(self.remade.union(names))

    def remake(self, names) -> None:
        """`recompute`, for these blobs and no others."""
        self.remade = set(names)
        self._plan_releases()

    def _plan_releases(self) -> None:
        steps = self.steps
        if not self.lean:
            for step in steps:
                step.made_again, step.released = [], []
                step.released_after_backward, step.diffs_released = [], []
            return
        masked = {step.masks.number for step in steps if step.masks is not None}
        found = Releases(self._wiring, self.kept, self.remade, masked)
        for k, step in enumerate(steps):
            step.made_again = [steps[i] for i in found.before_backward[k]]
            step.released = found.after_forward[k]
            step.released_after_backward = found.after_backward[k]
            step.diffs_released = found.diffs_after_backward[k]

    @property
    def folds_somewhere(self) -> bool:
        """Whether there are layers whose padding may let tops be folded."""
        return bool(self._roots)

    def fold(self, step: Step) -> None:
        """Plan the folds from `step` on for its bottoms' present shapes. Only layers that it
        reaches are reshaped before their turn: none that a user wrote, none that reads data."""
        shapes = [blob.shape for blob in step.bottoms]
        if self._choice is not None and step.number == self._first_root:
            self.folds_now = self._choice.begin(shapes)
        self._fold_for(step, shapes)

    def _fold_for(self, step: Step, shapes: list) -> None:
        if self._planned_for.get(step.number) != (shapes, self.folds_now):
            found = plan_folds(self._wiring, step.reach, self.folds_now)
            for k, folds in zip(step.reach, found):
                self.steps[k].folds = folds
            self._planned_for[step.number] = shapes, self.folds_now

    def fold_all(self) -> None:
        """Plan the folds for the blobs' present shapes before a pass, without a measurement."""
        for root in self._roots:
            self._fold_for(self.steps[root], [blob.shape for blob in self.steps[root].bottoms])

    def end_pass(self) -> None:
        """A whole pass, which may be timed, is through: forward in TEST, forward and backward in
        TRAIN."""
        if self._choice is not None:
            self._choice.end()
