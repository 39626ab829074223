"""One measurement, in a process of its own:

    python -m tools.planning.child forward|step|both FOLDER

FOLDER has train, val, deploy and solver.prototxt, whose nets have Input layers. Prints one JSON
object, in bytes: `program` (the process before there is a net), `resident` (the most it has had),
`tensors` (the most that PyTorch had in use).
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

import caffe
from surgery.bilinear import upsample_filt
from tools.benchmark.worker import peak_memory
from tools.common.memory_sizes import program
from tools.planning.torch_memory import peak_of

ROUNDS = 3


def fill(net):
    """Weights that let numbers through, bilinear ones where the net upsamples."""
    for name, blobs in net.params.items():
        kind = net.layer_dict[name].type
        for blob in blobs:
            weights = blob.data
            if kind == "Deconvolution" and weights.ndim == 4:
                channels = np.arange(min(weights.shape[:2]))
                weights[channels, channels] = upsample_filt(weights.shape[2])
            else:
                weights[...] = 1e-3


def feed(net):
    for name in net.inputs:
        net.blobs[name].data[...] = 0 if name == "label" else 1


def runner(mode, folder):
    """A function that runs once what `mode` says."""
    if mode == "forward":
        net = caffe.Net(os.path.join(folder, "deploy.prototxt"), caffe.TEST)
        fill(net)

        def forward():
            feed(net)
            net.forward()

        return forward
    solver = caffe.get_solver(os.path.join(folder, "solver.prototxt"))
    fill(solver.net)

    def step():
        for test in solver.test_nets:
            test.share_with(solver.net)
            feed(test)
            test.forward()
        feed(solver.net)
        solver.step(1)

    return step


def main(argv):
    mode, folder = argv
    caffe.init_log(2)
    caffe.set_mode_cpu()
    caffe.engine.set_lean(True)
    before = program()
    run = runner(mode, folder)
    for _ in range(ROUNDS):
        run()
    resident = peak_memory()
    print(json.dumps({"program": before, "resident": resident, "tensors": peak_of(run)}))


if __name__ == "__main__":
    main(sys.argv[1:])
