"""Python: layers that users write as subclasses of `caffe.Layer`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from .. import python_path
from ..errors import InputError
from ..layer import Layer
from . import register


def _allowed(origin: str | None) -> bool:
    if not origin:
        return False
    place = Path(origin).resolve()
    return any(folder == place.parent or folder in place.parents for folder in python_path.folders())


def _find_module(layer_name: str, name: str):
    if name in sys.modules:
        return sys.modules[name]
    where = f"layer '{layer_name}' (Python)"
    # Only the first part is looked for: finding a submodule would already run its package.
    top = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise InputError(
            f"{where}: no module '{name}'; add its folder to PYTHONPATH (data_layers/ holds ours)"
        )
    origin = spec.origin or next(iter(spec.submodule_search_locations or []), None)
    if not _allowed(origin):
        raise InputError(
            f"{where}: module '{name}' is not in a folder that Python layers may come from; "
            "add its folder to PYTHONPATH or to caffe.engine.python_path"
        )
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{where}: module '{name}' cannot be imported: {error}") from error


@register("Python")
def python_layer(layer_param, phase: int) -> Layer:
    """An instance of the class that `python_param` names, with `param_str` set."""
    param = layer_param.python_param
    where = f"layer '{layer_param.name}' (Python)"
    if not param.module or not param.layer:
        raise InputError(f"{where}: python_param needs module and layer")
    module = _find_module(layer_param.name, param.module)
    made = getattr(module, param.layer, None)
    if not (isinstance(made, type) and issubclass(made, Layer)):
        raise InputError(
            f"{where}: '{param.layer}' in module '{param.module}' is no subclass of caffe.Layer"
        )
    layer = made.__new__(made)
    Layer.__init__(layer, layer_param, phase)
    layer.param_str = param.param_str
    if type(layer).__init__ is not Layer.__init__:
        type(layer).__init__(layer, layer_param, phase)
    return layer
