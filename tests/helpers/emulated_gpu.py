"""CUDA devices that are not there: what runs "on" them runs on the CPU, under CUDA's rules.

Their memory is apart from the host's, an operation on tensors of two devices fails, and what
makes the host wait for the device is counted: copies to the host, copies to the device out of
memory that is not pinned, operations whose result's shape depends on numbers. What goes to pinned
memory is not there before it is waited for, and a tensor that is made without content holds NaN.
Only the numbers' speed and last bits are not CUDA's.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

import caffe
from caffe.compute import device, gpu_support, rng, transfers

_FACTORIES = {
    torch.arange, torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.tensor,
    torch.zeros,
}  # fmt: skip
_COPIES = {"aten::copy_", "aten::_to_copy"}
_WAITS = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select",
    "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::bincount",
}  # fmt: skip
_EMPTY = {"aten::empty_like", "aten::new_empty", "aten::new_empty_strided", "aten::empty"}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class Transfer(str):
    """The name of an operation that moved `bytes` between the host and a device."""

    bytes: int

    def __new__(cls, name: str, size: int):
        made = super().__new__(cls, name)
        made.bytes = size
        return made


waits: list[Transfer] = []
"""The operations so far that made the host wait for the device."""
copies: list[Transfer] = []
"""The copies so far that it did not wait for: out of pinned memory or into it."""

_pinned: dict[int, torch.Tensor] = {}  # by address: kept, so that no address comes twice
_underway: list[tuple[torch.Tensor, torch.Tensor]] = []  # a pinned tensor, what is copied to it


def _is_pinned(tensor) -> bool:
    return tensor.untyped_storage().data_ptr() in _pinned


def _pin(shape, dtype, device) -> torch.Tensor:
    """Stands in for `transfers.pinned`."""
    made = torch.empty(shape, dtype=dtype)
    _pinned[made.untyped_storage().data_ptr()] = made
    return made


class _Mark:
    """Stands in for what `transfers.mark` gives."""

    def __init__(self, device):
        self._copies = list(_underway)
        _underway.clear()

    def query(self) -> bool:
        self._copy()
        return True

    def synchronize(self) -> None:
        if self._copies:
            waits.append(Transfer("synchronize", 0))
        self._copy()

    def _copy(self) -> None:
        while self._copies:
            target, content = self._copies.pop()
            target.copy_(content)


def _size(tensor) -> int:
    return tensor.numel() * tensor.element_size()


class _OnGpu(torch.Tensor):
    """A tensor that says it is on a CUDA device and keeps its elements in `inner`."""

    @staticmethod
    def __new__(cls, inner, where):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device="meta",
        )  # fmt: skip

    def __init__(self, inner, where):
        self.inner, self.where = inner, where

    # PyTorch itself takes it for a "meta" tensor: without CUDA it would refuse to index another.
    device = property(lambda self: self.where)
    is_cuda = property(lambda self: True)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    here = next(t.device for t in tensors if isinstance(t, _OnGpu))
    name = func._schema.name
    if name not in _COPIES:
        # CUDA's kernels take numbers from the host, and nothing else.
        strangers = [
            t for t in tensors if t.device != here and not (t.dim() == 0 and not t.is_cuda)
        ]
        if strangers:
            raise RuntimeError(f"{name}: tensors on {here} and {strangers[0].device}")
    given = kwargs.get("device")
    target = torch.device(given) if given is not None else here
    if _count(name, args, kwargs, target):
        _underway.append((args[0], args[1].inner.clone()))
        return args[0].fill_(torch.nan) if args[0].is_floating_point() else args[0].zero_()
    outside = {id(t.inner): t for t in tensors if isinstance(t, _OnGpu)}
    outside.update((id(t), t) for t in tensors if not isinstance(t, _OnGpu))

    def inside(value):
        if isinstance(value, _OnGpu):
            return value.inner
        return torch.device("cpu") if isinstance(value, torch.device) else value

    def out(value):
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in outside:
            return outside[id(value)]
        return value if target.type == "cpu" else _OnGpu(value, target)

    made = func(*tree_map(inside, args), **tree_map(inside, kwargs))
    return tree_map(out, _without_content(made) if name in _EMPTY else made)


def _without_content(tensor):
    """An uninitialised tensor, so that reading it shows."""
    return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor


def _count(name, args, kwargs, target) -> bool:
    """Note what moves to or from the device, and whether the host waits for it. True for a copy
    to the host that it does not wait for."""
    if name in _WAITS:
        waits.append(Transfer(name, 8))
    elif name in _INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1]):
        waits.append(Transfer(f"{name} by a mask", 8))
    elif name == "aten::copy_" and args[0].is_cuda != args[1].is_cuda:
        free = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
        near = args[1] if args[0].is_cuda else args[0]
        if free and _is_pinned(near):
            copies.append(Transfer(name, _size(args[1])))
            return not args[0].is_cuda
        waits.append(Transfer(name, _size(args[1])))
    elif name not in _COPIES and target.type == "cpu":
        waits.append(Transfer(name, 0))
    elif name == "aten::_to_copy" and target.type == "cpu":
        waits.append(Transfer(name, _size(args[0])))
    return False


class _Factories(TorchFunctionMode):
    """Tensors that are made on a CUDA device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to and not args[0].is_cuda:
            where = next((a for a in (*args[1:], *kwargs.values()) if _is_gpu(a)), None)
            if where is not None:
                waits.append(Transfer("aten::_to_copy", _size(args[0])))
                return _OnGpu(args[0].clone(), where)
        if func in _FACTORIES and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            where = torch.device(kwargs.pop("device"))
            made = func(*args, **kwargs)
            if func is torch.tensor:  # it is made on the host
                waits.append(Transfer("torch.tensor", _size(made)))
            return _OnGpu(_without_content(made) if func is torch.empty else made, where)
        return func(*args, **kwargs)


def _is_gpu(value) -> bool:
    return isinstance(value, torch.device) and value.type == "cuda"


@contextlib.contextmanager
def emulated_gpus(count=2):
    """Context in which `caffe` finds `count` CUDA devices."""
    found = device.cuda_device_count
    generators, kept = rng._generators, (rng._seed, dict(device._state))
    rng._generators = {}
    rng.torch = SimpleNamespace(**vars(torch) | {"Generator": lambda device: torch.Generator()})
    device.cuda_device_count = lambda: count
    real = transfers.pinned, transfers.mark
    transfers.pinned, transfers.mark = _pin, _Mark
    asked = gpu_support.is_there
    gpu_support.is_there = lambda number: False  # none that PyTorch may be asked of
    waits.clear()
    copies.clear()
    _underway.clear()
    try:
        with _Factories():
            yield
    finally:
        caffe.set_mode_cpu()
        rng.torch, device.cuda_device_count = torch, found
        transfers.pinned, transfers.mark = real
        gpu_support.is_there = asked
        _pinned.clear()
        rng._generators, rng._seed = generators, kept[0]
        device._state.update(kept[1])
