"""Upgrade of older nets and solvers to Caffe 1.0's schema, as Caffe does when it reads them.

Four generations are about: V0 (``layers { layer { type: "conv" } }``), V1 (``layers { type:
CONVOLUTION }``; Oxford's VGG files), the current one (``layer { type: "Convolution" }``) with
net inputs as ``input`` fields, and the current one with ``Input`` layers. What is dropped because
the new schema has no place for it is logged under the name ``caffe``.
"""

from __future__ import annotations

import logging

from caffe.errors import InputError
from caffe.proto import caffe_pb2

_log = logging.getLogger("caffe")

# Words of a type name that are not written as one capital and small letters.
_SPELLING = {"Relu": "ReLU", "Lrn": "LRN", "Mvn": "MVN", "Bnll": "BNLL", "Hdf5": "HDF5"}
_V1_NAMES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}


def _type_name(enum_name: str) -> str:
    if enum_name in _V1_NAMES:
        return _V1_NAMES[enum_name]
    words = (word.capitalize() for word in enum_name.split("_"))
    return "".join(_SPELLING.get(word, word) for word in words)


# V1's enum number -> the current type string.
V1_TYPES = {
    value.number: _type_name(value.name)
    for value in caffe_pb2.V1LayerParameter.LayerType.DESCRIPTOR.values
}

# V0's type string -> V1's enum name ("padding" layers are folded away before).
V0_TYPES = {
    name: name.upper()
    for name in (
        "accuracy",
        "bnll",
        "concat",
        "data",
        "dropout",
        "euclidean_loss",
        "flatten",
        "hdf5_data",
        "hdf5_output",
        "im2col",
        "infogain_loss",
        "lrn",
        "multinomial_logistic_loss",
        "relu",
        "sigmoid",
        "softmax",
        "softmax_loss",
        "split",
        "tanh",
        "window_data",
    )
}
V0_TYPES.update(
    conv="CONVOLUTION", images="IMAGE_DATA", innerproduct="INNER_PRODUCT", pool="POOLING"
)

_ANY = ""
_WEIGHTED = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_WINDOWED = {"conv": "convolution_param", "pool": "pooling_param"}
_LRN = {"lrn": "lrn_param"}
_IMAGES = {"images": "image_data_param"}
_WINDOW_DATA = {"window_data": "window_data_param"}
_BATCHED = {
    "data": "data_param",
    "hdf5_data": "hdf5_data_param",
    "images": "image_data_param",
    "window_data": "window_data_param",
}
_SOURCED = dict(_BATCHED, infogain_loss="infogain_loss_param")
_TRANSFORMED = {_ANY: "transform_param"}

# V0 field -> (its name now, {V0 type: V1 message it moves into}).
_V0_FIELDS = {
    "num_output": ("num_output", _WEIGHTED),
    "biasterm": ("bias_term", _WEIGHTED),
    "weight_filler": ("weight_filler", _WEIGHTED),
    "bias_filler": ("bias_filler", _WEIGHTED),
    "pad": ("pad", _WINDOWED),
    "kernelsize": ("kernel_size", _WINDOWED),
    "stride": ("stride", _WINDOWED),
    "group": ("group", {"conv": "convolution_param"}),
    "pool": ("pool", {"pool": "pooling_param"}),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    "local_size": ("local_size", _LRN),
    "alpha": ("alpha", _LRN),
    "beta": ("beta", _LRN),
    "k": ("k", _LRN),
    "source": ("source", _SOURCED),
    "batchsize": ("batch_size", _BATCHED),
    "rand_skip": ("rand_skip", {"data": "data_param", "images": "image_data_param"}),
    "shuffle_images": ("shuffle", _IMAGES),
    "new_height": ("new_height", _IMAGES),
    "new_width": ("new_width", _IMAGES),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
    "scale": ("scale", _TRANSFORMED),
    "meanfile": ("mean_file", _TRANSFORMED),
    "cropsize": ("crop_size", _TRANSFORMED),
    "mirror": ("mirror", _TRANSFORMED),
    "det_fg_threshold": ("fg_threshold", _WINDOW_DATA),
    "det_bg_threshold": ("bg_threshold", _WINDOW_DATA),
    "det_fg_fraction": ("fg_fraction", _WINDOW_DATA),
    "det_context_pad": ("context_pad", _WINDOW_DATA),
    "det_crop_mode": ("crop_mode", _WINDOW_DATA),
}
# Fields that moved within the layer itself, whatever its type.
_V0_KEPT = {"name", "blobs", "blobs_lr", "weight_decay"}


def _put(message, name: str, value) -> None:
    """Set, copy or append ``value``, as the field is a scalar, a message or repeated."""
    target = getattr(message, name)
    if hasattr(target, "extend"):
        target.extend(value if hasattr(value, "extend") else [value])
    elif hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    else:
        setattr(message, name, value)


def _fold_padding(net, source: str):
    """Drop V0 ``padding`` layers; the convolution or pooling that reads one takes its pad."""
    makers: dict = {}
    kept = caffe_pb2.NetParameter()
    for connection in net.layers:
        new = connection  # a padding layer goes; one that reads another is refused
        if connection.layer.type != "padding":
            new = kept.layers.add()
            new.CopyFrom(connection)
        for i, bottom in enumerate(connection.bottom):
            padding = makers.get(bottom)
            if padding is None or padding.layer.type != "padding":
                continue
            where = f"{source}: layer '{connection.layer.name}'"
            if connection.layer.type not in ("conv", "pool"):
                raise InputError(
                    f"{where} of V0 type '{connection.layer.type}' reads padding layer "
                    f"'{padding.layer.name}'; only conv and pool may"
                )
            if len(connection.bottom) != 1 or len(padding.bottom) != 1 or len(padding.top) != 1:
                raise InputError(
                    f"{where} and its padding layer '{padding.layer.name}' "
                    "must have one bottom and one top each"
                )
            new.layer.pad = padding.layer.pad
            new.bottom[i] = padding.bottom[0]
        makers.update((top, connection) for top in connection.top)
    return kept.layers


def _v0_to_v1(connection, source: str):
    old = connection.layer
    if not connection.HasField("layer"):
        return connection
    new = caffe_pb2.V1LayerParameter(bottom=connection.bottom, top=connection.top)
    if old.HasField("type"):
        if old.type not in V0_TYPES:
            raise InputError(f"{source}: layer '{old.name}' has unknown V0 type '{old.type}'")
        new.type = caffe_pb2.V1LayerParameter.LayerType.Value(V0_TYPES[old.type])
    for field, value in old.ListFields():
        if field.name in _V0_KEPT:
            _put(new, field.name, value)
        elif field.name == "hdf5_output_param" and old.type == "hdf5_output":
            new.hdf5_output_param.CopyFrom(value)
        elif field.name != "type":
            name, owners = _V0_FIELDS.get(field.name, (field.name, {}))
            owner = owners.get(old.type, owners.get(_ANY))
            if owner is None:
                _log.warning(
                    "%s: V0 layer '%s' of type '%s': field '%s' does not apply and is dropped",
                    source,
                    old.name,
                    old.type,
                    field.name,
                )
            else:
                _put(getattr(new, owner), name, value)
    return new


_TRANSFORM_OWNERS = {
    caffe_pb2.V1LayerParameter.DATA: "data_param",
    caffe_pb2.V1LayerParameter.IMAGE_DATA: "image_data_param",
    caffe_pb2.V1LayerParameter.WINDOW_DATA: "window_data_param",
}


def _move_transform(layer) -> None:
    """V1 data layers once held scale, mean_file, crop_size and mirror themselves."""
    if layer.type not in _TRANSFORM_OWNERS or not layer.HasField("type"):
        return
    param = getattr(layer, _TRANSFORM_OWNERS[layer.type])
    for name in ("scale", "mean_file", "crop_size", "mirror"):
        if param.HasField(name):
            setattr(layer.transform_param, name, getattr(param, name))
            param.ClearField(name)


_V1_SPECIAL = {"layer", "type", "blobs_lr", "weight_decay", "param", "blob_share_mode"}


def _v1_to_current(old):
    new = caffe_pb2.LayerParameter()
    if old.HasField("type"):
        new.type = V1_TYPES[old.type]
    for field, value in old.ListFields():
        if field.name not in _V1_SPECIAL:
            _put(new, field.name, value)
    specs = (
        ("name", old.param),
        ("share_mode", old.blob_share_mode),
        ("lr_mult", old.blobs_lr),
        ("decay_mult", old.weight_decay),
    )
    for name, values in specs:
        for i, value in enumerate(values):
            spec = new.param[i] if i < len(new.param) else new.param.add()
            setattr(spec, name, value)
    return new


def _inputs_to_layer(net, source: str) -> None:
    count = len(net.input)
    if net.input_shape:
        shapes = [list(shape.dim) for shape in net.input_shape]
        held, given = "input_shape", len(shapes)
    else:
        dims = list(net.input_dim)
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
        held, given = "input_dim", len(dims)
    if given:
        wanted = count if held == "input_shape" else 4 * count
        if given > wanted:
            _log.warning("%s: %d %s fields, of which %d count", source, given, held, wanted)
        if given < wanted:
            raise InputError(
                f"{source}: {count} input fields need {wanted} {held} fields, not {given}"
            )
        rest = list(net.layer)
        net.ClearField("layer")
        layer = net.layer.add(name="input", type="Input", top=net.input)
        for shape in shapes[:count]:
            layer.input_param.shape.add(dim=shape)
        net.layer.extend(rest)
    for name in ("input", "input_shape", "input_dim"):
        net.ClearField(name)


def upgrade_net(net, source: str = "net"):
    """Bring a NetParameter up to the current schema, in place, and return it.

    ``source`` is the file's name, for messages. Raises InputError where no upgrade is possible.
    """
    if any(layer.HasField("layer") for layer in net.layers):
        layers = [_v0_to_v1(layer, source) for layer in _fold_padding(net, source)]
        net.ClearField("layers")
        net.layers.extend(layers)
    if net.layers:
        if net.layer:
            raise InputError(
                f"{source}: has both 'layers' (old format) and 'layer' fields; "
                'write all as layer { type: "Name" }'
            )
        for layer in net.layers:
            _move_transform(layer)
            net.layer.add().CopyFrom(_v1_to_current(layer))
        net.ClearField("layers")
    if net.input:
        _inputs_to_layer(net, source)
    for layer in net.layer:
        # BatchNorm's three blobs are statistics, which a solver must not touch; older files
        # said so by three param { lr_mult: 0 }, where the layer now says so itself.
        if layer.type == "BatchNorm" and len(layer.param) == 3:
            layer.ClearField("param")
    return net


_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def upgrade_solver(solver, source: str = "solver"):
    """Turn ``solver_type`` (enum) into ``type`` (string), in place, and return the message.

    Nets that stand in the solver itself are upgraded too.
    """
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise InputError(f"{source}: has both 'type' and the older 'solver_type'; keep 'type'")
        name = caffe_pb2.SolverParameter.SolverType.Name(solver.solver_type)
        solver.type = _SOLVER_TYPES[name]
        solver.ClearField("solver_type")
    for name in ("net_param", "train_net_param"):
        if solver.HasField(name):
            upgrade_net(getattr(solver, name), source)
    for net in solver.test_net_param:
        upgrade_net(net, source)
    return solver
