"""The paper's nets for the engine, with weights and one image: what tables and timeline run."""

from __future__ import annotations

import os

import numpy as np

import caffe
from tools.benchmark import nets as bench_nets

RECOMPUTED = ("conv1_1", "conv2_1")


def quick_draw(shape, seed, name):
    """Gaussian weights as surgery.fillers.msra's, drawn in single precision: in a fraction of the
    time, but other numbers."""
    random = np.random.default_rng([seed, *name.encode()])
    weights = random.standard_normal(shape, dtype=np.float32)
    weights *= np.float32(np.sqrt(2.0 / np.prod(shape[1:])))
    return weights


class EngineNets:
    """A net of tools/benchmark/nets in its forms, made anew at each call.

    case      benchmark.nets.Case
    folder    where the prototxts go
    """

    def __init__(self, case, folder):
        self.case, self.files = case, {}
        self.image = bench_nets.image(case)
        self.weights = bench_nets.weights_of(case, quick_draw)
        stem = os.path.join(str(folder), f"{case.net}-{case.size[0]}x{case.size[1]}-")
        for name in ("train", "val", "deploy"):
            path = f"{stem}{name}.prototxt"
            self.files[name] = bench_nets.write(path, bench_nets.net_of(case, name))
        train, val = self.files["train"], self.files["val"]
        for name, test in (("solver", None), ("solver-test", val)):
            solver = bench_nets.solver_of(case, train, test)
            self.files[name] = bench_nets.write(f"{stem}{name}.prototxt", solver)

    def deploy(self):
        """The net that scores; `feed` it."""
        net = caffe.Net(self.files["deploy"], caffe.TEST)
        self._fill(net)
        return net

    def solver(self, test=False, recompute=False):
        """A solver that is fed before each iteration, and whose losses are watched as solve.py
        watches them; with `test` it has a test net, with `recompute` the blobs RECOMPUTED are made
        again in the backward pass."""
        solver = caffe.get_solver(self.files["solver-test" if test else "solver"])
        self._fill(solver.net)
        if recompute:
            caffe.engine.recompute(solver.net, *RECOMPUTED)
        solver.add_callback(lambda: self.feed(solver.net))
        if hasattr(solver, "watch_losses"):
            solver.watch_losses(lambda iteration, losses: None)
        return solver

    def _fill(self, net):
        for name, arrays in self.weights.items():
            for blob, array in zip(net.params[name], arrays):
                blob.data[...] = array

    def feed(self, net):
        """Write the image, and the label where the net takes one, as a data layer does."""
        for name in net.inputs:
            net.blobs[name].data[...] = self.image[name]
