"""Blob: a data array and a diff array of one shape, in host and device memory."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..compute import device as _device
from ..compute.folding import Fold, folded_shape
from ..errors import InputError
from .memory import Memory

MAX_AXES = 32
MAX_COUNT = 2**31 - 1


class Blob:
    """An N-d float32 array (`data`) with its gradient (`diff`), as Caffe's.

    `data` and `diff` are NumPy views of host memory: writing into them changes the blob. Layers
    work on tensors on the current device instead: `read()`/`write()` for data and
    `read_diff()`/`write_diff()` for diff; `write` and `write_diff` say that the caller is about
    to change the tensor in place, wholly or in part.

    Layers that can do with any order of axes in memory, and with a fold, save the copy: `give` a
    whole result, and have it `stored`, as it was given. (`under_fold` has it under other folds.)
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

    def overwrite(self, device: torch.device | None = None) -> torch.Tensor:
        """`write`, on any device, for a caller that changes every element: those before are not
        brought there. (What lies beyond the blob's shape, of an earlier one, is lost.)"""
        self._data.overwritten = True
        return self._data.shaped(self._shape, device or _device.current(), True)

    def overwrite_diff(self) -> torch.Tensor:
        """`overwrite` for `diff`, on the current device."""
        self._diff.overwritten = True
        return self._view(self._diff, True)

    def send(self) -> None:
        """Let `data` that the host has written go to the current device before it is asked for
        there. Nothing waits."""
        self._data.send(_device.current())

    def send_diff(self) -> None:
        """`send` for `diff`."""
        self._diff.send(_device.current())

    def give(self, tensor: torch.Tensor, fold: Fold | None = None) -> None:
        """`data` is now this tensor of the blob's shape, or of what `fold` leaves of it, on the
        current device. Whoever gives it changes it no more."""
        self._data.give(tensor, fold)

    def stored(self, write: bool = False) -> tuple[torch.Tensor, Fold | None]:
        """`data` as it was given, and its fold, on the current device; to be changed in place, as
        a whole, if `write`."""
        return self._stored(self._data, write)

    @property
    def data_is_zero(self) -> bool:
        """Nothing was given or written to `data` yet; its zeros take no memory so far."""
        return self._data.blank

    @property
    def diff_is_zero(self) -> bool:
        """No layer gave or wrote a diff, in this pass if the net is lean."""
        return self._diff.blank

    @property
    def fold(self) -> Fold | None:
        """The fold that `data` is `stored` under."""
        return self._fitting(self._data)[1]

    @property
    def diff_can_go(self) -> bool:
        """Nobody holds a view of `diff`: `release_diff` frees it."""
        return not self._diff.viewed

    def give_diff(self, tensor: torch.Tensor, fold: Fold | None = None) -> None:
        """`give` for `diff`."""
        self._diff.give(tensor, fold, gradient=True)

    def stored_diff(self, write: bool = False) -> tuple[torch.Tensor, Fold | None]:
        """`stored` for `diff`."""
        return self._stored(self._diff, write)

    def _fitting(self, memory: Memory) -> tuple[torch.Tensor | None, Fold | None]:
        """What was given, if it is on the current device and of this blob's shape."""
        tensor, fold = memory.given, memory.fold
        if tensor is None or tensor.device != _device.current():
            return None, None
        if fold is None:
            return (tensor, None) if tensor.shape == self._shape else (None, None)
        fits = tensor.shape == folded_shape(self._shape, fold)
        fits = fits and self._shape[-2:] == (fold.rows.size, fold.columns.size)
        return (tensor, fold) if fits else (None, None)

    def _stored(self, memory: Memory, write: bool) -> tuple[torch.Tensor, Fold | None]:
        if memory is self._data:
            memory.check()
        if memory.given is None:  # most often: the rest takes as long as a small layer
            return self._view(memory, write), None
        tensor, fold = self._fitting(memory)
        return (self._view(memory, write), None) if tensor is None else (tensor, fold)

    def release(self) -> None:
        """Forget `data` and free its memory."""
        self._data.release()

    def clear_diff(self) -> None:
        """Make `diff` zero, and free its memory until it is something else."""
        self._diff.clear(_device.current())

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

    @property
    def on_host(self) -> bool:
        """Whether `data` can be read on the host without a copy from a device."""
        return self._data.on_host

    def peek(self) -> np.ndarray:
        """`data` as a view that cannot be written, valid until the blob changes: what is on a
        device stays current there, and need not be brought back."""
        return self._seen(self._data)

    def peek_diff(self) -> np.ndarray:
        """`peek` for `diff`."""
        return self._seen(self._diff)

    def _seen(self, memory: Memory) -> np.ndarray:
        memory.check()
        seen = memory.host(write=False)[: self._count].view(self._shape).numpy()
        seen.flags.writeable = False
        return seen

    def share_data(self, other: Blob) -> None:
        """Use `other`'s data memory from now on (both have the same count)."""
        self._data = other._data

    def share_diff(self, other: Blob) -> None:
        """Use `other`'s diff memory from now on (both have the same count)."""
        self._diff = other._diff
