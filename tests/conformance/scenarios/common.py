"""What scenarios share: making a net, filling it, and copying out what it holds."""

from __future__ import annotations

import numpy as np

import caffe

PHASES = {"TRAIN": caffe.TRAIN, "TEST": caffe.TEST}


def write_text(text, name="net.prototxt", encoding="utf-8"):
    with open(name, "w", encoding=encoding) as file:
        file.write(text)
    return name


def make_net(args):
    """A Net of args: `prototxt` (text; `encoding`) or `file`, `phase`, `weights`, `level`,
    `stages`."""
    path = args.get("file")
    if path is None:
        path = write_text(args["prototxt"], encoding=args.get("encoding", "utf-8"))
    more = {k: args[k] for k in ("weights", "level", "stages") if k in args}
    return caffe.Net(path, PHASES[args.get("phase", "TEST")], **more)


def fill_params(net, seed, scale=0.5):
    """Normal parameters, the same under every NumPy (RandomState's stream is frozen)."""
    stream = np.random.RandomState(seed)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = scale * stream.standard_normal(blob.data.shape)


def set_top_diffs(net, seed):
    """Normal gradients into the outputs that are no losses."""
    stream = np.random.RandomState(seed)
    for name in net.outputs:
        values = stream.standard_normal(net.blobs[name].data.shape)
        if not net.blob_loss_weights[name]:
            net.blobs[name].diff[...] = values


def structure(net):
    """Names, types, connections and loss weights of a net, as plain values."""
    layers = list(net._layer_names)
    return {
        "layers": layers,
        "types": [layer.type for layer in net.layers],
        "blobs": list(net.blobs),
        "inputs": list(net.inputs),
        "outputs": list(net.outputs),
        "bottoms": {name: list(net.bottom_names[name]) for name in layers},
        "tops": {name: list(net.top_names[name]) for name in layers},
        "params": list(net.params),
        "blob_shapes": {name: list(blob.data.shape) for name, blob in net.blobs.items()},
        "param_shapes": {
            name: [list(blob.data.shape) for blob in blobs] for name, blobs in net.params.items()
        },
        "loss_weights": {name: float(w) for name, w in net.blob_loss_weights.items()},
    }


def values(net, diffs=True, gradients=True):
    """Copies of every blob, its diff, and every parameter's diff."""
    found = {}
    for name, blob in net.blobs.items():
        found["data " + name] = blob.data.copy()
        if diffs:
            found["diff " + name] = blob.diff.copy()
    if gradients:
        for name, blobs in net.params.items():
            for i, blob in enumerate(blobs):
                found[f"gradient {name}[{i}]"] = blob.diff.copy()
    return found


def prefixed(prefix, results):
    return {prefix + name: value for name, value in results.items()}


def parameters(net, prefix="param"):
    return {
        f"{prefix} {name}[{i}]": blob.data.copy()
        for name, blobs in net.params.items()
        for i, blob in enumerate(blobs)
    }


def forward_backward(net, arrays, seed):
    for name, value in arrays.items():
        net.blobs[name].reshape(*value.shape)
        net.blobs[name].data[...] = value
    net.forward()
    set_top_diffs(net, seed)
    net.backward()
