"""Small nets, as prototxt, for what is not about one layer: links, phases, sharing, training."""

from __future__ import annotations

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: %s } } }'


def data(*dims, name="data"):
    """An Input layer whose layer and top are called `name`."""
    return DATA.replace("data", name, 1).replace('top: "data"', f'top: "{name}"') % (
        " dim: ".join(map(str, dims))
    )


def layer(name, kind, bottom=(), top=None, more=""):
    """A layer line; `bottom` is a name or several, `top` the layer's own name if left out."""
    bottoms = [bottom] if isinstance(bottom, str) else bottom
    tops = [name] if top is None else [top] if isinstance(top, str) else top
    links = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(links)} {more} }}'


def conv(name, bottom, outputs=3, kernel=3, more="", top=None):
    settings = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} }}"
    return layer(name, "Convolution", bottom, top, f"{settings} {more}")


def ip(name, bottom, outputs=4, more="", top=None):
    return layer(
        name, "InnerProduct", bottom, top, f"inner_product_param {{ num_output: {outputs} }} {more}"
    )


def net(*layers, head=""):
    return "\n".join([head, *layers]) + "\n"


FORCED = "force_backward: true"

CLASSIFIER = net(
    data(4, 2, 8, 8),
    data(4, name="label"),
    conv("conv1", "data", 4, more="param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }"),
    layer("relu1", "ReLU", "conv1", "conv1"),
    layer("pool1", "Pooling", "conv1", more="pooling_param { kernel_size: 2 stride: 2 }"),
    ip("hidden", "pool1", 6, "param { lr_mult: 1 decay_mult: 2 } param { lr_mult: 0.5 }"),
    ip("frozen", "hidden", 6, "param { lr_mult: 0 } param { lr_mult: 0 }"),
    layer("relu2", "ReLU", "frozen", "frozen"),
    ip("score", "frozen", 4),
    layer("loss", "SoftmaxWithLoss", ["score", "label"]),
)
"""Convolution to loss, with lr_mult and decay_mult of many kinds and one frozen layer."""
