"""Layer: what every layer is, native or written by a user in Python."""

from __future__ import annotations

from enum import Flag

from ..compute.folding import LayerFold, Window
from ..errors import InputError
from ..log import WARNING, log
from .blob import Blob
from .vectors import BlobVec, Vector

TRAIN, TEST = 0, 1


class Reads(Flag):
    """Blobs of a layer whose data its backward pass reads."""

    NOTHING = 0
    BOTTOM = 1
    """The first bottom."""
    FURTHER = 2
    """The bottoms behind it: labels, factors."""
    TOPS = 4
    BOTTOMS = BOTTOM | FURTHER
    ALL = BOTTOMS | TOPS


class _Own:
    """A layer's name, out of its LayerParameter; a layer written in Python may set another."""

    def __get__(self, layer, owner=None) -> str:
        return "" if layer is None else layer.layer_param.name


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
    _selects = False
    """Of a `Windowed` layer: each element of its top is one of its bottom's, and what is 0 in the
    top's diff changes no diff of the bottom."""
    _can_run_again = False
    """Its forward pass can be run again in backward, and makes the same tops again."""
    _backward_reads = Reads.ALL
    """What backward reads; a lean net forgets all else before."""
    allow_force_backward: tuple[bool, ...] = ()
    """Per bottom: whether `force_backward` reaches it; True beyond the tuple's end."""
    param_str: str
    """Of a layer written in Python: what the prototxt's python_param gives it."""

    def __init__(self, layer_param=None, phase: int = TEST):
        self.layer_param = layer_param
        self.phase = phase
        self.__dict__["blobs"] = BlobVec()
        self.param_propagate_down: list[bool] = []
        self._loss_weights: list[float] = []
        # What the plan of its net says of it.
        self._folds: list[LayerFold | None] = []
        """How each top is made folded, where it is; see `fold_plan`."""
        self._masks = False
        """Backward passes the top's diff only where the top is above 0: it does so for a ReLU
        below."""
        self._lean = False
        """Its net is lean: diffs of folded blobs are folded too."""

    name = _Own()

    @property
    def blobs(self) -> BlobVec:
        """Its parameters."""
        return self.__dict__["blobs"]

    @property
    def type(self) -> str:
        return self.layer_param.type

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass

    def _forward_again(self, bottom, top) -> None:
        """`forward` in backward, for tops that were given back."""
        self.forward(bottom, top)

    def _forget(self) -> None:
        """Free what forward keeps for backward: a lean net has no more use of it."""

    def _windows(self) -> tuple[Window, Window] | None:
        """Through which windows the tops see the bottoms' rows and columns: POINTWISE for a layer
        that works on each element by itself, None for one whose tops do not repeat as its
        bottoms do. Valid after `reshape`."""
        return None

    def _reads_as_stored(self) -> bool:
        """Forward leaves a folded bottom as it is; other layers make it whole. Valid after
        `reshape`."""
        return self._windows() is not None

    def fail(self, message: str) -> InputError:
        """An InputError that names this layer: `raise self.fail("…")`."""
        return InputError(f"layer '{self.layer_param.name}' ({self.type}): {message}")

    def warn(self, message: str) -> None:
        """A line in the log that names this layer: what was asked for has no effect."""
        log(f"layer '{self.name}' ({self.type}): {message}", WARNING, "layer.py:1")

    def canonical_axis(self, axis: int, blob: Blob) -> int:
        """`axis` counted from the front; negative axes count from the back."""
        n = len(blob.shape)
        if not -n <= axis < n:
            raise self.fail(f"axis {axis} is out of range for a bottom of shape {blob.shape}")
        return axis + n if axis < 0 else axis


class LayerVec(Vector):
    """A net's layers."""

    _kind = Layer
