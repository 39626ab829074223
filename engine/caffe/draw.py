"""Drawings of nets, with pydot and Graphviz: pycaffe's `caffe.draw`.

    import caffe.draw
    caffe.draw.draw_net_to_file(net_parameter, "net.png", rankdir="TB")

pydot is imported where it is used (`pip install pydot`); pictures also need Graphviz's `dot`.
The ending `.raw` writes the graph itself, without `dot`.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

from .core.layer import TEST, TRAIN
from .errors import Error, InputError
from .proto import caffe_pb2
from .proto.files import atomic_write, in_the_way

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_COLORS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
}
_CONVOLUTIONS = ("Convolution", "Deconvolution")
_LEARNING = (*_CONVOLUTIONS, "InnerProduct")
_DEFAULTS = {"kernel_size": 1, "stride": 1, "pad": 0}


def _pydot():
    for name in ("pydot", "pydotplus"):
        try:
            return __import__(name)
        except ImportError:
            continue
    raise InputError("drawing nets needs pydot, which is not installed; run: pip install pydot")


def get_pooling_types_dict() -> dict[int, str]:
    """PoolingParameter's methods: number -> name."""
    return {v.number: v.name for v in caffe_pb2.PoolingParameter.PoolMethod.DESCRIPTOR.values}


def get_layer_lr_mult(layer) -> tuple[float, float]:
    """The learning rate multipliers of a convolution's or inner product's weights and biases."""
    if layer.type not in _LEARNING:
        raise ValueError(f"{layer.type} layers have no learning rate multipliers")
    if len(layer.param) > 2:
        raise ValueError(f"layer '{layer.name}' has {len(layer.param)} param fields; at most 2")
    given = [spec.lr_mult for spec in layer.param]
    return tuple(given + [1.0] * (2 - len(given)))


def _size(param, name: str) -> str:
    """kernel_size, stride or pad of a convolution or pooling, as text: `3`, or `3x5`."""
    side = name.split("_")[0]
    value = getattr(param, name)
    values = list(value) if hasattr(value, "extend") else [value]
    if param.HasField(side + "_h") or param.HasField(side + "_w"):
        return f"{getattr(param, side + '_h')}x{getattr(param, side + '_w')}"
    if not values:
        return str(_DEFAULTS[name])
    return "x".join(str(v) for v in (values if len(set(values)) > 1 else values[:1]))


def get_layer_label(layer, rankdir, display_lrm=False) -> str:
    """A layer's node label: name, type, and of convolutions and poolings kernel, stride, pad;
    with `display_lrm` the learning rate multipliers. On one line where the graph runs down."""
    kind, facts = layer.type, []
    param = None
    if layer.type in _CONVOLUTIONS:
        param = layer.convolution_param
    elif layer.type == "Pooling":
        param = layer.pooling_param
        kind = f"Pooling {get_pooling_types_dict()[param.pool]}"
    if param is not None:
        sizes = [(name, _size(param, name)) for name in ("kernel_size", "stride", "pad")]
        facts = [f"{name.replace('_', ' ')}: {text}" for name, text in sizes]
    if display_lrm and layer.type in _LEARNING:
        facts.append("lr mult: {}, {}".format(*get_layer_lr_mult(layer)))
    gap = " " if rankdir in ("TB", "BT") else "\\n"
    return '"' + gap.join([layer.name, f"({kind})", *facts]) + '"'


def get_edge_label(layer) -> str:
    """What stands on the edges to a layer's tops: its number of outputs, or batch size."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in _CONVOLUTIONS:
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def choose_color_by_layertype(layertype) -> str:
    """The colour of a layer type's nodes."""
    return _COLORS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def _style(layer) -> dict:
    if list(layer.bottom) == list(layer.top) and len(layer.top) == 1:  # in place
        return NEURON_LAYER_STYLE
    return {**LAYER_STYLE_DEFAULT, "fillcolor": choose_color_by_layertype(layer.type)}


def _in_phase(layer, phase) -> bool:
    """Whether a layer is in that phase's net, as far as its rules speak of phases."""

    def matches(rule):
        return not rule.HasField("phase") or rule.phase == phase

    if phase is None:
        return True
    included = not layer.include or any(matches(rule) for rule in layer.include)
    return included and not any(rule.HasField("phase") and matches(rule) for rule in layer.exclude)


def _quoted(name: str) -> str:
    return f'"{name}"' if ":" in name else name  # pydot takes what follows for a port


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """A pydot graph of a NetParameter.

    `rankdir`: the way it runs, LR, RL, TB or BT. `phase`: caffe.TRAIN or caffe.TEST leaves out
    the other phase's layers. `display_lrm`: learning rate multipliers in the labels. Blobs that
    no layer reads are without a frame.
    """
    if phase not in (None, TRAIN, TEST):
        raise InputError(f"phase is caffe.TRAIN, caffe.TEST or None, not {phase}")
    pydot = _pydot()
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    nodes: dict[tuple[str, ...], Any] = {}
    edges: list[tuple[tuple[str, ...], tuple[str, ...], str]] = []
    for layer in caffe_net.layer:
        if not _in_phase(layer, phase):
            continue
        me = ("layer", layer.name, layer.type)
        nodes[me] = pydot.Node(get_layer_label(layer, rankdir, display_lrm), **_style(layer))
        for bottom in layer.bottom:
            nodes["blob", bottom] = pydot.Node(_quoted(bottom), **BLOB_STYLE)
            edges.append((("blob", bottom), me, '""'))
        for top in layer.top:
            nodes["blob", top] = pydot.Node(_quoted(top))
            edges.append((me, ("blob", top), get_edge_label(layer) if label_edges else '""'))
    for node in nodes.values():
        graph.add_node(node)
    for start, end, label in edges:
        graph.add_edge(pydot.Edge(nodes[start], nodes[end], label=label))
    return graph


def draw_net(caffe_net, rankdir, ext="png", phase=None, display_lrm=False) -> bytes:
    """The picture of a NetParameter in the format `ext`, as bytes."""
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    if ext == "raw":
        return graph.to_string().encode("utf-8")
    try:
        return graph.create(format=ext)
    except FileNotFoundError:
        raise InputError(
            "drawing nets needs Graphviz's `dot`, which is not there; install the package "
            "graphviz, or write a .raw file"
        ) from None
    except AssertionError:  # pydot checks `dot`'s exit code so
        raise Error(f"Graphviz's dot failed; does it know the format '{ext}'?") from None


def draw_net_to_file(caffe_net, filename, rankdir="LR", phase=None, display_lrm=False) -> None:
    """Write the picture of a NetParameter, in the format that the file's ending names."""
    name = os.fspath(filename)
    ext = os.path.splitext(name)[1][1:]
    if not ext:
        raise InputError(f"{name}: the ending says the format (.png, .svg, .pdf, .raw)")
    problem = in_the_way(name, "a drawing of a net", _is_drawing)
    if problem:
        raise InputError(f"{name}: {problem}")
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    with atomic_write(name) as file:
        file.write(_signed(picture, ext))


_SIGN = b"Drawn by caffe.draw"
_COMMENTS = {
    **dict.fromkeys(("raw", "dot", "gv"), b"// %s\n"),
    "svg": b"<!-- %s -->\n",
    **dict.fromkeys(("pdf", "ps", "eps"), b"%% %s\n"),
}
_PNG = b"\x89PNG\r\n\x1a\n"


def _signed(picture: bytes, ext: str) -> bytes:
    """The picture with a comment that tells where it is from; without, where its format has none
    that is known here: such a picture is never replaced."""
    if not picture.startswith(_PNG):
        return picture + (_COMMENTS[ext] % _SIGN if ext in _COMMENTS else b"")
    head = len(_PNG) + 25  # with the chunk IHDR, which comes first
    chunk = b"tEXtComment\0" + _SIGN
    size, check = len(chunk) - 4, zlib.crc32(chunk)
    made = size.to_bytes(4, "big") + chunk + check.to_bytes(4, "big")
    return picture[:head] + made + picture[head:]


def _is_drawing(file) -> bool:
    head = file.read(128)
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 64))
    return _SIGN in (head if head.startswith(_PNG) else file.read())
