"""What several families of layers need: parameter blobs, scratch tensors, axes, shape checks."""

from __future__ import annotations

import math

import torch

from ..core.blob import Blob
from ..core.fillers import fill
from ..core.layer import Layer
from ..errors import InputError


def add_params(layer: Layer, *wanted: tuple[str, tuple[int, ...], object]) -> None:
    """Make and fill a layer's parameter blobs, each given as (what it is, shape, filler).

    Blobs that the layer came with (`layer_param.blobs`) are kept if their shapes are right.
    """
    layer.param_propagate_down = [True] * len(wanted)
    if not layer.blobs:
        for what, shape, filler in wanted:
            try:
                fill(layer.blobs.add_blob(*shape), filler)
            except InputError as err:
                raise layer.fail(f"{what}: {err}") from err
        return
    if len(layer.blobs) != len(wanted):
        names = " and ".join(what for what, _, _ in wanted) or "no parameters"
        raise layer.fail(f"comes with {len(layer.blobs)} blobs; needs {len(wanted)}: {names}")
    for blob, (what, shape, _) in zip(layer.blobs, wanted):
        if blob.shape != tuple(shape):
            raise layer.fail(f"{what} comes with shape {blob.shape}; needs {tuple(shape)}")


def adds_to(layer: Layer, index: int) -> bool:
    """Whether backward has to add to the diff of parameter `index`."""
    return index < len(layer.blobs) and layer.param_propagate_down[index]


def add_gradient(blob: Blob, gradient: torch.Tensor) -> None:
    """Add a parameter's gradient, a tensor that nobody else has, to its diff."""
    if blob.diff_is_zero and gradient.is_contiguous() and gradient.shape == torch.Size(blob.shape):
        blob.give_diff(gradient)
    else:
        blob.write_diff().add_(gradient)


class Scratch:
    """A tensor that a layer keeps from pass to pass, made anew where shape or device change."""

    def __init__(self, dtype: torch.dtype = torch.float32):
        self.dtype = dtype
        self._nothing = torch.empty(0, dtype=dtype)
        self.tensor = self._nothing

    def __call__(self, shape, device: torch.device) -> torch.Tensor:
        if self.tensor.shape != torch.Size(shape) or self.tensor.device != device:
            self.tensor = torch.empty(tuple(shape), dtype=self.dtype, device=device)
        return self.tensor

    def release(self) -> None:
        self.tensor = self._nothing


def same_memory(a: Blob, b: Blob) -> bool:
    """Whether the layer works in place: Caffe gives one blob for both."""
    return a is b


def require_own_top(layer: Layer, bottom: list[Blob], top: list[Blob]) -> None:
    """No top is a bottom, or an error that says so: the layer cannot overwrite what it reads."""
    if any(same_memory(a, b) for a in top for b in bottom):
        raise layer.fail("cannot work in place; give the top a name of its own")


def outer_inner(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """How many elements lie before and after `axis`."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def require_same_shape(layer: Layer, bottom: list[Blob]) -> None:
    """All bottoms have the first one's shape, or an error that names the two that differ."""
    for i, blob in enumerate(bottom[1:], 1):
        if blob.shape != bottom[0].shape:
            names = layer.layer_param.bottom
            raise layer.fail(
                f"bottoms '{names[0]}' and '{names[i]}' must have one shape; "
                f"{bottom[0].shape} and {blob.shape} differ"
            )
