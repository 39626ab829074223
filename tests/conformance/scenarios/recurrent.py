"""Scenarios of sequences that go on from one pass to the next."""

from __future__ import annotations

import numpy as np

import caffe

from .common import fill_params, make_net, prefixed, set_top_diffs, structure, values


def sequence_passes(args, arrays):
    """Forward and backward over several batches in a row, without a reset between them.

    args beside make_net's: `passes`, each {"cont": rows of the blob `cont`, "more": {blob name:
    shape}, "write": a blob set to 0 in place after the pass, "carry": {blob: blob it is copied
    from before the pass}, "update": step along the parameters' gradients after the pass}."""
    caffe.set_mode_cpu()
    net = make_net(args)
    fill_params(net, args.get("seed", 0))
    results = dict(structure(net))
    stream = np.random.RandomState(args.get("seed", 0) + 7)
    for i, one in enumerate(args["passes"]):
        for name, dims in one.get("more", {}).items():
            net.blobs[name].reshape(*dims)
        cont = np.asarray(one["cont"], np.float32)
        net.blobs["cont"].reshape(*cont.shape)
        for name in net.inputs:
            net.blobs[name].data[...] = stream.standard_normal(net.blobs[name].data.shape)
        net.blobs["cont"].data[...] = cont
        for name, source in one.get("carry", {}).items():
            net.blobs[name].data[...] = net.blobs[source].data
        net.forward()
        set_top_diffs(net, i)
        net.backward()
        results.update(prefixed(f"pass {i} ", values(net)))
        if one.get("update"):
            for blobs in net.params.values():
                for blob in blobs:
                    blob.data[...] -= one["update"] * blob.diff
            net.clear_param_diffs()
        if "write" in one:
            net.blobs[one["write"]].data[...] = 0
    return results
