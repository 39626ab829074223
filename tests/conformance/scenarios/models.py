"""Scenarios of well-known nets, and of a caffemodel that was trained for real."""

from __future__ import annotations

import os

import numpy as np
from google.protobuf import text_format

import caffe
from tests.conformance import models

from .common import PHASES, make_net, parameters, write_text
from .published import bilinear, normal, passed, read_net, without_chance

SCORE_SCALE = 0.01
"""Takes scores of about a hundred to about one: a softmax of larger ones has no gradient."""


def fill_like_a_trained_net(net, layers, seed):
    """He's scale before a ReLU, small scores elsewhere, bilinear deconvolutions."""
    stream = np.random.RandomState(seed)
    rectified = {layer.bottom[0] for layer in layers if layer.type == "ReLU"}
    by_name = {layer.name: layer for layer in layers}
    for name, blobs in net.params.items():
        weights = blobs[0].data
        if by_name[name].type == "Deconvolution":
            weights[...] = np.eye(len(weights))[..., None, None] * bilinear(weights.shape[-1])
            continue
        scale = np.sqrt(2.0) if by_name[name].top[0] in rectified else SCORE_SCALE
        inputs = np.prod(weights.shape[1:])
        weights[...] = np.float32(scale / np.sqrt(inputs)) * normal(stream, weights.shape)
        blobs[1].data[...] = np.float32(0.1) * normal(stream, blobs[1].data.shape)


def model_pass(args, arrays):
    """args["model"] of models.py, as this side builds it, without dropout: its definition to the
    byte, its structure, and what a pass in args["phase"] leaves."""
    made = models.MODELS[args["model"]](args["deploy"])
    definition = [layer.SerializeToString().hex() for layer in made.layer]
    calm = without_chance(made)
    path = write_text(text_format.MessageToString(calm))
    net = caffe.Net(path, PHASES[args["phase"]])
    fill_like_a_trained_net(net, calm.layer, 0)
    return dict(passed(net, arrays, args["backward"]), definition=definition)


def with_a_loss(net_param):
    """A deploy net whose last layer, the Softmax, is a SoftmaxWithLoss on `label`, an input."""
    made = caffe.proto.caffe_pb2.NetParameter()
    made.CopyFrom(net_param)
    last = made.layer[-1]
    assert last.type == "Softmax"
    last.type, last.name, last.top[0] = "SoftmaxWithLoss", "loss", "loss"
    last.bottom.append("label")
    label = made.layer.add(name="label", type="Input", top=["label"])
    label.input_param.shape.add().dim.append(1)
    layers = [made.layer[-1], *made.layer[:-1]]
    del made.layer[:]
    made.layer.extend(layers)
    return made


def trained_pass(args, arrays):
    """The deploy net args["file"] with args["weights"]: a pass forward in TEST, or, with a loss
    and in TRAIN where args["backward"], also backward."""
    made = read_net(args["file"])
    if args["backward"]:
        made = with_a_loss(made)
    path = write_text(text_format.MessageToString(made))
    phase = caffe.TRAIN if args["backward"] else caffe.TEST
    net = caffe.Net(path, phase, weights=args["weights"])
    return passed(net, arrays, args["backward"])


def saved_again(args, arrays):
    """The parameters of args["weights"] in the net args["file"]; saved as args["saved"]."""
    net = make_net(args)
    net.save(os.path.abspath(args["saved"]))
    return parameters(net)
