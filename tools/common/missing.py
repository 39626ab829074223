"""Which layers of a net a file of weights leaves without any."""

from __future__ import annotations

import caffe
from prototxt.opening import read_regular
from tools.common.cli import UserError

LEARNED = ("BatchNorm", "Convolution", "Deconvolution", "Embed", "InnerProduct", "LSTM", "PReLU",
           "Parameter", "RNN")  # fmt: skip
LEARNED_ALONE = ("Bias", "Scale")
"""Layer types that have parameters of their own where they have one bottom."""
CERTAIN = ("bilinear", "constant")
"""Fillers that make the same numbers each time."""
SHOWN = 6
LARGEST_WEIGHTS = (1 << 31) - 1
"""Bytes of a caffemodel: protobuf's own limit."""


def check_weights(proto, where, weights, names=None):
    """Raise UserError where a layer of the net needs weights that the file `weights` lacks.

    proto, where: the NetParameter in the prototxt `where`; names: the layers that have parameters,
    once the net is made; before, those of Caffe's own types in phase TEST.
    """
    needed = learned(proto, caffe.TEST) if names is None else list(names)
    missing, stored = without(proto, weights, needed)
    if not missing:
        return
    if not set(needed) & stored:
        raise UserError(none_fits(weights, where, needed, stored))
    raise UserError(
        f"{weights}: has no weights for {few(missing)} of {where}; are they of another net?"
    )


def none_fits(weights, where, needed, stored):
    """That a file has weights for none of a net's layers, as a line."""
    return (
        f"{weights}: has weights for no layer of {where}: it has {few(sorted(stored)) or 'none'}, "
        f"and the net needs {few(needed)}; are they of another net?"
    )


def without(proto, weights, needed):
    """([those of the layers `needed` that get no weights from the file], {layers that it has}).

    A layer that fills itself, the same each time, and never learns needs none; nor does one whose
    parameters are another's that has some.
    """
    stored = stored_layers(weights)
    layers = {layer.name: layer for layer in proto.layer}
    shared = {p.name for name in stored & layers.keys() for p in layers[name].param if p.name}

    def settled(name):
        layer = layers.get(name)
        if name in stored or layer is None:
            return name in stored
        names = [p.name for p in layer.param]
        return fills_itself(layer) or (bool(names) and set(names) <= shared)

    return [name for name in needed if not settled(name)], stored


def learned(proto, phase):
    """The names of a NetParameter's layers in `phase` that have parameters, by their types."""
    return [
        layer.name
        for layer in proto.layer
        if _in_phase(layer, phase)
        and (layer.type in LEARNED or (layer.type in LEARNED_ALONE and len(layer.bottom) == 1))
    ]


def _in_phase(layer, phase):
    """Whether a layer is in that phase's net, as far as its rules are of phases; not where they
    are also of levels and stages, which only Caffe judges."""

    def met(rule):
        return not rule.HasField("phase") or rule.phase == phase

    if any(r.stage or r.not_stage or r.HasField("min_level") or r.HasField("max_level")
           for r in (*layer.include, *layer.exclude)):  # fmt: skip
        return False
    if layer.include:
        return any(map(met, layer.include))
    return not any(map(met, layer.exclude))


def fills_itself(layer):
    """Whether a layer's parameters never change, and come from fillers without chance, as those of
    bilinear upsampling do."""
    shapes = [value for _, value in layer.ListFields() if hasattr(value, "bias_term")]
    blobs = 1 + any(value.bias_term for value in shapes)
    if len(layer.param) < blobs or any(p.lr_mult for p in layer.param):
        return False
    found = [
        getattr(value, name)
        for _, value in layer.ListFields()
        for name in ("weight_filler", "filler", "bias_filler")
        if hasattr(value, name) and value.HasField(name)
    ]
    return bool(found) and all(filler.type in CERTAIN for filler in found)


def stored_layers(path):
    """The names of the layers that have weights in a caffemodel or an HDF5 file."""
    if hasattr(caffe, "engine"):
        from caffe.core.weights import read_weights

        return {name for name, _, blobs in read_weights(path) if blobs}
    content = read_regular(path, LARGEST_WEIGHTS)
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        import h5py

        with h5py.File(path, "r") as file:
            return {name for name, group in file["data"].items() if len(group)}
    net = caffe.proto.caffe_pb2.NetParameter.FromString(content)
    return {layer.name for layer in (*net.layer, *net.layers) if layer.blobs}


def few(names):
    """Some of `names` as text, and that there are more."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + ", …" * (len(names) > SHOWN)
