"""Scenarios of one net: passes, sizes, ranges, constructors, Python layers."""

from __future__ import annotations

import numpy as np

import caffe

from .common import (
    fill_params,
    forward_backward,
    make_net,
    parameters,
    prefixed,
    set_top_diffs,
    structure,
    values,
    write_text,
)


def one_net(args, arrays):
    """Fill a net's parameters and inputs, run it forward and back, report all of it.

    args beside make_net's: `seed`, `param_scale`, `positive_params`, `backward`; arrays: inputs
    by blob name."""
    caffe.set_mode_cpu()
    net = make_net(args)
    fill_params(net, args.get("seed", 0), args.get("param_scale", 0.5))
    if args.get("positive_params"):
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = np.abs(blob.data) + 0.5
    for name, value in arrays.items():
        net.blobs[name].reshape(*value.shape)
        net.blobs[name].data[...] = value
    returned = net.forward()
    results = {"returned": sorted(returned)}
    backward = args.get("backward", True)
    if backward:
        set_top_diffs(net, args.get("seed", 0) + 1)
        net.backward()
    results.update(structure(net))
    results.update(values(net, diffs=backward, gradients=backward))
    return results


def structure_only(args, arrays):
    """A net as it is made, not run."""
    return structure(make_net(args))


def layer_types(args, arrays):
    return {"types": sorted(caffe.layer_type_list())}


def solver_types(args, arrays):
    kinds = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
    return {"types": [kind for kind in kinds if hasattr(caffe, kind + "Solver")]}


def inputs_that_change_size(args, arrays):
    """The net at its own size, then with `data` at each of args["sizes"], growing and shrinking."""
    net = make_net(args)
    fill_params(net, 0)
    stream = np.random.RandomState(3)
    results = {}
    for i, size in enumerate(args["sizes"]):
        one = {"data": stream.standard_normal(size).astype(np.float32)}
        net.blobs["data"].reshape(*size)
        if args.get("reshape_first"):
            net.reshape()
            shapes = {name: list(blob.data.shape) for name, blob in net.blobs.items()}
            results[f"shapes after reshape {i}"] = shapes
        net.clear_param_diffs()
        forward_backward(net, one, i)
        results.update(prefixed(f"size {i} ", values(net)))
    return results


def accumulated_gradients(args, arrays):
    """Two backward passes add up in the parameters' diffs until clear_param_diffs."""
    net = make_net(args)
    fill_params(net, 0)
    forward_backward(net, arrays, 1)
    first = prefixed("once ", values(net))
    net.backward()
    second = prefixed("twice ", values(net))
    net.clear_param_diffs()
    return dict(first, **second, **prefixed("cleared ", values(net)))


def ranges(args, arrays):
    """forward(start, end), backward(start, end), with `blobs` and `diffs` asked for by name.

    The net runs whole before: only then do a Split's tops hold its bottom's data in both."""
    net = make_net(args)
    fill_params(net, 0)
    for name, value in arrays.items():
        net.blobs[name].data[...] = value
    net.forward()
    results = {}
    for i, (start, end, changed, blobs) in enumerate(args["forward"]):
        net.blobs[changed].data[...] *= -0.5  # so that it shows which layers ran
        returned = net.forward(start=start, end=end, blobs=blobs)
        results[f"forward {i} returned"] = sorted(returned)
        results.update(prefixed(f"forward {i} ", values(net)))
    net.forward()
    set_top_diffs(net, 5)
    for i, (start, end, diffs) in enumerate(args["backward"]):
        returned = net.backward(start=start, end=end, diffs=diffs)
        results[f"backward {i} returned"] = sorted(returned)
        results.update(prefixed(f"backward {i} ", values(net)))
    return results


def keyword_calls(args, arrays):
    """forward(data=...) and backward(top=...), and what they return."""
    net = make_net(args)
    fill_params(net, 0)
    stream = np.random.RandomState(2)
    data = stream.standard_normal(net.blobs["data"].data.shape).astype(np.float32)
    out = net.forward(data=data, blobs=args["blobs"])
    results = prefixed("returned ", {k: out[k].copy() for k in sorted(out)})
    diffs = {k: stream.standard_normal(net.blobs[k].data.shape) for k in net.outputs}
    back = net.backward(diffs=args["blobs"], **diffs)
    results.update(prefixed("returned diff ", {k: back[k].copy() for k in sorted(back)}))
    everything = net.forward_all(data=np.concatenate([data, -data, 2 * data]))
    results.update(prefixed("all ", {k: everything[k].copy() for k in sorted(everything)}))
    fb, bb = net.forward_backward_all(
        data=np.concatenate([data, -data]), **{k: np.concatenate([v, -v]) for k, v in diffs.items()}
    )
    results.update(prefixed("all forward ", {k: fb[k].copy() for k in sorted(fb)}))
    results.update(prefixed("all backward ", {k: bb[k].copy() for k in sorted(bb)}))
    return results


def constructors(args, arrays):
    """Every form of Net(...); each must have the same parameters as the file's."""
    file = write_text(args["prototxt"])
    net = caffe.Net(file, caffe.TEST)
    fill_params(net, 0)
    net.save("w.caffemodel")
    nets = {
        "file, phase, weights=": caffe.Net(file, caffe.TEST, weights="w.caffemodel"),
        "file, weights, phase": caffe.Net(file, "w.caffemodel", caffe.TEST),
        "keywords": caffe.Net(network_file=file, phase=caffe.TEST, weights="w.caffemodel"),
        "level and stages": caffe.Net(file, caffe.TRAIN, level=1, stages=["a"]),
        "without weights": caffe.Net(file, caffe.TRAIN),
    }
    nets["without weights"].copy_from("w.caffemodel")
    nets["shared"] = caffe.Net(file, caffe.TEST)
    nets["shared"].share_with(net)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] += 1
    results = {}
    for name, one in nets.items():
        results[name] = structure(one)
        if name != "level and stages":
            results.update(prefixed(name + ": ", parameters(one)))
    return results


def shared_parameters(args, arrays):
    """Two forward and backward passes of a net with shared parameters, with an update between:
    what is written through one name is seen through the other."""
    net = make_net(args)
    fill_params(net, 0)
    forward_backward(net, arrays, 1)
    results = dict(structure(net), **values(net))
    results.update(parameters(net))
    for blobs in list(net.params.values())[:1]:
        blobs[0].data[...] = 0.25
    results.update(parameters(net, "after writing"))
    return results


def python_layer_calls(args, arrays):
    """What a Python layer is told, in order, over two sizes of its input."""
    from tests.conformance import python_layers

    del python_layers.CALLS[:]
    net = make_net(args)
    fill_params(net, 0)
    results = {"made": list(python_layers.CALLS)}
    for i, size in enumerate(args["sizes"]):
        del python_layers.CALLS[:]
        stream = np.random.RandomState(i)
        forward_backward(net, {"data": stream.standard_normal(size).astype(np.float32)}, i)
        results[f"calls {i}"] = list(python_layers.CALLS)
        results.update(prefixed(f"size {i} ", values(net)))
    results.update(structure(net))
    results.update(parameters(net))
    return results


def data_layer_calls(args, arrays):
    """The sizes that a net takes from a data layer of its own, and the calls that it gets."""
    from tests.conformance import python_layers

    del python_layers.CALLS[:]
    net = make_net(args)
    results = {"shapes when made": {k: list(v.data.shape) for k, v in net.blobs.items()}}
    for i in range(args["times"]):
        net.forward()
        results.update(prefixed(f"pass {i} ", {k: net.blobs[k].data.copy() for k in args["reads"]}))
        net.backward()
    results["calls"] = list(python_layers.CALLS)
    return results
