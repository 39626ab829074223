"""CUDA devices that are not there: what runs "on" them runs on the CPU, under CUDA's rules.

Their memory is apart from the host's, an operation on tensors of two devices fails, and what
makes the host wait for the device is counted. Only the numbers' speed and last bits are not
CUDA's.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

import caffe
from caffe import device, rng

_FACTORIES = {
    torch.arange, torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.tensor,
    torch.zeros,
}  # fmt: skip
_COPIES = {"aten::copy_", "aten::_to_copy"}
_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal"}
waits: list[str] = []
"""Names of the operations so far that made the host wait for the device."""


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
    if name in _WAITS or (name == "aten::copy_" and not args[0].is_cuda) or target.type == "cpu":
        waits.append(name)
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

    return tree_map(out, func(*tree_map(inside, args), **tree_map(inside, kwargs)))


class _Factories(TorchFunctionMode):
    """Tensors that are made on a CUDA device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in _FACTORIES and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            where = torch.device(kwargs.pop("device"))
            return _OnGpu(func(*args, **kwargs), where)
        return func(*args, **kwargs)


@contextlib.contextmanager
def emulated_gpus(count=2):
    """Context in which `caffe` finds `count` CUDA devices."""
    found = device.cuda_device_count
    generators, kept = rng._generators, (rng._seed, dict(device._state))
    rng._generators = {}
    rng.torch = SimpleNamespace(**vars(torch) | {"Generator": lambda device: torch.Generator()})
    device.cuda_device_count = lambda: count
    waits.clear()
    try:
        with _Factories():
            yield
    finally:
        caffe.set_mode_cpu()
        rng.torch, device.cuda_device_count = torch, found
        rng._generators, rng._seed = generators, kept[0]
        device._state.update(kept[1])
