"""Nets that are run, not trained: read, checked and loaded with their weights."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
from collections import namedtuple

import numpy as np

from prototxt import text
from prototxt.build import param_str
from prototxt.opening import open_regular
from prototxt.tasks import TASKS, VOC_MEAN
from tools.common.cli import UserError, warn
from tools.common.inputs import check_input
from tools.common.missing import check_weights, few


def read_net(path):
    """The NetParameter in a prototxt. Raises an error that names the file, and line and field."""
    from caffe.proto import caffe_pb2

    return text.read(path, caffe_pb2.NetParameter())


class Prototxts(dict):
    """The NetParameters of a command's nets by path, each read when it is first asked for."""

    def __missing__(self, path):
        self[path] = read_net(path)
        return self[path]


def lean():
    """Let nets that are made from now on free what their own passes need no more, where the
    engine runs; then `keep` what is to be read."""
    import caffe

    if hasattr(caffe, "engine"):
        caffe.engine.set_lean(True)


def keep(net, *names):
    """Let these blobs of a lean net be readable after its passes."""
    import caffe

    if hasattr(caffe, "engine"):
        caffe.engine.keep(net, *names)


def load(net_path, weights, proto, where=None):
    """A caffe.Net in TEST phase with its weights; warns of learned layers that hold only zeros.

    net_path: a prototxt that `read_net` has read before: BVLC Caffe aborts at a typo. proto: the
    NetParameter in it, or in the file `where`, which errors name. UserError where a layer gets no
    weights.
    """
    import caffe

    check_input(weights, "weights", "--weights")
    if not hasattr(caffe, "engine"):
        _parse_weights(weights)
    net = caffe.Net(str(net_path), caffe.TEST, weights=str(weights))
    check_weights(proto, where or net_path, weights, net.params)
    zeros = zero_layers(net)
    if zeros:
        warn(
            f"{weights}: all weights of {few(zeros)} are 0; "
            "were they trained, and do the weights belong to this net?"
        )
    return net


def zero_layers(net):
    """The names of the layers whose weights are all 0."""
    return [name for name, blobs in net.params.items() if not np.any(blobs[0].data)]


def class_count(args, net):
    """How many classes the scores `args.layer` of a net have; UserError where it has none."""
    if args.layer not in net.blobs:
        raise UserError(f"{args.net}: has no blob {args.layer!r}; --layer names the scores")
    return net.blobs[args.layer].shape[1]


def class_names(args, task, count, unnamed):
    """`count` class names: the task's, else `unnamed` with each number put in.

    Raises UserError where `args.task` is given and has another number of classes.
    """
    if task is not None and len(task.classes) == count:
        return list(task.classes)
    if args.task:
        raise UserError(f"--task {args.task}: has {len(task.classes)} classes, the net {count}")
    return [unnamed.format(c) for c in range(count)]


def background_of(names):
    """The number of the class that pictures leave bare, 0 or None: data sets whose first class is a
    thing (CamVid: sky) have none."""
    return 0 if names[0] in ("background", "class 0") else None


def _parse_weights(path):
    """Raise UserError for a damaged caffemodel: BVLC Caffe would abort the process."""
    from google.protobuf.message import DecodeError

    from caffe.proto import caffe_pb2

    with open_regular(path) as file:
        content = file.read()
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return
    try:
        net = caffe_pb2.NetParameter.FromString(content)
    except DecodeError:
        raise UserError(f"{path}: the caffemodel is damaged or cut short") from None
    for layer in (*net.layer, *net.layers):
        for blob in layer.blobs:
            if np.prod(blob.shape.dim) and not len(blob.data) and not len(blob.double_data):
                raise UserError(
                    f"{path}: layer {layer.name} holds no numbers that BVLC Caffe can read "
                    "(float16?); surgery/make_init.py --from makes float32 of them"
                )


def data_layer(net, path):
    """(layer class, param_str) of the TEST-phase Python data layer of a NetParameter.

    path: the prototxt that it was read from, for messages. The class has the classmethods of
    `segmentation.SegmentationLayer`. Raises UserError.
    """
    import caffe

    for found in data_layers(net, path, caffe.TEST):
        return found
    raise UserError(
        f"{path}: has no Python data layer, so no images to score; take the val.prototxt beside it"
    )


def check_data(net, path, phase):
    """Raise an error with exit code 2 where a file is missing that the net's data layers read."""
    for layer, params in data_layers(net, path, phase):
        if hasattr(layer, "check"):
            layer.check(params)


def data_layers(net, path, phase):
    """(layer class, param_str) of each Python data layer of a NetParameter in `phase`."""
    for layer in _python_sources(net, phase):
        name, where = layer.python_param.module, f"{path}: layer {layer.name!r}"
        made = getattr(layer_module(where, name), layer.python_param.layer, None)
        if made is None:
            raise UserError(f"{where}: module {name} has no layer {layer.python_param.layer}")
        yield made, layer.python_param.param_str


def data_tops(net):
    """The names of the tops of a NetParameter's TEST-phase Python data layer; [] if it has none."""
    import caffe

    return next((list(layer.top) for layer in _python_sources(net, caffe.TEST)), [])


def _python_sources(net, phase):
    for layer in net.layer:
        phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
        if layer.type == "Python" and not layer.bottom and (not phases or phase in phases):
            yield layer


def layer_module(where, name):
    import caffe

    engine = getattr(caffe, "engine", None)
    if engine is not None:
        # Importing runs code: only from where the engine itself loads Python layers.
        spec = engine.python_path.find(name)
        if spec is None or not engine.python_path.allows(spec):
            raise UserError(f"{where}: no module {name!r} in data_layers/ or on PYTHONPATH")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"{where}: {error}; add its folder to PYTHONPATH") from None


InputSettings = namedtuple(
    "InputSettings", "mean shrink reverse channels scale", defaults=(None, 1.0)
)
InputSettings.__doc__ = """How a picture becomes a deploy net's input.

mean     one number per channel of the blob
shrink   whole factor of box averages
reverse  whether the blob's channels are B, G, R (an HHA image's are as stored)
channels, scale   of other bands: as `segmentation.channels.read_channels` takes them; or None
"""

PHOTOGRAPH = InputSettings(VOC_MEAN, 1, True)


def input_settings(task, net_path, asked=True):
    """InputSettings of a deploy net: the Task's where it was `asked` for, else those of the data
    layer in the val.prototxt beside the net, else the Task's, else VGG's mean and full size."""
    if task is not None and asked:
        return _settings_of_task(task)
    beside = _settings_beside(net_path)
    if beside is None and task is not None:
        return _settings_of_task(task)
    return beside or PHOTOGRAPH


def _settings_of_task(task):
    source = task.val
    layer = getattr(layer_module(f"task {task.name}", source.module), source.layer)
    return _settings(layer, param_str(source, "data"))


def _settings_beside(net_path):
    """InputSettings of the val.prototxt beside a net; None where there is none that tells them."""
    import caffe

    beside = os.path.join(os.path.dirname(_full(net_path)), "val.prototxt")
    try:
        net = read_net(beside) if os.path.isfile(beside) else None
        for layer, params in data_layers(net, beside, caffe.TEST) if net else ():
            if hasattr(layer, "parse"):
                return _settings(layer, params)
    except (UserError, ValueError) as error:  # another's net: not needed to segment
        warn(f"{error}; its mean and size are not taken")
    return None


def _settings(layer, params):
    parsed = layer.parse(params)
    if not hasattr(layer, "means"):  # another's layer
        return PHOTOGRAPH._replace(mean=parsed.get("mean", VOC_MEAN))
    top = layer.top_names(parsed)[0]
    channels = parsed.get("channels")
    return InputSettings(
        layer.means(parsed)[top],
        parsed.get("shrink", 1),
        top != "hha" and channels is None,
        channels,
        parsed.get("pixel_scale", 1.0),
    )


def find_task(task, net_path):
    """The Task named `task` (a name, or a TOML file's path).

    Without one, the Task of the TOML that the net was made from, whose copy lies beside it, else
    the task whose folder the net lies in (`.../<task>/<net>/x.prototxt`), or None.
    """
    from prototxt import own

    if task is None:
        folder = os.path.dirname(_full(net_path))
        copy = os.path.join(folder, own.COPY)
        try:
            if os.path.isfile(copy):
                return own.load(copy, "data", counted=False)
        except ValueError as error:
            warn(f"{error}; the names of the classes are not taken from it")
        return TASKS.get(os.path.basename(os.path.dirname(folder)))
    if task in TASKS:
        return TASKS[task]
    if not task.endswith(".toml"):
        raise UserError(f"--task {task}: not one of {', '.join(TASKS)}, nor a .toml file")
    return own.load(task, counted=False)


def _full(path):
    return os.path.abspath(os.fspath(path))
