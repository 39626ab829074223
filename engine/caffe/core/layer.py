"""Layer: what every layer is, native or written by a user in Python."""

from __future__ import annotations

from ..compute.folding import LayerFold, Window
from ..errors import InputError
from ..log import WARNING, log
from .blob import Blob

TRAIN, TEST = 0, 1


class BlobVec(list):
    """A layer's parameter blobs, with pycaffe's `add_blob`."""

    def add_blob(self, *shape: int) -> Blob:
        blob = Blob(*shape)
        self.append(blob)
        return blob


class Layer:
    """Setup, reshape, forward and backward over bottom and top blobs; nothing else.

    Subclasses override the four methods. `bottom` and `top` are lists of `Blob`. Native layers
    use the blobs' tensors (`read`, `write`, `read_diff`, `write_diff`), user layers written in
    Python their NumPy views (`data`, `diff`).

    * `setup` runs once: check parameters, make parameter blobs.
    * `reshape` runs before every forward: give the tops their shapes.
    * `backward` overwrites `bottom[i].diff` where `propagate_down[i]`, and adds to the diff of
      parameter i where `param_propagate_down[i]`.
    """

    num_bottom: tuple[int, int | None] = (0, None)
    """Fewest and most bottoms (None: no limit)."""
    num_top: tuple[int, int | None] = (0, None)
    """Fewest and most tops (None: no limit)."""
    equal_bottoms_tops = False
    """As many tops as bottoms."""
    auto_tops = False
    """Tops that the prototxt leaves out are made anonymously, up to `num_top`'s fewest."""
    is_loss = False
    """The first top has loss weight 1 unless the prototxt says otherwise."""
    _keeps_tops = False
    """Its tops share memory with what it keeps from pass to pass."""
    _passes_positive = False
    """Its gradient passes where its top is above 0, and nowhere else."""
    _can_mask = False
    """It can do the backward pass of a ReLU below on the way of its own."""
    _repeats = False
    """Its forward pass can be run again in backward, and makes the same tops again."""
    _reads_folded = False
    """It reads its bottoms as they are stored: one that is folded stays so."""
    allow_force_backward: tuple[bool, ...] = ()
    """Per bottom: whether `force_backward` reaches it; True beyond the tuple's end."""
    param_str: str
    """Of a layer written in Python: what the prototxt's python_param gives it."""

    def __init__(self, layer_param=None, phase: int = TEST):
        self.layer_param = layer_param
        self.phase = phase
        self.blobs = BlobVec()
        self.param_propagate_down: list[bool] = []
        self.loss_weights: list[float] = []
        self._folds: list[LayerFold | None] = []
        """How each top is made folded, where it is; see `fold_plan`."""
        self._made: dict[int, LayerFold | None] = {}
        """How each top was made in the last forward pass, of a layer that makes folded ones."""
        self._again = False
        self._masks = False
        """Whether it does: backward passes the top's diff only where the top is above 0."""
        self._lean = False
        """Whether its net is lean: diffs of folded blobs are folded too, and what backward has
        used may be forgotten."""

    @property
    def type(self) -> str:
        return self.layer_param.type

    @property
    def name(self) -> str:
        return self.layer_param.name

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass

    def _fold_now(self, i: int, bottom: Blob) -> LayerFold | None:
        """How top `i` is made of `bottom` now: folded, if that still is as was planned; when it
        is made again, as it was made before."""
        if not self._again:
            fold = self._folds[i] if self._folds else None
            fits = fold is not None and bottom.fold == fold.stored
            self._made[i] = fold if fits else None
        return self._made[i]

    def _forward_again(self, bottom, top) -> None:
        """`forward` in backward, for tops that were given back; what was folded may have been read
        as a whole in between."""
        self._again = True
        try:
            self.forward(bottom, top)
        finally:
            self._again = False

    def _read_backward(self, bottom, top) -> list[Blob]:
        """The blobs whose `data` backward reads: a lean net forgets all others before."""
        return [*bottom, *top]

    def _windows(self) -> tuple[Window, Window] | None:
        """Through which windows the tops see the bottoms' rows and columns: POINTWISE for a layer
        that works on each element by itself, None for one whose tops do not repeat as its
        bottoms do. Valid after `reshape`."""
        return None

    def fail(self, message: str) -> InputError:
        """An InputError that names this layer: `raise self.fail("…")`."""
        return InputError(f"layer '{self.name}' ({self.type}): {message}")

    def warn(self, message: str) -> None:
        """A line in the log that names this layer: what was asked for has no effect."""
        log(f"layer '{self.name}' ({self.type}): {message}", WARNING, "layer.py:1")

    def canonical_axis(self, axis: int, blob: Blob) -> int:
        """`axis` counted from the front; negative axes count from the back."""
        n = len(blob.shape)
        if not -n <= axis < n:
            raise self.fail(f"axis {axis} is out of range for a bottom of shape {blob.shape}")
        return axis + n if axis < 0 else axis
