"""Prototxt text of small nets, and their parameters."""

from __future__ import annotations

import numpy as np


def fill(net, seed=0):
    stream = np.random.RandomState(seed)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = stream.standard_normal(blob.data.shape) * 0.3


def params(net):
    """Copies of all parameters, in order."""
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def layer(name, kind, bottom=(), top=None, more=""):
    """One layer's prototxt."""
    bottoms = [bottom] if isinstance(bottom, str) else bottom
    tops = [name] if top is None else [top] if isinstance(top, str) else top
    ends = "".join(f'bottom: "{b}" ' for b in bottoms) + "".join(f'top: "{t}" ' for t in tops)
    return f'layer {{ name: "{name}" type: "{kind}" {ends} {more} }}\n'


def data(*shape, name="data"):
    dims = " ".join(f"dim: {d}" for d in shape)
    return layer(name, "Input", more=f"input_param {{ shape {{ {dims} }} }}")


def ip(name, bottom, outputs=3, more="", top=None):
    fillers = (
        'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "constant" value: 0.1 }'
    )
    more = f"inner_product_param {{ num_output: {outputs} {fillers} }} {more}"
    return layer(name, "InnerProduct", bottom, top, more)


def losses(bottom="ip"):
    return layer("loss", "SoftmaxWithLoss", [bottom, "label"])


CLASSIFIER = (
    'name: "tiny" '
    + data(4, 3)
    + data(4, name="label")
    + ip("ip", "data", more="param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }")
    + losses()
)

SNAPSHOTS = (
    'net: "net.prototxt" base_lr: 1e-4 lr_policy: "multistep" gamma: 0.5 stepvalue: 2 '
    'stepvalue: 5 momentum: 0.9 weight_decay: 0.01 average_loss: 4 snapshot_prefix: "s" '
    "random_seed: 3 "
)
"""A solver on net.prototxt that a snapshot has much to say of."""
