"""Copies between the host and a GPU, so that the host waits for none, or for one.

They go through pinned memory, which a GPU reads and writes by itself. Each takes a new piece of it
from PyTorch's allocator, which hands a piece out again only when the copies that it knows of are
done: nobody has to keep two buffers apart.
"""

from __future__ import annotations

import numpy as np
import torch

from .gpu_errors import named_gpu_errors


def pinned(shape, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """An uninitialised host tensor that `device`, a GPU, can reach by itself."""
    with torch.cuda.device(device):  # another one would be given a context, hence memory
        return torch.empty(shape, dtype=dtype, pin_memory=True)


def mark(device: torch.device):
    """What `device` has been told so far: `query()` whether it is done, `synchronize()` waits."""
    return torch.cuda.current_stream(device).record_event()


def stage(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy of a host tensor that can be sent to `device` without a wait."""
    return pinned(tensor.shape, tensor.dtype, device).copy_(tensor)


def send(source: torch.Tensor, target: torch.Tensor) -> None:
    """Copy a host tensor into one on any device, without a wait; `source` may change at once."""
    if target.device.type != "cpu":
        source = stage(source, target.device)
    target.copy_(source, non_blocking=True)


def on_device(source: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A host tensor on `device`; nothing waits."""
    if device.type == "cpu":
        return source
    target = torch.empty(source.shape, dtype=source.dtype, device=device)
    send(source, target)
    return target


@named_gpu_errors
def fetch(tensors) -> list[np.ndarray]:
    """Floating-point tensors as arrays; those on a GPU are copied together, in one wait."""
    tensors = list(tensors)
    far = [tensor for tensor in tensors if tensor.device.type != "cpu"]
    if len(far) > 1:
        whole = torch.cat([tensor.reshape(-1) for tensor in far]).cpu()
        parts = iter(whole.split([tensor.numel() for tensor in far]))
    else:
        parts = (tensor.cpu() for tensor in far)
    found = []
    for tensor in tensors:
        near = tensor if tensor.device.type == "cpu" else next(parts)
        found.append(near.to(tensor.dtype).view(tensor.shape).numpy())
    return found


class Fetching:
    """Tensors on their way to the host. Later changes of theirs do not count."""

    def __init__(self, tensors):
        self._arrays = [self._start(tensor) for tensor in tensors]
        far = [tensor.device for tensor in tensors if tensor.device.type != "cpu"]
        self._mark = mark(far[0]) if far else None

    @staticmethod
    def _start(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type == "cpu":
            return tensor.clone()
        near = pinned(tensor.shape, tensor.dtype, tensor.device)
        return near.copy_(tensor, non_blocking=True)

    @named_gpu_errors
    def arrived(self) -> bool:
        """Whether `arrays` would not wait."""
        return self._mark is None or self._mark.query()

    @named_gpu_errors
    def arrays(self) -> list[np.ndarray]:
        """The tensors as arrays; waits until they are there."""
        if self._mark is not None:
            self._mark.synchronize()
        return [tensor.numpy() for tensor in self._arrays]
