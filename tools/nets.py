"""Nets that are run, not trained: read, checked and loaded with their weights."""

from __future__ import annotations

import importlib
import importlib.machinery
import os

import numpy as np

from tools.cli import UserError, warn


def read_net(path):
    """The NetParameter in a prototxt. Raises UserError naming the file, and line and field."""
    from google.protobuf import text_format

    from caffe.proto import caffe_pb2

    net = caffe_pb2.NetParameter()
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Merge(file.read(), net)
    except FileNotFoundError:
        raise UserError(f"{path}: no such net file; `make generate-nets` writes them") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; --net takes a prototxt") from None
    except text_format.ParseError as error:
        raise UserError(f"{path}:{error}") from None
    return net


def load(net_path, weights):
    """A caffe.Net in TEST phase with its weights; warns of learned layers that hold only zeros."""
    import caffe

    read_net(net_path)
    if not os.path.isfile(weights):
        raise UserError(f"{weights}: no such weights file")
    if os.path.getsize(weights) == 0:
        raise UserError(f"{weights}: the weights file is empty")
    if not hasattr(caffe, "engine"):
        _parse_weights(weights)
    net = caffe.Net(str(net_path), caffe.TEST, weights=str(weights))
    zeros = [n for n, blobs in net.params.items() if not np.any(blobs[0].data)]
    if zeros:
        warn(
            f"{weights}: all weights of {', '.join(zeros[:6])}{', …' * (len(zeros) > 6)} are 0; "
            "were they trained, and do the weights belong to this net?"
        )
    return net


def _parse_weights(path):
    """Raise UserError for a damaged caffemodel: BVLC Caffe would abort the process."""
    from google.protobuf.message import DecodeError

    from caffe.proto import caffe_pb2

    if str(path).endswith(".h5"):
        return
    try:
        with open(path, "rb") as file:
            caffe_pb2.NetParameter.FromString(file.read())
    except DecodeError:
        raise UserError(f"{path}: the caffemodel is damaged or cut short") from None


def data_layer(net_path):
    """(layer class, param_str) of the TEST-phase Python data layer in a prototxt.

    The class has the classmethods of `segmentation.SegmentationLayer`. Raises UserError.
    """
    from caffe.proto import caffe_pb2

    for layer in read_net(net_path).layer:
        phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
        if layer.type != "Python" or layer.bottom or (phases and caffe_pb2.TEST not in phases):
            continue
        name = layer.python_param.module
        made = getattr(_module(net_path, name), layer.python_param.layer, None)
        if made is None:
            raise UserError(f"{net_path}: module {name} has no layer {layer.python_param.layer}")
        return made, layer.python_param.param_str
    raise UserError(f"{net_path}: has no Python data layer; a val net is needed")


def _module(net_path, name):
    import caffe

    engine = getattr(caffe, "engine", None)
    if engine is not None:
        # Importing runs code: only from where the engine itself loads Python layers.
        folders = [str(folder) for folder in engine.python_path.folders()]
        if not name.isidentifier() or not importlib.machinery.PathFinder.find_spec(name, folders):
            raise UserError(f"{net_path}: no module {name!r} in data_layers/ or on PYTHONPATH")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"{net_path}: {error}; add its folder to PYTHONPATH") from None


def find_task(task, net_path):
    """The Task named `task` (a name, or a TOML file's path).

    Without one, the task whose folder the net lies in (`.../<task>/<net>/x.prototxt`), or None.
    """
    from prototxt.tasks import TASKS

    if task is None:
        return TASKS.get(os.path.basename(os.path.dirname(os.path.dirname(_full(net_path)))))
    if task in TASKS:
        return TASKS[task]
    if not task.endswith(".toml"):
        raise UserError(f"--task {task}: not one of {', '.join(TASKS)}, nor a .toml file")
    from prototxt import own

    return own.load(task)


def _full(path):
    return os.path.abspath(os.fspath(path))
