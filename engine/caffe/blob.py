"""Blob: a data array and a diff array of one shape, in host and device memory."""

from __future__ import annotations

import math

import numpy as np
import torch

from . import device as _device
from .errors import InputError
from .folding import Fold, fold_gradient, folded_shape, select, unfold

MAX_AXES = 32
MAX_COUNT = 2**31 - 1


class Memory:
    """Flat float32 storage that is kept in step between host and device on access.

    Each side is allocated (zeroed) at its first use. Reading from the stale side copies; writing
    makes the other side stale. This is what lets NumPy views and CUDA kernels use one blob.

    A layer may also `give` its result as it is, a tensor in any order of axes, or folded: the flat
    storage is then made of it when somebody asks for that. Once a NumPy view of the storage is
    handed out, results go there at once, so that who holds it sees those of each pass on the CPU
    (of a pass on a GPU, once `view` is called again).
    """

    __slots__ = (
        "count", "_host", "_device", "_host_fresh", "_device_fresh", "_given", "_fold", "_viewed",
        "_released", "_lost", "_shaped",
    )  # fmt: skip

    def __init__(self, count: int):
        self.count = count
        self._host = None
        self._device = None
        self._host_fresh = False
        self._device_fresh = False
        self._given: torch.Tensor | None = None
        self._fold: Fold | None = None
        self._viewed = False
        self._released = False
        self._lost = False
        self._shaped: tuple | None = None  # flat storage, a shape, the first in the second

    def give(self, tensor: torch.Tensor, fold: Fold | None, gradient: bool = False) -> None:
        """The content is now this tensor, what `fold` leaves of the whole; of a folded gradient
        the whole cannot be told any more."""
        self._released, self._lost = False, gradient and fold is not None
        if self._viewed and not self._lost:
            self._given = None
            self.check()
            whole = unfold(tensor, fold)
            flat = self.on(whole.device, True)[: whole.numel()]
            flat.view(whole.shape).copy_(whole)
            return
        self._host = self._device = self._shaped = None
        self._host_fresh = self._device_fresh = False
        self._given, self._fold = tensor, fold

    def given(self) -> tuple[torch.Tensor | None, Fold | None]:
        """What was given last and is still the content, and its fold; (None, None) otherwise."""
        return (self._given, self._fold) if self._given is not None else (None, None)

    @property
    def blank(self) -> bool:
        """Nothing was written here yet, or since it was released: zeros."""
        return self._given is None and not self._host_fresh and not self._device_fresh

    def release(self) -> None:
        """Forget the content and free its memory, unless somebody holds a view of it."""
        if self._viewed:
            return
        self._host = self._device = self._given = self._shaped = None
        self._host_fresh = self._device_fresh = False
        self._released = True

    def clear(self) -> None:
        """Zeros, which take no memory until somebody asks for them."""
        if self._viewed:
            self.host(write=True).zero_()
            return
        self.release()
        self._released = self._lost = False

    def check(self) -> None:
        """What is about to be read is there, or InputError."""
        if self._released:
            raise InputError(
                "a lean net has given this blob's memory back: before the pass, name the blob to "
                "caffe.engine.keep (for its data) or set the solver's snapshot_diff (for diffs of "
                "parameters), or make the net after caffe.engine.set_lean(False); a backward pass "
                "needs a forward pass before it, once each"
            )
        if self._lost:
            raise InputError(
                "a lean net folds this blob's diff: make the net after caffe.engine.set_lean(False)"
            )

    def _settle(self) -> None:
        """Make the flat storage of what was given."""
        self.check()
        whole = unfold(self._given, self._fold).contiguous().view(-1)
        if whole.numel() < self.count:
            flat = torch.empty(self.count, device=whole.device)
            flat[: whole.numel()] = whole
            whole = flat
        if whole.device.type == "cpu":
            self._host, self._host_fresh = whole, True
        else:
            self._device, self._device_fresh = whole, True
        # One memory, not two: what is changed in either would be stale in the other.
        self._given = None

    def host(self, write: bool) -> torch.Tensor:
        if self._given is not None:
            self._settle()
        if self._host is None:
            # zeros, not empty: the system hands out zeroed pages lazily, so that a diff that
            # nobody touches takes no memory.
            self._host = torch.zeros(self.count)
        if self._device_fresh and not self._host_fresh:
            self._host.copy_(self._device)
        self._host_fresh = True
        if write:
            self._device_fresh = False
            self._released = self._lost = False
        return self._host

    def view(self) -> torch.Tensor:
        """The flat storage on the host, for good."""
        self.check()
        self._viewed = True
        return self.host(write=True)

    def on(self, device: torch.device, write: bool) -> torch.Tensor:
        if device.type == "cpu":
            return self.host(write)
        if self._given is not None:
            self._settle()
        if self._device is None or self._device.device != device:
            if self._device_fresh and not self._host_fresh:
                self.host(write=False)
            self._shaped = None
            self._device = torch.zeros(self.count, device=device)
            self._device_fresh = not self._host_fresh
        if self._host_fresh and not self._device_fresh:
            self._device.copy_(self._host)
        self._device_fresh = True
        if write:
            self._host_fresh = False
            self._released = self._lost = False
        return self._device

    def shaped(self, shape: tuple[int, ...], device: torch.device, write: bool) -> torch.Tensor:
        """The first elements of the storage on the device, in this shape. Small layers take less
        time than to make the tensor, so the last one is kept."""
        on_host = device.type == "cpu" and self._host_fresh
        flat, kept_shape, tensor = self._shaped or (None, None, None)
        if on_host and flat is self._host and kept_shape == shape:
            if write:
                self._device_fresh = self._released = self._lost = False
            return tensor
        given = self._given
        plain = given is not None and self._fold is None and given.shape == shape
        if plain and given.is_contiguous() and given.device == device:
            self.check()
            return given
        flat = self.on(device, write)
        tensor = flat[: math.prod(shape)].view(shape)
        self._shaped = flat, shape, tensor
        return tensor


class Blob:
    """An N-d float32 array (`data`) with its gradient (`diff`), as Caffe's.

    `data` and `diff` are NumPy views of host memory: writing into them changes the blob. Layers
    work on tensors on the current device instead: `read()`/`write()` for data and
    `read_diff()`/`write_diff()` for diff; `write` and `write_diff` say that the caller is about
    to change the tensor in place, wholly or in part.

    Layers that can do with any order of axes in memory, and with a fold, save the copy: `give` a
    whole result, `take` it under a fold, or `inner` it as it was given.
    """

    def __init__(self, *shape: int):
        self._shape: tuple[int, ...] = ()
        self._count = 1
        self._data = Memory(0)
        self._diff = Memory(0)
        self.reshape(*shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return self._count

    def _legacy_dim(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise InputError(f"a blob of {len(self._shape)} axes has no num/channels/height/width")
        return self._shape[axis] if axis < len(self._shape) else 1

    num = property(lambda self: self._legacy_dim(0))
    channels = property(lambda self: self._legacy_dim(1))
    height = property(lambda self: self._legacy_dim(2))
    width = property(lambda self: self._legacy_dim(3))

    def reshape(self, *shape) -> None:
        """Give the blob a new shape; memory is kept when it is large enough, as Caffe does."""
        if shape == self._shape and self._data.count >= self._count:
            return
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        shape = tuple(int(d) for d in shape)
        if len(shape) > MAX_AXES or any(d < 0 for d in shape):
            raise InputError(f"no blob can have shape {shape}")
        count = math.prod(shape)
        if count > MAX_COUNT:
            raise InputError(f"a blob of shape {shape} has {count} elements; at most {MAX_COUNT}")
        self._shape, self._count = shape, count
        # Each by itself: data may be shared with a larger blob while diff is not.
        if count > self._data.count:
            self._data = Memory(count)
        if count > self._diff.count:
            self._diff = Memory(count)

    def reshape_like(self, other: Blob) -> None:
        self.reshape(*other._shape)

    def _view(self, memory: Memory, write: bool) -> torch.Tensor:
        return memory.shaped(self._shape, _device.current(), write)

    def read(self) -> torch.Tensor:
        """`data` on the current device, not to be changed."""
        self._data.check()
        return self._view(self._data, False)

    def write(self) -> torch.Tensor:
        """`data` on the current device, to be changed in place."""
        return self._view(self._data, True)

    def read_diff(self) -> torch.Tensor:
        """`diff` on the current device, not to be changed."""
        return self._view(self._diff, False)

    def write_diff(self) -> torch.Tensor:
        """`diff` on the current device, to be changed in place."""
        return self._view(self._diff, True)

    def give(self, tensor: torch.Tensor, fold: Fold | None = None) -> None:
        """`data` is now this tensor of the blob's shape, or of what `fold` leaves of it, on the
        current device. Whoever gives it changes it no more."""
        self._data.give(tensor, fold)

    def inner(self, write: bool = False) -> tuple[torch.Tensor, Fold | None]:
        """`data` as it was given, and its fold, on the current device; to be changed in place, as
        a whole, if `write`."""
        return self._inner(self._data, write)

    def take(self, fold: Fold | None = None) -> torch.Tensor:
        """`data` on the current device in any order of axes in memory, without what `fold` leaves
        out: no more than `inner`'s does, where that is folded. Not to be changed."""
        tensor, stored = self.inner()
        if stored is None:
            return tensor if fold is None else select(tensor, fold)
        return unfold(tensor, stored, fold)

    @property
    def diff_is_zero(self) -> bool:
        """No layer gave or wrote a diff, in this pass if the net is lean."""
        return self._diff.blank

    @property
    def fold(self) -> Fold | None:
        """The fold of `inner`."""
        return self._fitting(self._data)[1]

    @property
    def diff_can_go(self) -> bool:
        """Nobody holds a view of `diff`: `release_diff` frees it."""
        return not self._diff._viewed

    def give_diff(self, tensor: torch.Tensor, fold: Fold | None = None) -> None:
        """`give` for `diff`."""
        self._diff.give(tensor, fold, gradient=True)

    def inner_diff(self, write: bool = False) -> tuple[torch.Tensor, Fold | None]:
        """`inner` for `diff`."""
        return self._inner(self._diff, write)

    def take_diff(self, fold: Fold | None = None) -> torch.Tensor:
        """`diff` under a fold, which leaves out no less than that of `inner_diff`: elements that
        stand for several have the sum of theirs. On the current device, not to be changed."""
        tensor, stored = self.inner_diff()
        return tensor if fold is None else fold_gradient(tensor, stored, fold)

    def _fitting(self, memory: Memory) -> tuple[torch.Tensor | None, Fold | None]:
        """What was given, if it is on the current device and of this blob's shape."""
        tensor, fold = memory.given()
        if tensor is None or tensor.device != _device.current():
            return None, None
        if fold is None:
            return (tensor, None) if tensor.shape == self._shape else (None, None)
        fits = tensor.shape == folded_shape(self._shape, fold)
        fits = fits and self._shape[-2:] == (fold.rows.size, fold.columns.size)
        return (tensor, fold) if fits else (None, None)

    def _inner(self, memory: Memory, write: bool) -> tuple[torch.Tensor, Fold | None]:
        if memory is self._data:
            memory.check()
        if memory._given is None:
            return self._view(memory, write), None
        tensor, fold = self._fitting(memory)
        return (self._view(memory, write), None) if tensor is None else (tensor, fold)

    def release(self) -> None:
        """Forget `data` and free its memory."""
        self._data.release()

    def clear_diff(self) -> None:
        """Make `diff` zero, and free its memory until it is something else."""
        self._diff.clear()

    def release_diff(self) -> None:
        """Forget `diff` and free its memory."""
        self._diff.release()

    def _numpy(self, memory: Memory) -> np.ndarray:
        return memory.view()[: self._count].view(self._shape).numpy()

    @property
    def data(self) -> np.ndarray:
        """A writable float32 view in host memory, of the blob's shape."""
        return self._numpy(self._data)

    @property
    def diff(self) -> np.ndarray:
        """A writable float32 view in host memory, of the blob's shape."""
        return self._numpy(self._diff)

    def share_data(self, other: Blob) -> None:
        """Use `other`'s data memory from now on (both have the same count)."""
        self._data = other._data

    def share_diff(self, other: Blob) -> None:
        """Use `other`'s diff memory from now on (both have the same count)."""
        self._diff = other._diff
