"""The layers: one file a family, found by their place in this folder.

A new layer type is a new file here with a `Layer` subclass under `@register("Type")`.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..errors import InputError
from ..proto.mistakes import unknown_type

_makers: dict = {}


def register(*types: str):
    """Class (or function) decorator: make layers of these types by calling it with
    (layer_param, phase)."""

    def add(maker):
        for name in types:
            _makers[name] = maker
        return maker

    return add


def layer_type_list() -> list[str]:
    """The names of all layer types, sorted."""
    return sorted(_makers)


def create(layer_param, phase: int):
    """The layer that `layer_param` describes.

    Raises InputError for a type that is not there."""
    maker = _makers.get(layer_param.type)
    if maker is None:
        told = unknown_type(layer_param.type, layer_type_list())
        raise InputError(f"layer '{layer_param.name}' {told}")
    return maker(layer_param, phase)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
