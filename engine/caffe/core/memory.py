"""Memory: what a blob's data or diff is kept in, on the host and on a device."""

from __future__ import annotations

import math
from enum import Enum, auto

import torch

from ..compute import transfers
from ..compute.folding import Fold, unfold
from ..errors import InputError

_MOST_AHEAD = 2**28
"""Bytes that are sent ahead at most: pinned memory is the system's scarcest."""


class Content(Enum):
    """Where the present content of a memory is."""

    BLANK = auto()
    """Nowhere: zeros, on whichever side they are asked for. Nothing else was written."""
    RELEASED = auto()
    """Nowhere: a lean net has given it back. Zeros to layers, an error to users."""
    HOST = auto()
    """In flat storage on the host; the device's is stale, or is not there."""
    DEVICE = auto()
    """In flat storage on a device; the host's is stale, or is not there."""
    BOTH = auto()
    """In either of them."""
    GIVEN = auto()
    """In a tensor that a layer gave, maybe without what a fold leaves out. There is no flat
    storage; the first to ask for one has it made of the tensor."""
    FOLDED_DIFF = auto()
    """In a folded gradient that a layer gave: of it the whole cannot be told."""


BLANK, RELEASED, HOST, DEVICE, BOTH, GIVEN, FOLDED_DIFF = Content


class Memory:
    """Flat float32 storage that is kept in step between host and device on access.

    Each side is allocated (zeroed) at its first use. Reading from the stale side copies; writing
    makes the other side stale. This is what lets NumPy views and CUDA kernels use one blob.

    A layer may also `give` its result as it is, a tensor in any order of axes, or folded. Once a
    NumPy view of the storage is handed out, results go there at once, so that who holds it sees
    those of each pass on the CPU (of a pass on a GPU, once `view` is called again).
    """

    __slots__ = (
        "count", "content", "overwritten", "viewed", "_host", "_device", "given", "fold",
        "_shaped",
    )  # fmt: skip

    def __init__(self, count: int):
        self.count = count
        self.content = BLANK
        self.overwritten = False
        """Whoever writes next changes every element that counts: nothing is copied before."""
        self.viewed = False
        """Somebody may hold a NumPy view of the host's storage: a folded diff alone replaces it."""
        self.given: torch.Tensor | None = None
        """What was given last, where that is still the content."""
        self.fold: Fold | None = None
        """The fold under which it is."""
        self._host: torch.Tensor | None = None
        self._device: torch.Tensor | None = None
        self._shaped: tuple | None = None  # flat storage, a shape, the first in the second

    def give(self, tensor: torch.Tensor, fold: Fold | None, gradient: bool = False) -> None:
        """The content is now this tensor, what `fold` leaves of the whole; of a folded gradient
        the whole cannot be told any more."""
        whole_is_lost = gradient and fold is not None
        if self.viewed and not whole_is_lost:
            self._write_whole(unfold(tensor, fold))
            return
        self._host = self._device = self._shaped = None
        self.given, self.fold = tensor, fold
        self.content = FOLDED_DIFF if whole_is_lost else GIVEN

    def _write_whole(self, whole: torch.Tensor) -> None:
        """Into the storage, of which somebody holds a view."""
        self._drop_given()
        self.overwritten = True
        self.on(whole.device, True)[: whole.numel()].view(whole.shape).copy_(whole)

    @property
    def blank(self) -> bool:
        """Nothing was written here yet, or since it was released: zeros."""
        return self.content is BLANK or self.content is RELEASED

    @property
    def on_host(self) -> bool:
        """The host's side is current: to read it copies nothing."""
        return self.content is HOST or self.content is BOTH

    @property
    def host_only(self) -> bool:
        """What the host holds is not on a device yet."""
        return self.content is HOST

    def release(self) -> None:
        """Forget the content and free its memory, unless somebody holds a view of it."""
        if not self.viewed:
            self._empty(RELEASED)

    def clear(self, device: torch.device) -> None:
        """Zeros, which take no memory until somebody asks for them; where somebody holds a view,
        they are written on `device`."""
        if not self.viewed:
            self._empty(BLANK)
            return
        self._drop_given()
        self.overwritten = True
        self.on(device, True).zero_()

    def _drop_given(self) -> None:
        if self.given is not None:
            self.given, self.content = None, BLANK

    def _empty(self, content: Content) -> None:
        self._host = self._device = self.given = self._shaped = None
        self.content = content

    def check(self) -> None:
        """What is about to be read is there, or InputError."""
        if self.content is RELEASED:
            raise InputError(
                "a lean net has given this blob's memory back: before the pass, name the blob to "
                "caffe.engine.keep (for its data) or set the solver's snapshot_diff (for diffs of "
                "parameters), or make the net after caffe.engine.set_lean(False); a backward pass "
                "needs a forward pass before it, once each"
            )
        if self.content is FOLDED_DIFF:
            raise InputError(
                "a lean net folds this blob's diff: make the net after caffe.engine.set_lean(False)"
            )

    def _settle(self) -> None:
        """Make the flat storage of what was given."""
        self.check()
        assert self.given is not None
        whole = unfold(self.given, self.fold).contiguous().view(-1)
        if whole.numel() < self.count:
            flat = torch.empty(self.count, device=whole.device)
            flat[: whole.numel()] = whole
            whole = flat
        if whole.device.type == "cpu":
            self._host, self.content = whole, HOST
        else:
            self._device, self.content = whole, DEVICE
        # One memory, not two: what is changed in either would be stale in the other.
        self.given = None

    def host(self, write: bool) -> torch.Tensor:
        """The flat storage on the host, to be changed in place if `write`."""
        if self.given is not None:
            self._settle()
        if self._host is None:
            # zeros, not empty: the system hands out zeroed pages lazily, so that a diff that
            # nobody touches takes no memory.
            self._host = torch.zeros(self.count)
        if self.content is DEVICE and not (write and self.overwritten):
            assert self._device is not None
            self._host.copy_(self._device)
            self.content = BOTH
        if write:
            self.content, self.overwritten = HOST, False
        return self._host

    def view(self) -> torch.Tensor:
        """The flat storage on the host, for good."""
        self.check()
        self.viewed = True
        return self.host(write=True)

    def on(self, device: torch.device, write: bool) -> torch.Tensor:
        """The flat storage on the device, to be changed in place if `write`."""
        if device.type == "cpu":
            return self.host(write)
        if self.given is not None:
            self._settle()
        if self._device is None or self._device.device != device:
            self._move_to(device, write and self.overwritten)
        assert self._device is not None
        if self.content is HOST and not (write and self.overwritten):
            assert self._host is not None
            self._device.copy_(self._host)
            self.content = BOTH
        if write:
            self.content, self.overwritten = DEVICE, False
        return self._device

    def _move_to(self, device: torch.device, overwritten: bool) -> None:
        """Make storage on this device in place of another's, whose content the host takes."""
        if self.content is DEVICE:
            self.host(write=False)
        if self.content is BOTH:
            self.content = HOST
        self._shaped = None
        make = torch.empty if overwritten or self.content is HOST else torch.zeros
        self._device = make(self.count, device=device)

    def send(self, device: torch.device) -> None:
        """Let what only the host holds be on the device by the time that is wanted there; nothing
        waits, and what the host writes from now on does not count."""
        if device.type == "cpu" or self.content is not HOST or self.count * 4 > _MOST_AHEAD:
            return
        if self._device is None or self._device.device != device:
            self._move_to(device, overwritten=False)
        assert self._host is not None and self._device is not None
        transfers.send(self._host, self._device)
        self.content = BOTH

    def shaped(self, shape: tuple[int, ...], device: torch.device, write: bool) -> torch.Tensor:
        """The first elements of the storage on the device, in this shape. Small layers take less
        time than to make the tensor, so the last one is kept."""
        flat, kept_shape, tensor = self._shaped or (None, None, None)
        on_host = device.type == "cpu" and (self.content is HOST or self.content is BOTH)
        if on_host and flat is self._host and kept_shape == shape:
            if write:
                self.content, self.overwritten = HOST, False
            return tensor
        given = self.given
        whole = given is not None and self.fold is None and given.shape == shape
        if given is not None and whole and given.is_contiguous() and given.device == device:
            self.overwritten = self.overwritten and not write
            return given
        flat = self.on(device, write)
        kept_flat, kept_shape, tensor = self._shaped or (None, None, None)
        if kept_flat is not flat or kept_shape != shape:
            count = math.prod(shape)
            tensor = (flat if count == self.count else flat[:count]).view(shape)
            self._shaped = flat, shape, tensor
        return tensor
