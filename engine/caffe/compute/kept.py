"""Tensors that are kept from pass to pass, for all nets."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

import torch

from . import device

Make = TypeVar("Make", bound=Callable[..., torch.Tensor])


def kept(most: int | None = None) -> Callable[[Make], Make]:
    """Decorates a function that makes a tensor: for the same arguments it gives the same one again,
    of the last `most` (None: of all).

    While nets are only imagined, tensors have no numbers: then each is made anew, and none of them
    is there for a pass that computes."""

    def decorate(make: Make) -> Make:
        known = lru_cache(maxsize=most)(make)

        @wraps(make)
        def found(*args):
            return (make if device.imagines() else known)(*args)

        return found  # type: ignore[return-value]

    return decorate
