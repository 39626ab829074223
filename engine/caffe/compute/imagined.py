"""Computing without numbers: tensors that have a shape and a device and take no memory, while what
they would take is counted.

On the CPU they are PyTorch's fake tensors, so that the layers go the ways that they go there; for
a GPU they are of PyTorch's meta device, so that none needs to be at hand.
"""

from __future__ import annotations

import contextlib
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from . import device, library_memory, rng
from .heap import Heap

_SMALL = 4096
"""Storages of fewer bytes are not counted: there are many, and they come to nothing."""


_OF_ANOTHER_SIZE = ("resize_", "set_", "as_strided_", "squeeze_", "unsqueeze_", "transpose_", "t_")
"""Operations in place that change more than numbers."""

Place = tuple[int, int, str]
"""The number of a net, of its layer, and "forward" or "backward"."""
BEFORE: Place = (0, -1, "forward")
"""Before the first pass."""


class Ledger(TorchDispatchMode):
    """While it is entered, the memory of tensors is written down, as the library would take it.

    * `live`, `peak`: bytes now, and at most.
    * `heap`: where the blocks would lie, on the CPU.
    * `by_place`: the most bytes at each `place`, which whoever runs the passes sets.

    A number that is asked for is 0 and a truth False: there are none.
    """

    def __init__(self, where: torch.device):
        super().__init__()
        self._where = where.type
        self.place: Place = BEFORE
        self.by_place: dict[Place, int] = {}
        self.live = self.peak = 0
        self.heap = Heap()
        self._blocks: dict[int, tuple[int, int]] = {}  # storage -> its block

    @property
    def on_gpu(self) -> bool:
        return self._where != "cpu"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in ("_local_scalar_dense", "item"):
            return {torch.bool: False, torch.float32: 0.0, torch.float64: 0.0}.get(args[0].dtype, 0)
        if name.startswith("_fused_"):  # in place; the meta device has none
            return None
        if name[-1:] == "_" and name not in _OF_ANOTHER_SIZE:
            return args[0]
        out = kwargs.get("out")
        if out is not None and out.numel():  # it is of the right size, or an error will say so
            return out
        made = func(*args, **kwargs)
        if not func.is_view:
            tensors = [t for t in tree_flatten(made)[0] if isinstance(t, torch.Tensor)]
            self._note(name, args, [t for t in tensors if t.device.type == self._where])
        return made

    def _note(self, name: str, args, tensors: list[torch.Tensor]) -> None:
        """Write down the results of an operation, and what the library takes for them."""
        if self._where != "cpu":
            buffers = [library_memory.NONE] * len(tensors)
        else:
            buffers = library_memory.of(name, args, tensors)
        for tensor, (before, beside, idle) in zip(tensors, buffers):
            passing = [self._take(size, size - idle) for size in before]
            held = [self._take(size) for size in beside]
            for block in passing:
                self._give_back(*block)
            self._see(tensor)
            for block in held:
                self._give_back(*block)

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._blocks or storage.nbytes() < _SMALL:
            return
        self._blocks[key] = self._take(storage.nbytes())
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self._give_back(*self._blocks.pop(key))

    def _take(self, size: int, touched: int | None = None) -> tuple[int, int]:
        """(number, bytes) of a new block."""
        self.live += size
        self.peak = max(self.peak, self.live)
        self.by_place[self.place] = max(self.by_place.get(self.place, 0), self.live)
        return self.heap.take(size, touched), size

    def _give_back(self, number: int, size: int) -> None:
        self.live -= size
        self.heap.give_back(number)


@contextlib.contextmanager
def imagined(gpu: bool):
    """Context in which nets are made and run without numbers, on the CPU or as on a GPU; gives the
    Ledger of what they would take. Random numbers are afterwards as before."""
    state = rng.get_state()
    try:
        with contextlib.ExitStack() as stack:
            if gpu:
                stack.enter_context(device.in_place_of_current(torch.device("meta")))
            else:
                from torch._subclasses.fake_tensor import FakeTensorMode

                stack.enter_context(device.in_place_of_current(torch.device("cpu")))
                stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            yield stack.enter_context(Ledger(device.current()))
    finally:
        rng.set_state(state)
