"""Memory: what a blob's data or diff is kept in, on the host and on a device."""

from __future__ import annotations

import math

import torch

from ..compute import transfers
from ..compute.folding import Fold, unfold
from ..errors import InputError

_MOST_AHEAD = 2**28
"""Bytes that are sent ahead at most: pinned memory is the system's scarcest."""


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
        "_released", "_lost", "_shaped", "overwritten",
    )  # fmt: skip

    def __init__(self, count: int):
        self.count = count
        self._host: torch.Tensor | None = None
        self._device: torch.Tensor | None = None
        self._host_fresh = False
        self._device_fresh = False
        self._given: torch.Tensor | None = None
        self._fold: Fold | None = None
        self._viewed = False
        self._released = False
        self._lost = False
        self._shaped: tuple | None = None  # flat storage, a shape, the first in the second
        self.overwritten = False
        """Whoever writes next changes every element that counts: nothing is copied before."""

    def give(self, tensor: torch.Tensor, fold: Fold | None, gradient: bool = False) -> None:
        """The content is now this tensor, what `fold` leaves of the whole; of a folded gradient
        the whole cannot be told any more."""
        self._released, self._lost = False, gradient and fold is not None
        if self._viewed and not self._lost:
            self._given = None
            self.check()
            whole = unfold(tensor, fold)
            self.overwritten = True
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

    def clear(self, device: torch.device) -> None:
        """Zeros, which take no memory until somebody asks for them; where somebody holds a view,
        they are written on `device`."""
        if self._viewed:
            self._given, self.overwritten = None, True
            self.on(device, True).zero_()
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
        assert self._given is not None
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
        if self._device_fresh and not self._host_fresh and not (write and self.overwritten):
            assert self._device is not None
            self._host.copy_(self._device)
        self._host_fresh = True
        if write:
            self._device_fresh = self.overwritten = False
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
            replaced = self._host_fresh or (write and self.overwritten)
            make = torch.empty if replaced else torch.zeros
            self._device = make(self.count, device=device)
            self._device_fresh = not self._host_fresh
        if self.host_only and not (write and self.overwritten):
            assert self._host is not None
            self._device.copy_(self._host)
        self._device_fresh = True
        if write:
            self._host_fresh = self.overwritten = False
            self._released = self._lost = False
        return self._device

    @property
    def on_host(self) -> bool:
        """The host's side is current: to read it copies nothing."""
        return self._host_fresh and self._given is None

    @property
    def host_only(self) -> bool:
        """What the host holds is not on a device yet."""
        return self._host_fresh and not self._device_fresh

    def send(self, device: torch.device) -> None:
        """Let what only the host holds be on the device by the time that is wanted there; nothing
        waits, and what the host writes from now on does not count."""
        if device.type == "cpu" or not self.host_only or self.count * 4 > _MOST_AHEAD:
            return
        if self._device is None or self._device.device != device:
            self._shaped = None
            self._device = torch.empty(self.count, device=device)
        assert self._host is not None
        transfers.send(self._host, self._device)
        self._device_fresh = True

    def shaped(self, shape: tuple[int, ...], device: torch.device, write: bool) -> torch.Tensor:
        """The first elements of the storage on the device, in this shape. Small layers take less
        time than to make the tensor, so the last one is kept."""
        on_host = device.type == "cpu" and self._host_fresh
        flat, kept_shape, tensor = self._shaped or (None, None, None)
        if on_host and flat is self._host and kept_shape == shape:
            if write:
                self._device_fresh = self._released = self._lost = self.overwritten = False
            return tensor
        given = self._given
        plain = self._fold is None and given is not None and given.shape == shape
        if given is not None and plain and given.is_contiguous() and given.device == device:
            self.check()
            self.overwritten = self.overwritten and not write
            return given
        flat = self.on(device, write)
        kept_flat, kept_shape, tensor = self._shaped or (None, None, None)
        if kept_flat is not flat or kept_shape != shape:
            count = math.prod(shape)
            tensor = (flat if count == self.count else flat[:count]).view(shape)
            self._shaped = flat, shape, tensor
        return tensor
