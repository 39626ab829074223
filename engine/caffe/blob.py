"""Blob: a data array and a diff array of one shape, in host and device memory."""

from __future__ import annotations

import math

import numpy as np
import torch

from . import device as _device
from .errors import InputError

MAX_AXES = 32
MAX_COUNT = 2**31 - 1


class Memory:
    """Flat float32 storage that is kept in step between host and device on access.

    Each side is allocated (zeroed) at its first use. Reading from the stale side copies; writing
    makes the other side stale. This is what lets NumPy views and CUDA kernels use one blob.
    """

    __slots__ = ("count", "_host", "_device", "_host_fresh", "_device_fresh")

    def __init__(self, count: int):
        self.count = count
        self._host = None
        self._device = None
        self._host_fresh = False
        self._device_fresh = False

    def host(self, write: bool) -> torch.Tensor:
        if self._host is None:
            # zeros, not empty: the system hands out zeroed pages lazily, so that a diff that
            # nobody touches takes no memory.
            self._host = torch.zeros(self.count)
        if self._device_fresh and not self._host_fresh:
            self._host.copy_(self._device)
        self._host_fresh = True
        if write:
            self._device_fresh = False
        return self._host

    def on(self, device: torch.device, write: bool) -> torch.Tensor:
        if device.type == "cpu":
            return self.host(write)
        if self._device is None or self._device.device != device:
            if self._device_fresh and not self._host_fresh:
                self.host(write=False)
            self._device = torch.zeros(self.count, device=device)
            self._device_fresh = not self._host_fresh
        if self._host_fresh and not self._device_fresh:
            self._device.copy_(self._host)
        self._device_fresh = True
        if write:
            self._host_fresh = False
        return self._device


class Blob:
    """An N-d float32 array (`data`) with its gradient (`diff`), as Caffe's.

    `data` and `diff` are NumPy views of host memory: writing into them changes the blob. Layers
    work on tensors on the current device instead: `read()`/`write()` for data and
    `read_diff()`/`write_diff()` for diff; `write` and `write_diff` say that the caller is about
    to change the tensor in place, wholly or in part.
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
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        shape = tuple(int(d) for d in shape)
        if shape == self._shape and self._data.count >= self._count:
            return
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
        flat = memory.on(_device.current(), write)
        if flat.numel() != self._count:
            flat = flat[: self._count]
        return flat.view(self._shape)

    def read(self) -> torch.Tensor:
        """`data` on the current device, not to be changed."""
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

    def _numpy(self, memory: Memory) -> np.ndarray:
        return memory.host(write=True)[: self._count].view(self._shape).numpy()

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
