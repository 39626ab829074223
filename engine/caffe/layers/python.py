"""Python: layers that users write as subclasses of `caffe.Layer`."""

from __future__ import annotations

import importlib
import sys

from ..core import python_path
from ..core.layer import Layer, LayerVec
from ..errors import InputError
from ..proto.hints import did_you_mean
from . import register


def _is_layer(made) -> bool:
    return isinstance(made, type) and issubclass(made, Layer) and made is not Layer


def _find_module(layer_name: str, name: str):
    if name in sys.modules:
        return sys.modules[name]
    where = f"layer '{layer_name}' (Python)"
    spec = python_path.find(name)
    if spec is None:
        raise InputError(
            f"{where}: no module '{name}'; add its folder to PYTHONPATH (data_layers/ holds ours)"
        )
    if not python_path.allows(spec):
        raise InputError(
            f"{where}: module '{name}' is not in a folder that Python layers may come from; "
            "add its folder to PYTHONPATH or to caffe.engine.python_path"
        )
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the module's own code raises
        why = f"{error}" if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{where}: module '{name}' cannot be imported: {why}") from error


@register("Python")
def python_layer(layer_param, phase: int) -> Layer:
    """An instance of the class that `python_param` names, with `param_str` set."""
    param = layer_param.python_param
    where = f"layer '{layer_param.name}' (Python)"
    if not param.module or not param.layer:
        raise InputError(f"{where}: python_param needs module and layer")
    module = _find_module(layer_param.name, param.module)
    made = vars(module).get(param.layer)
    if made is None:
        classes = [name for name, one in vars(module).items() if _is_layer(one)]
        hint = did_you_mean(param.layer, classes) or f"; it has {', '.join(classes) or 'none'}"
        raise InputError(f"{where}: module '{param.module}' has no class '{param.layer}'{hint}")
    if not _is_layer(made):
        raise InputError(
            f"{where}: '{param.layer}' in module '{param.module}' is no subclass of caffe.Layer: "
            f"write class {param.layer}(caffe.Layer)"
        )
    for method in ("setup", "reshape", "forward"):
        if getattr(made, method) is getattr(Layer, method):
            raise InputError(
                f"{where}: class '{param.layer}' has no method '{method}': "
                f"write def {method}(self, bottom, top)"
            )
    layer = made.__new__(made)
    Layer.__init__(layer, layer_param, phase)  # a class's own __init__ need not call it
    if made.__init__ is not Layer.__init__:
        made.__init__(layer, layer_param)  # pycaffe passes nothing else
    layer.layer_param, layer.phase, layer.param_str = layer_param, phase, param.param_str
    return UsersLayer(layer, layer_param, phase)


class UsersLayer(Layer):
    """Stands in a net for a layer that a user wrote. What the engine keeps of a layer lies here, so
    that the user's object may use any attribute for itself."""

    def __init__(self, users: Layer, layer_param, phase: int):
        super().__init__(layer_param, phase)
        self.users = users
        self.__dict__["blobs"] = users.__dict__["blobs"]

    def setup(self, bottom, top):
        self.users.setup(bottom, top)

    def reshape(self, bottom, top):
        self.users.reshape(bottom, top)

    def forward(self, bottom, top):
        self.users.forward(bottom, top)

    def backward(self, top, propagate_down, bottom):
        backward = self.users.backward
        if getattr(backward, "__func__", None) is Layer.backward:  # asked for only now
            name = type(self.users).__name__
            raise self.fail(
                f"class '{name}' has no method 'backward', and the layers below need its gradient"
            )
        backward(top, propagate_down, bottom)


def as_users_see(layers) -> LayerVec:
    """A net's layers, with those that users wrote as themselves."""
    return LayerVec(one.users if isinstance(one, UsersLayer) else one for one in layers)
