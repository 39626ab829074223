"""Scenarios of nets that read data: LMDB, pictures, windows, HDF5, arrays in memory.

The files are the test's own: the prototxt names them by absolute paths.
"""

from __future__ import annotations

import gc

import caffe

from .common import fill_params, make_net, prefixed


def _take_rank(rank, count):
    if hasattr(caffe, "engine"):
        from caffe import ranks
    else:
        ranks = caffe
    ranks.set_solver_count(count)
    ranks.set_solver_rank(rank)


def batches(args, arrays):
    """All blobs after each of args["times"] forward passes, as solver args["rank"] of
    args["solvers"]."""
    _take_rank(args.get("rank", 0), args.get("solvers", 1))
    net = make_net(args)
    results = {"shapes when made": {k: list(v.data.shape) for k, v in net.blobs.items()}}
    for i in range(args.get("times", 3)):
        net.forward()
        results.update(prefixed(f"{i} ", {k: v.data.copy() for k, v in net.blobs.items()}))
    return results


def memory_batches(args, arrays):
    """Forward passes through the arrays, changed on the way, then through others."""
    net = make_net(args)
    results = {}
    data, labels = arrays["data"], arrays["labels"]
    for i in range(args["times"]):
        if i == 0:
            net.set_input_arrays(data, labels)
        if i == args["times"] // 2:
            data *= 2
        net.forward()
        results.update(prefixed(f"{i} ", {k: v.data.copy() for k, v in net.blobs.items()}))
    net.set_input_arrays(data[::-1].copy(), labels[::-1].reshape(-1, 1, 1, 1).copy())
    net.forward()
    results.update(prefixed("again ", {k: v.data.copy() for k, v in net.blobs.items()}))
    return results


def refused_arrays(args, arrays):
    """Which of several arrays set_input_arrays refuses with an exception."""
    net = make_net(args)
    data, labels = arrays["data"], arrays["labels"]
    tried = {
        "doubles": (data.astype("f8"), labels),
        "not contiguous": (data[:, :, ::-1], labels),
        "fewer rows": (data[:, :, 1:].copy(), labels),
        "three axes": (data[0], labels),
        "part of a batch": (data[:3], labels[:3]),
        "fewer labels": (data, labels[:2]),
        "whole labels": (data, labels.astype("i4")),
        "labels in a column": (data, labels[:, None]),
        "right": (data, labels),
    }
    results = {}
    for what, (one, other) in tried.items():
        try:
            net.set_input_arrays(one, other)
            results[what] = "taken"
        except RuntimeError as error:
            words = ["float32", "contiguous", "4-d", "height", "multiple", "same first"]
            results[what] = [word for word in words if word in str(error)]
    return results


def hdf5_output(args, arrays):
    """What HDF5Output leaves in out.h5 after one forward pass."""
    import h5py

    net = make_net(args)
    fill_params(net, 0)
    for name, value in arrays.items():
        net.blobs[name].data[...] = value
    net.forward()
    del net
    gc.collect()
    with h5py.File("out.h5", "r") as file:
        results = {name: file[name][()] for name in sorted(file)}
        results["types"] = {name: str(file[name].dtype) for name in sorted(file)}
    return results
