"""A net's prototxt without its data: Input layers in place of the layers that would read images."""

import ast
import os
import tempfile

from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from prototxt import text
from prototxt.errors import InputError

# Layers that make their tops from nothing and read no files.
SOURCES_KEPT = ("Input", "DummyData", "Parameter")

# Input sizes: a net that pads its image (FCNs pad by 100) takes any, VGG without padding 224.
PADDED_SIDE, PLAIN_SIDE, WIDE_PAD = 64, 224, 32


def parse(path):
    """The NetParameter in a .prototxt of any age. Raises InputError where it is no net."""
    return text.read(path, caffe_pb2.NetParameter())


def read_prototxt(path):
    """The NetParameter of a net to be initialised: it has layers, and they are not in V1."""
    net = parse(path)
    if net.layers:
        raise InputError(
            f"{path}: a V1 net (layers {{}}), Caffe's old format; `python -m caffe "
            "upgrade_net_proto_text OLD NEW` renews it"
        )
    if not net.layer:
        raise InputError(f"{path}: the net has no layers")
    return net


def is_data_layer(layer):
    """Whether a layer reads data: it has tops, no bottoms, and makes nothing up itself."""
    return bool(layer.top) and not layer.bottom and layer.type not in SOURCES_KEPT


def data_mean(net):
    """The mean that the data layer's param_str names, as a tuple, or None."""
    for layer in filter(is_data_layer, net.layer):
        try:
            mean = ast.literal_eval(layer.python_param.param_str).get("mean")
        except (ValueError, SyntaxError, AttributeError):
            continue
        if isinstance(mean, (tuple, list)):
            return tuple(mean)
    return None


def data_shape(layer):
    """(batch, (height, width) or None) that a data layer's param_str makes of training items."""
    try:
        given = ast.literal_eval(layer.python_param.param_str)
        if "train" not in given["split"]:
            return 1, None
        batch, crop = given.get("batch", 1), given.get("crop")
    except (ValueError, SyntaxError, AttributeError, KeyError, TypeError):
        return 1, None
    if isinstance(crop, int):
        crop = crop, crop
    return batch, tuple(crop) if crop else None


def without_data(net):
    """A copy of a NetParameter with Input layers in place of its data layers, of their batch and
    of the size that they cut images to, where they do.

    Labels (tops that a loss or Accuracy compares with) get 1 channel, as do tops called depth;
    a single other top gets as many as the data layer's mean has numbers; all others 3.
    """
    convolutions = [layer.convolution_param for layer in net.layer if layer.type == "Convolution"]
    padded = any(max(list(c.pad) + [c.pad_h, c.pad_w]) >= WIDE_PAD for c in convolutions)
    side = PADDED_SIDE if padded else PLAIN_SIDE
    labels = {"label"}
    for layer in net.layer:
        if "Loss" in layer.type or layer.type == "Accuracy":
            labels.update(layer.bottom[1:2])
    mean = data_mean(net)
    made = caffe_pb2.NetParameter()
    made.CopyFrom(net)
    for layer in filter(is_data_layer, made.layer):
        images = [top for top in layer.top if top not in labels]
        batch, crop = data_shape(layer)
        entry = caffe_pb2.LayerParameter(name=layer.name, type="Input", top=layer.top)
        entry.include.extend(layer.include)
        entry.exclude.extend(layer.exclude)
        for top in layer.top:
            channels = 3
            if top in labels or top == "depth":
                channels = 1
            elif mean is not None and images == [top]:
                channels = len(mean)
            entry.input_param.shape.add(dim=[batch, channels, *(crop or (side, side))])
        layer.CopyFrom(entry)
    return made


def build(net, path, make=None):
    """The caffe.Net of a NetParameter, without its data: no data set is needed.

    path: the file that the net was read from, which an error of the engine's then names.
    make(file): makes the net that is in a prototxt; without it, one in TRAIN phase.
    """
    handle, part = tempfile.mkstemp(suffix=".prototxt")
    try:
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text_format.MessageToString(without_data(net)))
        except OSError as error:
            raise OSError(error.errno, error.strerror, part) from None  # write() names no file
        return make(part) if make else caffe.Net(part, caffe.TRAIN)
    except RuntimeError as error:
        if getattr(error, "exit_code", None) != InputError.exit_code:
            raise
        raise InputError(str(error).replace(part, path)) from error
    finally:
        os.unlink(part)
