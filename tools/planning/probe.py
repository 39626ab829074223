"""How long a net's passes would take on this machine, by a probe of some seconds: its convolutions
are timed one by one, each on a part of its map, and the arithmetic of all is divided by the rates.
"""

from __future__ import annotations

import time
from collections import namedtuple

from prototxt import skeleton
from tools import summary

SECONDS = 10.0
SIDE = 96
"""Rows and columns of the maps that are probed, at most."""
WEIGHTS = 1 << 24
"""Numbers of the weights that are probed, at most: fewer outputs stand for more."""

Times = namedtuple("Times", "forward step")
Times.__doc__ = "Seconds of a forward pass, and of a forward, a backward pass and an update."


def seconds(deploy, train, name):
    """Times of the sized nets `deploy` and `train` (NetParameters; train may be None)."""
    forward = _seconds(deploy, name, False)
    return Times(forward, None if train is None else _seconds(train, name, True))


def _seconds(net, name, backward):
    layers = {layer.name: layer for layer in net.layer}
    work = {}
    for row in summary.summarize(net, name).rows:
        layer = layers[row.layer]
        if layer.type in ("Convolution", "InnerProduct") and row.macs:
            weights = row.params[0].shape
            work.setdefault(_kind(layer, weights), []).append((row.macs, layer, weights, row.shape))
    total = sum(one[0] for rows in work.values() for one in rows)
    spent, known, found = 0.0, 0, 0.0
    # The largest first; what there is no time for is as fast as the rest.
    for rows in sorted(work.values(), key=lambda rows: -sum(one[0] for one in rows)):
        macs = sum(one[0] for one in rows)
        if spent > SECONDS / 2 and known:
            break
        began = time.perf_counter()
        found += macs * _rate(rows[0], backward, SECONDS / 2 * macs / total)
        spent += time.perf_counter() - began
        known += macs
    return found * total / known if known else 0.0


def _kind(layer, weights):
    param = layer.convolution_param
    return tuple(weights), tuple(param.dilation), tuple(param.stride), tuple(param.pad)


def _rate(row, backward, budget):
    """Seconds for each multiply-add of the layer of a row (macs, layer, weights, top's shape)."""
    import caffe

    _, layer, weights, shape = row
    net = _probe_net(layer, weights, shape)
    made = skeleton.build(net, "probe")
    macs = sum(one.macs for one in summary.summarize(net, "probe").rows)
    times = []
    until = time.perf_counter() + budget
    while len(times) < 2 or (time.perf_counter() < until and len(times) < 50):
        began = time.perf_counter()
        made.forward()
        if backward:
            made.backward()
        caffe.engine.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:]) / max(macs, 1)


def _probe_net(layer, weights, shape):
    """A NetParameter of an input, a ReLU's stand-in and the layer on a part of its map."""
    from caffe.proto import caffe_pb2

    inputs = weights[1] * max(1, layer.convolution_param.group)
    convolution = layer.type == "Convolution"
    net = caffe_pb2.NetParameter(force_backward=True)
    data = net.layer.add(name="data", type="Input", top=["data"])
    probed = net.layer.add()
    probed.CopyFrom(layer)
    for field in ("bottom", "top", "include", "exclude", "param", "blobs"):
        probed.ClearField(field)
    probed.bottom.append("data")
    probed.top.append("top")
    if not convolution:
        data.input_param.shape.add(dim=[1, weights[1]])
        return net
    side = min(SIDE, max(shape[2:]))
    param = probed.convolution_param
    reach = max((d or 1) * (k - 1) for k in weights[2:] for d in (list(param.dilation) or [1]))
    for field in ("pad", "pad_h", "pad_w"):
        param.ClearField(field)
    fewer = max(1, WEIGHTS // max(1, weights[1] * weights[2] * weights[3]))
    param.num_output = min(param.num_output, fewer)
    data.input_param.shape.add(dim=[1, inputs, side + reach, side + reach])
    return net
