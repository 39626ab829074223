"""Small nets as text, for the tests of the net summary."""

from __future__ import annotations

from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2
from tools import summary


def layer(name, kind, bottoms="", more="", top=None):
    tops = [f'top: "{t}"' for t in (name if top is None else top).split()]
    places = [f'bottom: "{b}"' for b in bottoms.split()] + tops
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(places)} {more} }}\n'


def data(*dims, name="data"):
    dim = " ".join(f"dim: {d}" for d in dims)
    return layer(name, "Input", "", f"input_param {{ shape {{ {dim} }} }}")


def conv(name, bottom, more, kind="Convolution", outputs=1):
    """A convolution of ones, without a bias."""
    ones = 'bias_term: false weight_filler { type: "constant" value: 1 }'
    return layer(name, kind, bottom, f"convolution_param {{ num_output: {outputs} {ones} {more} }}")


def summarized(text):
    return summary.summarize(text_format.Parse(text, caffe_pb2.NetParameter()), "net")


def by_top(found):
    """Top -> its Row; of several, that of the layer that makes it."""
    return {row.top: row for row in reversed(found.rows)}


def built(net, path):
    """The caffe.Net of a text or a NetParameter, written to `path`."""
    path.write_text(net if isinstance(net, str) else text_format.MessageToString(net))
    caffe.set_mode_cpu()
    return caffe.Net(str(path), caffe.TEST)


def assert_is(found, net):
    """The Summary has the caffe.Net's shapes, parameters and memory."""
    blobs = {n: tuple(b.data.shape) for n, b in net.blobs.items() if "_split_" not in n}
    assert blobs == {name: row.shape for name, row in by_top(found).items()}
    params = {}
    for row in found.rows:
        for param in row.params:
            params.setdefault(param.layer, []).append(tuple(param.shape))
    assert params == {n: [tuple(b.data.shape) for b in bs] for n, bs in net.params.items()}
