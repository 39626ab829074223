"""Scenarios of the generated nets, whole."""

from __future__ import annotations

import os

import numpy as np
from google.protobuf import text_format

import caffe
from caffe.proto import caffe_pb2

from .common import make_net, parameters, structure, write_text


def without_chance(net_param, data_param_str=None, shape=None):
    """The published net with nothing random in it: dropout ratio 0, and its data layer either
    reading elsewhere (`data_param_str`) or replaced by Input layers for data of `shape`."""
    kept = []
    for layer in net_param.layer:
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = 0
        if layer.type == "Python" and data_param_str:
            layer.python_param.param_str = data_param_str
        elif layer.type == "Python":
            for top in layer.top:
                made = caffe_pb2.LayerParameter(name=top, type="Input", top=[top])
                channels = 1 if top in ("label", "depth") else 3
                made.input_param.shape.add().dim.extend([shape[0], channels] + shape[2:])
                kept.append(made)
            continue
        kept.append(layer)
    made = caffe_pb2.NetParameter()
    made.CopyFrom(net_param)
    del made.layer[:]
    made.layer.extend(kept)
    return made


def read_net(path):
    made = caffe_pb2.NetParameter()
    with open(path) as file:
        text_format.Merge(file.read(), made)
    return made


def bilinear(size):
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    row = 1 - np.abs(np.arange(size) - centre) / factor
    return row[:, None] * row


def normal(stream, shape, block=1 << 20):
    """Normal numbers; of a large array only the first `block` are drawn, and repeated."""
    count = int(np.prod(shape))
    return np.resize(stream.standard_normal(min(count, block)).astype(np.float32), shape)


def fill_like_a_trained_net(net, layers, seed):
    """Weights with which signals neither vanish nor explode, and every skip counts.

    He's scale in the trunk; each score layer undoes the fixed scale before it; deconvolutions
    upsample bilinearly; Scale layers keep what their filler gave them."""
    stream = np.random.RandomState(seed)
    by_name = {layer.name: layer for layer in layers}
    scale_of = {
        layer.top[0]: layer.scale_param.filler.value for layer in layers if layer.type == "Scale"
    }
    for name, blobs in net.params.items():
        layer = by_name[name]
        weights = blobs[0].data
        if layer.type == "Deconvolution":
            weights[...] = 0
            for i in range(min(weights.shape[:2])):
                weights[i, i] = bilinear(weights.shape[-1])
        elif layer.type == "Convolution":
            inputs = np.prod(weights.shape[1:])
            scale = np.sqrt(2.0 / inputs)
            if name.startswith("score"):
                scale = 0.01 / scale_of.get(layer.bottom[0], 1.0) / np.sqrt(inputs)
            weights[...] = np.float32(scale) * normal(stream, weights.shape)
            if len(blobs) > 1:
                blobs[1].data[...] = np.float32(0.1) * normal(stream, blobs[1].data.shape)


def published_net(args, arrays):
    """Write args["net"] without chance to args["folder"]/net.prototxt, and weights for it beside
    it. Run once, by one side: both then read the same files."""
    source = read_net(args["net"])
    made = without_chance(source, args.get("param_str"), args.get("shape"))
    path = os.path.join(args["folder"], "net.prototxt")
    write_text(text_format.MessageToString(made), path)
    if args.get("with_weights"):
        net = caffe.Net(path, caffe.TRAIN)
        fill_like_a_trained_net(net, made.layer, 0)
        net.save(os.path.join(args["folder"], "w.caffemodel"))
    return {}


def all_blobs(net):
    return {"data " + name: blob.data.copy() for name, blob in net.blobs.items()}


def forward_and_backward(net, given=None):
    """Every blob after forward, and what backward then leaves in the diffs; each layer's tops.

    ReLU and max pooling choose by comparing numbers that may differ by rounding alone, and a
    choice that falls the other way changes a gradient by far more than rounding. So that both
    sides choose alike, a side may be `given` the other's tops: after a forward pass of its own,
    every layer runs again, forward and then backward, on the other's numbers."""
    found, tops = {}, {}
    if given:
        net.forward()
        found = all_blobs(net)
    for i, name in enumerate(net._layer_names):
        net._forward(i, i)
        for top in net.top_names[name]:
            key = f"top {i} {top}"
            if given:
                net.blobs[top].data[...] = given[key]
            else:
                tops[key] = net.blobs[top].data.copy()
    found = found or all_blobs(net)
    net.backward()
    return found, tops


def published_pass(args, arrays):
    """The net at args["file"] on the given image and label: blobs, and where args["backward"]
    every diff; `arrays` holds the inputs and perhaps another side's tops."""
    net = make_net(args)
    for name, value in arrays.items():
        if name in net.blobs:
            net.blobs[name].reshape(*value.shape)
            net.blobs[name].data[...] = value
    found = structure(net)
    if not args["backward"]:
        net.forward()
        return dict(found, **all_blobs(net))
    given = {key: value for key, value in arrays.items() if key.startswith("top ")}
    blobs, tops = forward_and_backward(net, given)
    found.update(blobs)
    found.update(("diff " + name, blob.diff.copy()) for name, blob in net.blobs.items())
    for name, params in net.params.items():
        found.update((f"gradient {name}[{i}]", blob.diff.copy()) for i, blob in enumerate(params))
    return dict(found, **tops)


def compact(name, array, most=1 << 20):
    """{name: array}, or of a large one a part of it and its rows' sums."""
    if array.size <= most:
        return {name: array.copy()}
    rows = array.reshape(array.shape[0], -1)
    return {
        name + " (every 101st)": array.ravel()[::101].copy(),
        name + " (rows' sums of squares)": np.einsum("ij,ij->i", rows, rows, dtype=np.float64),
    }


def passed(net, arrays, backward):
    """What a pass of `net` over the arrays leaves: every blob, and perhaps every gradient, large
    ones in part; `arrays` may hold another side's tops."""
    for name in [n for n in arrays if n in net.blobs]:
        net.blobs[name].reshape(*arrays[name].shape)
        net.blobs[name].data[...] = arrays[name]
    if not backward:
        net.forward()
        return dict(structure(net), **all_blobs(net))
    given = {key: value for key, value in arrays.items() if key.startswith("top ")}
    blobs, tops = forward_and_backward(net, given)
    found = dict(structure(net), **blobs)
    for name, params in net.params.items():
        for i, blob in enumerate(params):
            found.update(compact(f"gradient {name}[{i}]", blob.diff))
    return dict(found, **tops)


def small_pass(args, arrays):
    """The train net at args["net"], its data layer replaced by the arrays: structure, every blob,
    every parameter's gradient, large ones in part; `arrays` may hold another side's tops."""
    shape = list(arrays["label"].shape)
    made = without_chance(read_net(args["net"]), shape=shape)
    net = caffe.Net(write_text(text_format.MessageToString(made)), caffe.TRAIN)
    fill_like_a_trained_net(net, made.layer, 0)
    return passed(net, arrays, backward=True)


def loaded(args, arrays):
    """Names, types, connections, shapes of the net at args["net"], in TEST phase."""
    made = without_chance(read_net(args["net"]), shape=[1, 1, 30, 40])
    for layer in made.layer:
        if layer.type == "Input":  # a deploy net's own are 500 x 500
            for one in layer.input_param.shape:
                one.dim[2:] = [30, 40]
    net = caffe.Net(write_text(text_format.MessageToString(made)), caffe.TEST)
    return structure(net)


def published_training(args, arrays):
    """args["steps"] iterations of the solver file args["solver_file"], from args["weights"]."""
    solver = caffe.get_solver(args["solver_file"])
    solver.net.copy_from(args["weights"])
    before = parameters(solver.net, "change of")
    losses, sizes = [], []
    for _ in range(args["steps"]):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
        sizes.append(list(solver.net.blobs["data"].data.shape))
    results = dict(parameters(solver.net), losses=np.array(losses), sizes=sizes)
    for name, value in parameters(solver.net, "change of").items():
        results[name] = value - before[name]
    return results


def crop_offsets(args, arrays):
    """{top: offset} of the net's Crop layers."""
    crops = [layer for layer in read_net(args["net"]).layer if layer.type == "Crop"]
    return {layer.top[0]: layer.crop_param.offset[0] for layer in crops}
